"""Headers: read as rows are, and fitted to a dataset by name or number, or refused with what to do."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.errors import HeaderError, UsageError
from sluice.header import ColumnPlan, Header, extra_json, known_names, map_columns, read_header
from sluice.model import Column, ColumnType, Dataset, Dialect, ExtraColumns, MissingColumns, TableName, TypeName

TEXT = ColumnType(TypeName.TEXT)


def read(text: str | bytes, *, complete: bool = True, **dialect: object) -> Header:
    sample = text if isinstance(text, bytes) else text.encode()
    return read_header(sample, Dialect(**dialect), complete=complete)  # type: ignore[arg-type]  # as each test says


def named(*names: str) -> Header:
    return Header(names, len(names), 0, 2, 1)


def unnamed(width: int) -> Header:
    return Header(None, width, 0, 1, 1)


def dataset(*columns: Column | str, **rest: object) -> Dataset:
    made = tuple(Column(column, TEXT) if isinstance(column, str) else column for column in columns)
    return Dataset("people", TableName("public", "people"), made, **rest)  # type: ignore[arg-type]  # as each test says


def test_read() -> None:
    assert read("a,b\n1,2\n") == Header(("a", "b"), 2, 4, 2, 1)
    assert read("Title\n\n\na;b c\r\n1;2\n", delimiter=";", skip_lines=1) == Header(("a", "b c"), 2, 15, 5, 4)
    assert read('"first\nname","say ""x"""\n1,2\n') == Header(("first\nname", 'say "x"'), 2, 25, 3, 1)
    assert read("a\rb\r") == Header(("a",), 1, 2, 2, 1)
    assert read("a,b") == Header(("a", "b"), 2, 3, 2, 1)
    assert read("größe\n".encode()) == Header(("größe",), 1, 8, 2, 1)
    assert read("\ufeffa,b\n").names == ("a", "b")
    assert read("a\\,x,b\n", escape="\\").names == ("a,x", "b")


def test_read_without_a_header() -> None:
    assert read("1,2,3\n", header=False) == Header(None, 3, 0, 1, 1)
    assert read("x\n\n1,2,3\n", header=False, skip_lines=1) == Header(None, 3, 2, 2, 3)
    assert read("", header=False) == Header(None, 0, 0, 1, 1)
    assert read('1,"a"b,\n1,2\n3,4\n', header=False).width == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header"),
        ("\n\n", "no header"),
        ('a,"b\n1,2\n', "never closed"),
        ('a,b"c\n', "stray quote"),
        ("a,\0b\n", "NUL"),
        (b"a,\xff\n", "not valid utf-8"),
    ],
)
def test_unreadable(text: str | bytes, message: str) -> None:
    with pytest.raises(HeaderError, match=message) as caught:
        read(text)
    assert caught.value.line == (None if message == "no header" else 1)


def test_a_header_longer_than_the_sample() -> None:
    with pytest.raises(HeaderError, match="longer than"):
        read("a,b", complete=False)


def test_labels_are_different() -> None:
    assert named("a", "", "a", " ", "a_2", "a").labels == ("a", "column_2", "a_3", "column_4", "a_2", "a_4")
    assert unnamed(2).labels == ("column_1", "column_2")


@settings(deadline=None)  # machines are shared
@given(st.lists(st.sampled_from(["a", "a_2", "", "b", "column_1", "a_3"]), max_size=8))
def test_labels_are_always_different(names: list[str]) -> None:
    labels = named(*names).labels
    assert len(set(labels)) == len(labels) == len(names)


def test_names_are_compared_loosely() -> None:
    people = dataset(Column("first_name", TEXT), Column("mail", TEXT, sources=("E-Mail Address",)), "straße")
    plan = map_columns(named('"email ADDRESS"', "STRASSE", "\ufeffFirst-Name"), people)
    assert plan == ColumnPlan({"first_name": 2, "mail": 0, "straße": 1})
    assert known_names(people, {"mail": "Post Fach", "straße": "#2"}) == {
        "firstname",
        "mail",
        "emailaddress",
        "strasse",
        "postfach",
    }


def test_missing_columns() -> None:
    people = dataset("name", "email", "age")
    with pytest.raises(HeaderError) as caught:
        map_columns(named("name", "e_mails"), people)
    message = str(caught.value)
    assert "column email is missing (did you mean its 'e_mails'? --map email='e_mails')" in message
    assert "column age is missing" in message
    assert "The file has: 'name', 'e_mails'." in message
    lenient = dataset("name", Column("age", TEXT), missing_columns=MissingColumns.NULL)
    assert map_columns(named("name"), lenient).missing == ("age",)
    required = dataset("name", Column("age", TEXT, required=True), missing_columns=MissingColumns.NULL)
    with pytest.raises(HeaderError, match="column age is missing"):
        map_columns(named("name"), required)
    default = dataset("name", Column("age", TEXT, required=True, default="0"))
    assert map_columns(named("name"), default).missing == ("age",)


def test_extra_columns() -> None:
    header = named("x", "name", "", "x")
    with pytest.raises(HeaderError, match=r"does not know 'x' \(#1\), 'column_3' \(#3\), 'x_2' \(#4\)"):
        map_columns(header, dataset("name"))
    ignoring = map_columns(header, dataset("name", extra_columns=ExtraColumns.IGNORE))
    assert ignoring == ColumnPlan({"name": 1}, ignored=("x", "column_3", "x_2"))
    keeping = map_columns(header, dataset("name", extra_columns=ExtraColumns.KEEP))
    assert keeping == ColumnPlan({"name": 1}, extras={"x": 0, "column_3": 2, "x_2": 3})


def test_duplicates_matter_only_where_they_are_ambiguous() -> None:
    people = dataset("name", extra_columns=ExtraColumns.IGNORE)
    assert map_columns(named("x", "x", "name"), people).positions == {"name": 2}
    with pytest.raises(
        HeaderError, match=r"'name' \(#1\) and 'NAME' \(#3\) both fit name; say which with --map name=#N"
    ):
        map_columns(named("name", "x", "NAME"), people)
    assert map_columns(named("name", "x", "NAME"), people, {"name": "#3"}).positions == {"name": 2}
    with pytest.raises(HeaderError, match="both fit name"):
        map_columns(named("name", "x", "NAME"), people, {"name": "Name"})
    twice = dataset("name", Column("other", TEXT, sources=("Name",)))
    with pytest.raises(HeaderError, match="fits both name and other"):
        map_columns(named("name"), twice)


def test_mapping() -> None:
    people = dataset("name", "email")
    assert map_columns(named("a", "b"), people, {"name": "B", "email": "#1"}).positions == {"name": 1, "email": 0}
    # A column of the file that is mapped fits no other column by its name.
    with pytest.raises(HeaderError, match="column name is missing"):
        map_columns(named("name"), people, {"email": "name"})
    with pytest.raises(HeaderError, match=r"mapped to 'bb', which the file does not have \(it has 'b'\)"):
        map_columns(named("a", "b"), people, {"name": "bb", "email": "a"})
    for number in ("#0", "#3", "#99999999999999999999"):
        with pytest.raises(HeaderError, match=r"name is column #.*but the file has 2"):
            map_columns(named("a", "email"), people, {"name": number})
    with pytest.raises(UsageError, match=r"'nmae'.*Did you mean name"):
        map_columns(named("a", "b"), people, {"nmae": "a"})
    both = map_columns(named("a"), people, {"name": "#1", "email": "#1"})
    assert both.positions == {"name": 0, "email": 0}


def test_values_the_run_sets() -> None:
    people = dataset("name", Column("owner", TEXT, set_by="user_id"), Column("source", TEXT))
    plan = map_columns(named("name", "source"), people, set_values={"user_id": "7"})
    assert plan == ColumnPlan({"name": 0, "source": 1}, {"owner": "7"})
    plan = map_columns(named("name", "source"), people, set_values={"owner": "7", "source": "web"})
    assert plan == ColumnPlan({"name": 0}, {"owner": "7", "source": "web"}, ignored=("source",))
    with pytest.raises(UsageError, match="--set user_id=VALUE"):
        map_columns(named("name", "source"), people)
    with pytest.raises(UsageError, match=r"'usr_id'.*Did you mean user_id"):
        map_columns(named("name", "source"), people, set_values={"usr_id": "7"})
    with pytest.raises(UsageError, match="both mapped and set"):
        map_columns(named("name"), people, {"source": "name"}, {"user_id": "7", "source": "x"})
    with pytest.raises(UsageError, match="set by the run"):
        map_columns(named("name"), dataset(Column("owner", TEXT, set_by="u", default="0")), {"owner": "name"})
    # What the run sets is not read from the file, whatever the file says.
    with pytest.raises(HeaderError, match="does not know 'owner'"):
        map_columns(named("name", "owner", "source"), people, set_values={"user_id": "7"})


def test_positions() -> None:
    by_number = dataset(Column("a", TEXT, sources=("#2",)), Column("b", TEXT, sources=("#1",)))
    assert map_columns(named("a", "b"), by_number).positions == {"a": 1, "b": 0}
    assert map_columns(unnamed(2), by_number).positions == {"a": 1, "b": 0}
    either = dataset(Column("a", TEXT, sources=("#2",)), Column("b", TEXT, sources=("Bee", "#1")))
    assert map_columns(unnamed(2), either).positions == {"a": 1, "b": 0}
    # With a header a number is no second guess: what stands there has another name.
    mixed = dataset(Column("a", TEXT, sources=("Ay", "#1")))
    with pytest.raises(HeaderError, match="column a is missing"):
        map_columns(named("zip"), mixed)


def test_without_a_header() -> None:
    people = dataset("name", "email", Column("owner", TEXT, set_by="u"))
    assert map_columns(unnamed(2), people, set_values={"u": "1"}).positions == {"name": 0, "email": 1}
    with pytest.raises(HeaderError, match=r"no header and 3 columns, people wants 2; say which is which"):
        map_columns(unnamed(3), people, set_values={"u": "1"})
    plan = map_columns(unnamed(2), people, {"name": "#2", "email": "#1"}, {"u": "1"})
    assert plan.positions == {"name": 1, "email": 0}
    with pytest.raises(HeaderError, match=r"use #N"):
        map_columns(unnamed(2), people, {"name": "name"}, {"u": "1"})
    empty = map_columns(unnamed(0), people, set_values={"u": "1"})
    assert empty == ColumnPlan({}, {"owner": "1"}, missing=("name", "email"))


def test_a_plan_survives_json() -> None:
    plan = ColumnPlan({"b": 1, "a": 0}, {"c": "x"}, ("d",), {"e e": 4}, ("f",))
    assert ColumnPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


CELLS = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8))


@settings(deadline=None)  # machines are shared
@given(CELLS)
def test_kept_columns_are_json(cells: list[str | None]) -> None:
    table = pa.table({"x": pa.array(cells, pa.string()), "y": pa.array(["é"] * len(cells), pa.string())})
    plan = ColumnPlan({}, extras={'He"ader\n': 0, "Y": 1})
    objects = [json.loads(text) for text in extra_json(table, plan, ("x", "y")).to_pylist()]
    assert objects == [{'He"ader\n': cell, "Y": "é"} for cell in cells]
