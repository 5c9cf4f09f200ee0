"""Into tables that were there before, and into tables without a dataset."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from sluice.errors import HeaderError, TargetError, UsageError
from sluice.model import Commit, Counts, Mode
from tests.postgres.import_bench import ITEMS, SAMPLES, Bench, counts_of

HEADER = ["id", "amount", "note"]
COMMITS = pytest.mark.parametrize("commit", list(Commit))

#: Everything a table of somebody's own may have that refuses a row.
OWN = """
CREATE TABLE people (name text PRIMARY KEY);
INSERT INTO people VALUES ('ann'), ('bob'), ('taken');
CREATE TABLE items (
    id bigint PRIMARY KEY,
    amount numeric(8,2) CONSTRAINT not_much CHECK (amount < 1000),
    note text UNIQUE REFERENCES people,
    twice numeric GENERATED ALWAYS AS (amount * 2) STORED,
    since date NOT NULL DEFAULT '2020-02-02'
);
CREATE FUNCTION no_thirteen() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN IF new.id = 13 THEN RAISE EXCEPTION 'thirteen is bad luck'; END IF; RETURN new; END$$;
CREATE TRIGGER no_thirteen BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION no_thirteen();
INSERT INTO items (id, amount, note) VALUES (1, 1, 'taken');
"""
BAD = [
    [20, "5000", ""],  # line 2
    [21, "1", "nobody"],
    [22, "1", "taken"],
    [13, "1", ""],
    [23, "1", "ann"],  # line 6
    [24, "1", "ann"],
    [1, "2", "taken"],
    [23, "1", ""],
]


@COMMITS
@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.OVERWRITE, Mode.APPEND])
@pytest.mark.parametrize("chunk_bytes", [60, None])
def test_what_the_table_refuses_is_rejected(bench: Bench, commit: Commit, mode: Mode, chunk_bytes: int | None) -> None:
    bench.query(OWN)
    bench.dataset(ITEMS)
    fine = [[n, "3.10", ""] for n in range(100, 140)]

    report = bench.run(
        bench.file("items.csv", [HEADER, *BAD, *fine]),
        dataset="items",
        mode=mode,
        commit=commit,
        chunk_bytes=chunk_bytes,
    )

    wanted = [
        (2, "amount", "db.check_violation", "5000.00"),
        (3, "note", "db.foreign_key_violation", "nobody"),
        (4, "note", "db.unique_violation", "taken"),
        (5, None, "db.refused", None),
        (7, "note", "db.unique_violation", "ann"),
        (9, "id", "key.duplicate", "23"),
    ]
    if mode is Mode.APPEND:
        wanted[-1] = (9, "id", "db.unique_violation", "23")
        wanted.insert(5, (8, "id", "db.unique_violation", "1"))
    assert bench.errors() == wanted
    middle = {Mode.INSERT: {"skipped": 1}, Mode.OVERWRITE: {"updated": 1}, Mode.APPEND: {}}[mode]
    assert counts_of(report) == Counts(48, loaded=41, rejected=len(wanted), **middle)
    assert bench.query(
        "SELECT id, amount::text, twice::text, since::text FROM items WHERE id IN (1, 23, 139) ORDER BY 1"
    ) == [
        (1, *(("2.00", "4.00") if mode is Mode.OVERWRITE else ("1.00", "2.00")), "2020-02-02"),
        (23, "1.00", "2.00", "2020-02-02"),
        (139, "3.10", "6.20", "2020-02-02"),
    ]
    assert "has no _import_id and _line" in report.message
    assert "trigger" in report.message
    assert bench.leftovers() == {}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("id bigint PRIMARY KEY, note text", ["column amount is missing"]),
        ("id bigint PRIMARY KEY, amount date, note text", ["column amount is date"]),
        (
            "id bigint PRIMARY KEY, amount numeric(5,1), note boolean",
            ["column amount is numeric(5,1)", "column note is"],
        ),
        ("id bigint, amount numeric, note text", ["no unique index", "(id)"]),
        ("id bigint PRIMARY KEY, amount numeric, note text, born date NOT NULL", ["column born is NOT NULL"]),
        (
            "id bigint PRIMARY KEY, amount numeric, note text GENERATED ALWAYS AS ('x') STORED",
            ["column note is generated"],
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_the_columns_name(bench: Bench, table: str, words: list[str]) -> None:
    bench.query(f"CREATE TABLE items ({table})")
    bench.dataset(ITEMS)

    with pytest.raises(TargetError) as caught:
        bench.run(bench.file("items.csv", [HEADER, [1, 2, "x"]]), dataset="items")

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert bench.imports() == []
    assert bench.rows("items", "id, 1") == []


def test_without_a_dataset_types_are_inferred_from_the_whole_file(bench: Bench) -> None:
    header = "Order No,Price,Born,Flag,Mixed,Empty,When"
    rows = [f"{n},{n}.5,2020-01-0{n % 9 + 1},true,{n},,2020-01-01 10:00:0{n % 10}" for n in range(1000)]
    rows.append("1000,7,2021-12-31,false,not a number,,2020-01-01 10:00:00")
    source = bench.file("orders.csv", "\n".join([header, *rows]))

    report = bench.run(source, table="shop.orders", chunk_bytes=2000)

    assert counts_of(report) == Counts(1001, loaded=1001)
    assert report.dataset is None
    types = bench.query(
        "SELECT column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_schema = 'shop' ORDER BY ordinal_position"
    )
    found: dict[str, str] = dict(types)
    assert list(found)[:3] == ["order_no", "price", "born"]
    assert found["order_no"] in ("bigint", "integer")
    assert found["price"] == "numeric"
    assert (found["born"], found["flag"], found["mixed"]) == ("date", "boolean", "text")
    assert found["when"].startswith("timestamp")
    assert bench.query("SELECT count(*), sum(price)::text, count(empty) FROM shop.orders") == [(1001, "500007.0", 0)]

    more = bench.file("more.csv", f"{header}\n7,8.5,2020-01-01,true,x,,2020-01-01 10:00:00\n")
    assert bench.run(more, table="shop.orders").loaded == 1


def test_all_text_keeps_every_value_as_written(bench: Bench) -> None:
    source = bench.file("codes.csv", "code,price\n007,1.50\n 08 ,1e3\n")

    bench.run(source, table="codes", all_text=True)

    assert bench.rows("public.codes", "code, price") == [(" 08 ", "1e3"), ("007", "1.50")]


def test_a_table_of_another_shape_is_refused(bench: Bench) -> None:
    bench.run(bench.file("a.csv", "n,word\n1,x\n"), table="a")

    with pytest.raises(TargetError, match="column n is"):
        bench.run(bench.file("b.csv", "n,word\nmany,x\n"), table="a", all_text=True)
    with pytest.raises(TargetError, match="column other is missing"):
        bench.run(bench.file("c.csv", "n,word,other\n1,x,y\n"), table="a")
    assert len(bench.rows("a", "n, word")) == 1


def test_columns_may_be_told(bench: Bench) -> None:
    bench.dataset()
    by_name = bench.file("a.csv", "Number,Sum,note\n1,2.5,x\n")
    bench.run(by_name, dataset="items", map={"id": "Number", "amount": "Sum"})
    by_position = bench.file("b.csv", "2;3.5;y\n")
    bench.run(by_position, dataset="items", no_header=True, map={"id": "#1", "amount": "#2", "note": "#3"})
    preamble = bench.file("c.csv", "Report of today\n\nid\tamount\tnote\n3\t4.5\tn/a\n4\t4.5\t-\n")
    bench.run(preamble, dataset="items", skip_lines=2, null=["n/a", "-"], delimiter="tab")

    assert bench.rows(columns="id, amount::text, note, _line") == [
        (1, "2.50", "x", 2),
        (2, "3.50", "y", 1),
        (3, "4.50", None, 4),
        (4, "4.50", None, 5),
    ]
    with pytest.raises((HeaderError, UsageError), match="Nummer"):
        bench.run(bench.file("d.csv", "id,amount,note\n1,2,x\n"), dataset="items", map={"id": "Nummer"})
    with pytest.raises((HeaderError, UsageError), match="colour"):
        bench.run(bench.file("d.csv", "id,amount,note\n1,2,x\n"), dataset="items", map={"colour": "id"})


def test_the_run_fills_columns_that_are_set(bench: Bench) -> None:
    sample = SAMPLES / "prospects.csv"

    assert bench.run(sample, dataset="prospects", set={"user_id": "42"}).loaded == 296
    assert bench.run(sample, dataset="prospects", set={"user_id": "43"}).loaded == 296
    assert bench.query("SELECT user_id, count(*) FROM prospects GROUP BY 1 ORDER BY 1") == [(42, 296), (43, 296)]

    for told in ({}, {"user_id": "somebody"}, {"user_id": "1", "colour": "red"}):
        with pytest.raises((UsageError, HeaderError), match=r"user_id|colour"):
            bench.run(sample, dataset="prospects", set=told, force=True)
    assert len(bench.imports()) == 2


KEEP = f"{ITEMS}extra_columns: keep\n"


@COMMITS
@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.OVERWRITE])
def test_columns_the_dataset_does_not_know_are_kept(bench: Bench, commit: Commit, mode: Mode) -> None:
    bench.dataset(KEEP)
    header = '"id","amount","note","Colour ""x""","\'; DROP TABLE items; --","a\\b"'
    source = bench.file("a.csv", f'{header}\n1,2.5,x,red,"é ""\n\t",\\.\n2,3,y,,\\N,\n')

    bench.run(source, dataset="items", mode=mode, commit=commit)
    plain = bench.file("b.csv", "id,amount,note\n2,3,changed\n3,4,z\n")
    bench.run(plain, dataset="items", mode=mode, commit=commit)

    extra: dict[int, Any] = dict(bench.rows(columns="id, _extra"))
    assert set(extra[1].values()) == {"red", 'é "\n\t', "\\."}
    assert list(extra) == [1, 2, 3]
    assert extra[3] == {}
    assert extra[2] == ({} if mode is Mode.OVERWRITE else dict.fromkeys(extra[1]) | {"'; DROP TABLE items; --": "\\N"})


def test_missing_columns_are_null_where_the_dataset_says_so(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("a.csv", "id,note\n1,x\n")
    with pytest.raises(HeaderError, match="amount"):
        bench.run(source, dataset="items")

    bench.dataset(f'{ITEMS}missing_columns: "null"\n')
    bench.run(source, dataset="items")
    assert bench.rows(columns="id, amount, note") == [(1, None, "x")]


def test_extra_columns_are_refused_or_ignored(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("a.csv", "id,colour,amount,note\n1,red,2,x\n")
    with pytest.raises(HeaderError, match="colour"):
        bench.run(source, dataset="items")

    bench.dataset(f"{ITEMS}extra_columns: ignore\n")
    bench.run(source, dataset="items")
    assert bench.rows(columns="id, amount::text, note") == [(1, "2.00", "x")]


def state_of_the_database(bench: Bench) -> Any:
    return bench.query(
        "SELECT (SELECT count(*) FROM sluice.imports), (SELECT count(*) FROM sluice.chunks),"
        " (SELECT count(*) FROM sluice.row_errors), (SELECT count(*) FROM sluice.rejected_rows),"
        " (SELECT count(*) FROM sluice.before_images), (SELECT json_agg(c.oid::regclass::text ORDER BY c.oid)::text"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname IN ('public', 'sluice'))"
    )


@COMMITS
@pytest.mark.parametrize("there", [False, True])
def test_a_dry_run_says_the_same_and_changes_nothing(bench: Bench, commit: Commit, there: bool) -> None:
    bench.dataset()
    rows = [[n, f"{n}.5", f"n{n}"] for n in range(200)]
    source = bench.file("items.csv", [HEADER, *rows, [5, 1, "twice"], ["x", 1, "bad"]])
    if there:
        bench.run(bench.file("before.csv", [HEADER, [7, "7.5", "n7"], [8, "9", "other"]]), dataset="items")
    before, table = state_of_the_database(bench), bench.exists("items") and bench.rows()

    options: dict[str, Any] = {"dataset": "items", "mode": "overwrite", "commit": commit, "chunk_bytes": 500}
    dry = bench.run(source, dry_run=True, **options)
    dry_again = bench.run(source, dry_run=True, **options)

    assert state_of_the_database(bench) == before
    assert (bench.exists("items") and bench.rows()) == table
    (path,) = (word for word in dry.message.split() if "/reports/" in word)
    assert Path(path).is_relative_to(bench.settings.home / "reports")
    assert Path(path).read_text(encoding="utf-8").splitlines()[0] == "id,amount,note,_line,_errors"
    assert len(Path(path).read_text(encoding="utf-8").splitlines()) == 3
    assert dry.import_id is None
    assert counts_of(dry_again) == counts_of(dry)
    real = bench.run(source, **options)
    assert counts_of(dry) == counts_of(real)
    assert counts_of(real).rejected == 2
    for name in ("errors_by_rule", "errors_by_category", "warnings_by_rule", "status", "table", "sha256", "bytes"):
        assert getattr(dry, name) == getattr(real, name), name


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_rejected_rows_keep_the_sources_own_bytes(bench: Bench, suffix: str) -> None:
    bench.dataset(ITEMS, [{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "note"}}])
    lines = [
        "id;amount;note",
        "1;2.50;Käse aus Köln",
        "x;2.50;Müller & Söhne, Straße 5",  # bad type
        "2;2.50;Bäcker;zu viel",  # too many fields
        "3;2.50;schön",  # a member, found at the end
        "4;2.50;schön",
        "1;9;Größe",  # the key again
        *(f"{n};1.00;Füllung {n}" for n in range(10, 60)),
    ]
    content = "\r\n".join([*lines, ""]).encode("latin-1")
    source = bench.file(f"items.csv{suffix}", gzip.compress(content) if suffix else content)

    for commit in Commit:
        report = bench.run(
            source,
            dataset="items",
            commit=commit,
            chunk_bytes=200,
            force=True,
            encoding="latin-1",
            mode="replace" if commit is Commit.ATOMIC else "insert",
        )
        assert bench.rejected(report.import_id) == [(n, lines[n - 1].encode("latin-1")) for n in (3, 4, 5, 6, 7)]
    assert bench.query("SELECT note FROM items WHERE id = 1") == [("Käse aus Köln",)]
    shown = bench.sluice("rejects", 1).stdout
    assert "Müller & Söhne, Straße 5" in shown


def test_a_table_that_is_there_has_its_own_types(bench: Bench) -> None:
    """A column without a value is text in the first file; the second has numbers, and a word among the integers."""
    bench.run(bench.file("first.csv", b"a,b\n1,\n2,\n"), table="u")
    report = bench.run(bench.file("second.csv", b"a,b\nq,5\n7,6\n"), table="u")
    assert bench.query("SELECT a, b FROM u ORDER BY a") == [(1, None), (2, None), (7, "6")]
    assert report.errors_by_rule == {"type.bigint": 1}
