"""dataset.yaml is read strictly, and everything wrong with it is told at once."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.codes import category_of
from sluice.dataset import (
    column_names,
    dataset_names,
    load_dataset,
    normalise_header,
    override,
    parse_max_rejects,
    parse_table,
    table_dataset,
)
from sluice.errors import DatasetError, SuiteError, UsageError
from sluice.model import (
    Column,
    ColumnType,
    Commit,
    Dataset,
    DialectOptions,
    MaxRejects,
    MissingColumns,
    Mode,
    StrayQuotes,
    TableName,
    TypeName,
)
from sluice.names import MAX_NAME_BYTES, OWN_COLUMNS, SYSTEM_COLUMNS, column_problem

PROJECT = Path(__file__).parents[2]
SHIPPED = PROJECT / "expectations"
SAMPLES = PROJECT / "samples"

MINIMAL = """\
table: t
key: [id]
columns:
  - {name: id, type: bigint}
"""


def write(root: Path, text: str, name: str = "d") -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    return folder


def load(root: Path, text: str) -> Dataset:
    write(root, text)
    return load_dataset("d", root)


def problems(root: Path, text: str) -> str:
    with pytest.raises(DatasetError) as raised:
        load(root, text)
    return str(raised.value)


def test_what_a_dataset_says(tmp_path: Path) -> None:
    dataset = load(
        tmp_path,
        """\
table: '"My Schema".Orders'
key: id
mode: overwrite
max_rejects: 2.5%
missing_columns: "null"
lineage: no
dialect: {delimiter: tab, stray_quotes: literal, header: no, skip_lines: 2}
columns:
  - {name: id, type: BIGINT, from: [Order Id, "#1"]}
  - {name: amount, type: "numeric(12, 2)", default: 0}
  - {name: placed, type: date, format: "%d/%m/%Y", null: [NULL, no, ~], required: yes}
  - {name: code, type: text, trim: true, default: 007}
  - {name: user_id, type: integer, set_by: user_id}
""",
    )
    assert dataset.table == TableName("My Schema", "orders")
    assert (dataset.mode, dataset.commit, dataset.key) == (Mode.OVERWRITE, Commit.PROGRESSIVE, ("id",))
    assert dataset.max_rejects == MaxRejects(percent=2.5)
    assert dataset.missing_columns is MissingColumns.NULL
    assert dataset.lineage is False
    assert dataset.suite is None
    assert dataset.dialect == DialectOptions(
        delimiter="\t", header=False, skip_lines=2, stray_quotes=StrayQuotes.LITERAL
    )
    assert dataset.columns == (
        Column("id", ColumnType(TypeName.BIGINT), ("Order Id", "#1"), required=True),
        Column("amount", ColumnType(TypeName.NUMERIC, 12, 2), default="0"),
        Column(
            "placed", ColumnType(TypeName.DATE, format="%d/%m/%Y"), required=True, null=("NULL", "no", "~")
        ),
        Column("code", ColumnType(TypeName.TEXT), trim=True, default="007"),
        Column("user_id", ColumnType(TypeName.INTEGER), set_by="user_id"),
    )  # fmt: skip


def test_quotes_can_be_switched_off(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "dialect: {quote: none}\n").dialect.quote == "none"


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        """\
table: sluice.imports
key: [id, nope]
mode: inserts
max_rejects: some
colour: red
dialect: {delimiter: "||", encoding: base64}
columns:
  - {name: id, type: string, from: [Order Id]}
  - {name: id, type: date, format: "%d/%m"}
  - name: b
    type: integer
    default: x
    required: perhaps
  - {name: ctid, type: numeric, from: ["#0", order-id]}
  - text
""",
    )
    for expected in (
        "16 problems",
        "line 1, table: Schema 'sluice'",
        "line 2, key[1]: 'nope' is not a column; columns: id",
        "line 3, mode: Input should be 'insert', 'overwrite', 'append' or 'replace', not 'inserts'",
        "line 4, max_rejects: 'some'",
        "line 5, colour: unknown key",
        "line 6, dialect.delimiter: '||'",
        "line 6, dialect.encoding: 'base64' is no text encoding",
        "line 8, columns[0].type: 'string' is no type (did you mean text?); types: text, integer",
        "line 9, columns[1].name: 'id' is columns[0] already",
        "line 9, columns[1]: '%d/%m' does not hold year, month and day",
        "line 13, columns[2].required",
        "line 14, columns[3].name: 'ctid' is a system column",
        "line 14, columns[3].type: numeric needs its digits",
        "line 14, columns[3].from: '#0'",
    ):
        assert expected in told, told


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("table: t\ntable: u", "this key stands twice, on line 2 again"),
        ("table: a.b.c", "is not a table's name"),
        ("table: pg_catalog.t", "Schema 'pg_catalog' is not for imported data"),
        ("table: [t]", "should be a single text"),
        ("table: t\nmode: replace\ncommit: progressive", "commit must be atomic"),
        ("table: t\nmax_rejects: 101%", "neither a number of rows nor a percentage"),
        ("table: t\nmax_rejects: -1", "neither a number of rows nor a percentage"),
        ("table: t\ndialect: {quote: '\"', delimiter: '\"'}", "must differ"),
        ("table: t\ndialect: {skip_lines: -1}", "greater than or equal to 0"),
        ("", "table: this key is required"),
        ("table: &t x\nlineage: *t", "Aliases"),
        ("table: t\n\t- x", "Not YAML"),
    ],
)
def test_what_is_wrong_at_the_top(tmp_path: Path, change: str, expected: str) -> None:
    assert expected in problems(tmp_path, MINIMAL.replace("table: t", change))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("{name: id, type: bigint, format: '%Y'}", "format is for date and timestamp"),
        ("{name: id, type: date, format: '%Q'}", "is no strptime format"),
        ("{name: id, type: date, format: '%Y-%m-%d %Y'}", "is no strptime format"),
        ("{name: id, type: timestamp, format: '%Y-%m-%d %I:%M'}", "%I needs %p"),
        ("{name: id, type: timestamp, format: '%Y-%m-%d %H:%M %Z'}", "use %z"),
        ("{name: id, type: date, format: '%Y-%m-%d%z'}", "a date has no offset"),
        ("{name: id, type: 'numeric(77,2)'}", "1 <= p <= 76"),
        ("{name: id, type: 'numeric(2,3)'}", "0 <= s <= p"),
        ("{name: id, type: text(30)}", "takes no length"),
        ("{name: id, type: integer, default: 1.5}", "default '1.5' is not a value of type integer"),
        ("{name: id, type: integer, default: ''}", "default '' is not a value of type integer"),
        ("{name: id, type: bigint, set_by: id, from: [Id]}", "takes no from"),
        ("{name: id, type: bigint, set_by: id}", "at least one column must come from the file"),
        ("{name: id, type: bigint, set_by: a-b}", "is no parameter name"),
        ("{name: id, type: bigint, from: ['']}", "names no header"),
        ("{name: id, type: bigint, requird: true}", "did you mean required?"),
        ("{name: _line, type: bigint}", "a column Sluice adds itself"),
        ("{name: '', type: bigint}", "may not be empty"),
        (f"{{name: {'é' * 32}, type: bigint}}", "longer than the 63 bytes"),
        ("{name: id}", "columns[0].type: this key is required"),
    ],
)
def test_what_is_wrong_with_a_column(tmp_path: Path, column: str, expected: str) -> None:
    told = problems(tmp_path, MINIMAL.replace("{name: id, type: bigint}", column))
    assert expected in told
    assert "line 4" in told or "line 3: columns" in told


@pytest.mark.parametrize("source", ["A_B", "a b", "A-b", "a  B "])
def test_no_two_columns_claim_one_header(tmp_path: Path, source: str) -> None:
    text = MINIMAL + f"  - {{name: ab, type: text}}\n  - {{name: c, type: text, from: ['{source}']}}\n"
    assert f"line 6, columns[2].from: header {source!r} belongs to column 'ab' already" in problems(
        tmp_path, text
    ).replace("dataset.yaml, line 6: columns[2].from", "line 6, columns[2].from")


def test_insert_and_overwrite_need_a_key(tmp_path: Path) -> None:
    keyless = MINIMAL.replace("key: [id]\n", "")
    assert "modes insert and overwrite need a key" in problems(tmp_path, keyless)
    assert load(tmp_path, "mode: append\n" + keyless).commit is Commit.PROGRESSIVE
    assert load(tmp_path, "mode: replace\n" + keyless).commit is Commit.ATOMIC


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    (tmp_path / "d" / "dataset.yaml").write_bytes(b"table: caf\xe9")
    with pytest.raises(DatasetError, match="Not UTF-8: byte 10 is 0xe9"):
        load_dataset("d", tmp_path)


@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_is_a_dataset_or_a_dataset_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("any", numbered=True)
    for variant in (text, MINIMAL + text, f"table: t\nkey: {text}\ncolumns: {text}"):
        try:
            assert load(root, variant).columns
        except DatasetError:
            continue


@pytest.mark.parametrize("name", ["nope", "../d", "d/../d", "", "/etc", "d\x00", "D d"])
def test_an_unknown_dataset(tmp_path: Path, name: str) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(UsageError, match=r"There is no dataset .* Datasets: d\."):
        load_dataset(name, tmp_path)


def test_the_closest_name_is_suggested(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "customers")
    with pytest.raises(UsageError, match="Did you mean 'customers'"):
        load_dataset("costumers", tmp_path)
    assert dataset_names(tmp_path / "missing") == []
    with pytest.raises(UsageError, match="no folder under"):
        load_dataset("x", tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "line 1: Not JSON"),
        ("[]", "the top level must be an object"),
        ('{"name": "a", "name": "b"}', "'name' stands twice"),
        ('{"x": NaN}', "NaN is no JSON value"),
    ],
)
def test_a_broken_suite(tmp_path: Path, text: str, expected: str) -> None:
    (write(tmp_path, MINIMAL) / "suite.json").write_text(text)
    with pytest.raises(SuiteError, match=expected):
        load_dataset("d", tmp_path)


def test_the_suite_is_parsed_only(tmp_path: Path) -> None:
    (write(tmp_path, MINIMAL) / "suite.json").write_text('{"name": "d", "expectations": []}')
    assert load_dataset("d", tmp_path).suite == {"name": "d", "expectations": []}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("customers", "public.customers"),
        ("Sales.Orders", "sales.orders"),
        ('"Sales"."Or ""ders.x"', 'Sales.Or "ders.x'),
        (" a.b ", "a.b"),
        ("ÄB", "public.Äb"),
    ],
)
def test_table_names_are_read_as_sql_reads_them(text: str, expected: str) -> None:
    assert str(parse_table(text)) == expected


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a.b.c", '"a', 'a"b"', "a b", "a\x00", "x" * 64, "sluice.imports"]
)
def test_no_table_names(text: str) -> None:
    with pytest.raises(UsageError):
        parse_table(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", MaxRejects(0)),
        ("100", MaxRejects(100)),
        ("10%", MaxRejects(percent=10)),
        (" 0.5 % ", MaxRejects(percent=0.5)),
    ],
)
def test_max_rejects(text: str, expected: MaxRejects) -> None:
    assert parse_max_rejects(text) == expected


@pytest.mark.parametrize("text", ["", "%", "-1", "1.5", "1e3", "100.1%", "nan%", "١", "10 percent", "1" * 30])
def test_no_max_rejects(text: str) -> None:
    with pytest.raises(UsageError):
        parse_max_rejects(text)


def test_override(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, MINIMAL + "  - {name: c, type: text, null: ['-']}\ndialect: {delimiter: ';', header: false}\n"
    )
    assert override(dataset) == dataset
    assert override(dataset, mode="append", commit="atomic").commit is Commit.ATOMIC
    assert override(dataset, mode=Mode.REPLACE).commit is Commit.ATOMIC
    assert override(dataset, strict=True).max_rejects == MaxRejects(count=0)
    assert override(dataset, max_rejects="5%").max_rejects == MaxRejects(percent=5)
    assert override(dataset, max_rejects=3).max_rejects == MaxRejects(count=3)
    assert [column.null for column in override(dataset, null=["NA", "-"]).columns] == [("NA", "-"), ("-", "NA")]
    told = override(dataset, dialect=DialectOptions(delimiter=",", skip_lines=1)).dialect
    assert (told.delimiter, told.header, told.skip_lines) == (",", False, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "upsert"},
        {"commit": "later"},
        {"max_rejects": "x"},
        {"strict": True, "max_rejects": 5},
        {"mode": "replace", "commit": "progressive"},
    ],
)
def test_override_refuses(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        override(load(tmp_path, MINIMAL), **options)


def test_override_needs_a_key_where_the_mode_does(tmp_path: Path) -> None:
    keyless = load(tmp_path, "mode: append\n" + MINIMAL.replace("key: [id]\n", ""))
    with pytest.raises(UsageError, match="needs a key"):
        override(keyless, mode="overwrite")


def test_a_dataset_of_a_table() -> None:
    types = [
        ("First Name", ColumnType(TypeName.TEXT)),
        ("2021", ColumnType(TypeName.BIGINT)),
        ("", ColumnType(TypeName.DATE)),
    ]
    dataset = table_dataset(TableName("public", "t"), types)
    assert [(column.name, column.type, column.sources) for column in dataset.columns] == [
        ("first_name", types[0][1], ("#1",)),
        ("_2021", types[1][1], ("#2",)),
        ("column_3", types[2][1], ("#3",)),
    ]
    assert (dataset.name, dataset.mode, dataset.key) == ("public.t", Mode.APPEND, ())
    keyed = table_dataset(TableName("public", "t"), types, key=["first_name"])
    assert (keyed.mode, keyed.columns[0].required) == (Mode.INSERT, True)
    with pytest.raises(UsageError, match="'nope' is not in the file"):
        table_dataset(TableName("public", "t"), types, key=["nope"])
    with pytest.raises(UsageError, match="needs a key"):
        table_dataset(TableName("public", "t"), types, mode=Mode.OVERWRITE)


@given(
    st.lists(
        st.one_of(st.text(max_size=80), st.sampled_from(["a", "A", "a_2", "ctid", "_line", "_Import_ID", "é" * 70])),
        max_size=20,
    )
)
def test_column_names_are_distinct_and_kept_by_postgresql(headers: list[str]) -> None:
    names = column_names(headers)
    assert len(set(names)) == len(names) == len(headers)
    assert all(column_problem(name) is None for name in names)
    assert not set(names) & (OWN_COLUMNS | SYSTEM_COLUMNS)
    assert all(len(name.encode()) <= MAX_NAME_BYTES for name in names)


def test_headers_are_compared_loosely() -> None:
    assert normalise_header(" First-Name ") == normalise_header("first_NAME") == "firstname"


SHIPPED_COLUMNS = {"contacts": 3, "customers": 12, "leads": 9, "people": 4, "prospects": 4}


def test_the_shipped_datasets() -> None:
    assert {name: len(load_dataset(name, SHIPPED).columns) for name in dataset_names(SHIPPED)} == SHIPPED_COLUMNS
    assert load_dataset("customers", SHIPPED).key == ("customer_id",)
    assert load_dataset("prospects", SHIPPED).key == ("user_id", "email")
    assert load_dataset("leads", SHIPPED).max_rejects == MaxRejects(percent=10)


@pytest.fixture(scope="module")
def make() -> Any:
    spec = importlib.util.spec_from_file_location("make_samples", SAMPLES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["make_samples"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_samples_are_what_their_seed_makes(make: Any, tmp_path: Path) -> None:
    make.write_samples(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: (SAMPLES / name).read_bytes() for name in made} == made


def test_the_sample_of_customers_is_bad_in_every_way_about_2_percent(make: Any) -> None:
    with (SAMPLES / "expected.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == "customers.csv"]
    assert 150 <= len(rows) <= 250
    assert {row["kind"] for row in rows} == {*make.BAD, make.DUPLICATE, make.UNCLOSED}
    assert all(category_of(row["code"]) for row in rows)


def test_no_customer_id_is_made_twice(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    make.write_customers(path, None, rows=60_000, bad=0.0, seed=7)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 60_001
    assert len({line.split(",")[1].lower() for line in lines}) == 60_001


def test_the_countries_made_are_those_allowed(make: Any) -> None:
    suite = load_dataset("customers", SHIPPED).suite
    assert suite is not None
    allowed = [
        set(rule["kwargs"]["value_set"])
        for rule in suite["expectations"]
        if rule["type"] == "expect_column_values_to_be_in_set" and rule["kwargs"]["column"] == "country"
    ]
    assert allowed
    assert set(make.COUNTRIES) <= allowed[0]
    assert "Atlantis" not in allowed[0]
