"""COPY's binary format ends as CSV does: the same rows, the same refusals in the same words."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Context, Decimal
from typing import Any, LiteralString
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from sluice.cast import arrow_type
from sluice.load import LoadPlan, encode, load_chunk
from sluice.loadplan import Outcome
from sluice.model import Column, ColumnType, Dataset, Mode, TableName, TypeName
from sluice.target import ensure_target
from sluice.wire import SENT_AS
from tests.postgres.load_model import Connection, chunk_of, create_things, new_import, rows_table, things, things_plan

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
DATES = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999))


def whole(bits: int) -> st.SearchStrategy[int]:
    """Numbers of all sizes: most of them fit the narrower types, too."""
    most = 2 ** (bits - 1) - 1
    return st.sampled_from([-most - 1, most, 0, -1, 2**15, -(2**15) - 1]) | st.integers(-(2**14), 2**14)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    numbers = st.integers(-most, most) | st.integers(-10_000, 10_000).filter(lambda n: abs(n) <= most)
    return numbers.map(lambda n: Decimal(n).scaleb(-scale, Context(prec=80)))


def numeric(precision: int, scale: int) -> ColumnType:
    return ColumnType(TypeName.NUMERIC, precision, scale)


DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda x: st.lists(x, max_size=3), max_leaves=5)
UUIDS = st.uuids().map(str)
ZONED = ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%d %H:%M:%S.%f%z")

#: Values of a dataset's type, and the types of a table that they can be sent to.
PAIRS: list[tuple[ColumnType, st.SearchStrategy[Any], tuple[LiteralString, ...]]] = [
    (ColumnType(TypeName.TEXT), TEXTS, ("text", "varchar", "varchar(5)", "char(5)", 'text COLLATE "C"')),
    (ColumnType(TypeName.INTEGER), whole(32), ("int2", "int4", "int8", "float8", "numeric", "numeric(4)")),
    (ColumnType(TypeName.BIGINT), whole(64), ("int2", "int4", "int8", "numeric", "numeric(12,2)")),
    (numeric(38, 10), decimals(38, 10), ("numeric", "numeric(38,10)", "numeric(20,10)")),
    (numeric(7, 2), decimals(7, 2), ("numeric(7,2)", "numeric(5,3)")),
    (numeric(3, 3), decimals(3, 3), ("numeric", "numeric(10,5)")),
    (numeric(38, 0), decimals(38, 0), ("numeric", "numeric(38,0)")),
    (ColumnType(TypeName.DOUBLE), DOUBLES, ("float8",)),
    (ColumnType(TypeName.BOOLEAN), st.booleans(), ("boolean",)),
    (ColumnType(TypeName.DATE), DATES, ("date", "timestamp", "timestamptz", "timestamp(0)")),
    (ColumnType(TypeName.TIMESTAMP), MOMENTS, ("timestamp", "timestamptz", "timestamp(6)")),
    (ZONED, MOMENTS, ("timestamptz",)),
    (ColumnType(TypeName.UUID), UUIDS, ("uuid", "text", "varchar", "varchar(20)")),
    (ColumnType(TypeName.JSON), JSON.map(json.dumps), ("json", "jsonb", "text")),
]
ALONE = [(type_, values, there) for type_, values, ways in PAIRS for there in ways]


def both_ways(conn: Connection, table: pa.Table, ddl: str, dataset: Dataset) -> Outcome:
    """Load it in either format into tables that are alike; check that both ended alike."""
    found, import_id = [], new_import(conn)
    for binary in (True, False):
        conn.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t ({ddl})".encode())
        target = ensure_target(conn, dataset)
        assert target.wire is not None
        wire = target.wire if binary else None
        plan = LoadPlan(import_id, dataset.table, target.columns, mode=Mode.APPEND, lineage=target.lineage, wire=wire)
        with conn.transaction():
            outcome = load_chunk(conn, plan, chunk_of(table))
        # As text, so that 1.10 is not 1.1 nor -0.0 equal to 0.0; and its size, as it is stored.
        rows = conn.execute("SELECT t::text, pg_column_size(t) FROM t ORDER BY ctid").fetchall()
        found.append((rows, outcome.loaded, outcome.rejected, outcome.errors.to_pylist(), outcome.collided))
    assert found[0] == found[1]
    return outcome


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("lineage", [True, False])
def test_values_of_every_type_arrive_as_they_do_in_csv(
    connection: Connection, lineage: bool, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(ALONE), min_size=1, max_size=5))
    rows = data.draw(st.lists(st.tuples(*(st.none() | values for _, values, _ in chosen)), min_size=1, max_size=4))
    columns = tuple(Column(f"c{at}", type_) for at, (type_, _, _) in enumerate(chosen))
    table = pa.table(
        [pa.array([row[at] for row in rows], arrow_type(column.type)) for at, column in enumerate(columns)],
        names=[column.name for column in columns],
    )
    marks = ["_import_id bigint", "_line bigint"] if lineage else []
    definitions = [f"c{at} {there}" for at, (_, _, there) in enumerate(chosen)] + marks

    both_ways(
        connection, table, ", ".join(definitions), Dataset("d", TableName("public", "t"), columns, mode=Mode.APPEND)
    )


def test_every_type_is_tried() -> None:
    tried = {(type_.name, there.split("(")[0].split()[0]) for type_, _, there in ALONE}
    names = {"char": "bpchar", "boolean": "bool"}
    assert {(name, names.get(there, there)) for name, there in tried} == {
        (name, there) for name, bases in SENT_AS.items() for there in bases
    }


def one_column(conn: Connection, type_: ColumnType, there: LiteralString, values: list[Any]) -> Outcome:
    """Load one column both ways; what became of it."""
    dataset = Dataset("d", TableName("public", "t"), (Column("x", type_),), mode=Mode.APPEND, lineage=False)
    return both_ways(conn, pa.table({"x": pa.array(values, arrow_type(type_))}), f"x {there}", dataset)


@pytest.mark.parametrize(
    ("type_", "there", "values", "said"),
    [
        (TypeName.BIGINT, "smallint", [1, None, 32767, 32768], 'value "32768" is out of range for type smallint'),
        (TypeName.BIGINT, "int", [2**31 - 1, 5, -(2**31) - 1], 'value "-2147483649" is out of range for type integer'),
        (TypeName.TEXT, "varchar(3)", ["abc", "ab ", "abc   ", "äöü", "äöüß"],
         "value too long for type character varying(3)"),
        (TypeName.TEXT, "char(3)", ["a", "abc  ", "abcd"], "value too long for type character(3)"),
        (TypeName.TEXT, "text CHECK (x <> 'no')", ["yes", None, "no"],
         'new row for relation "t" violates check constraint "t_x_check"'),
        (TypeName.TEXT, "text NOT NULL", ["", "a", None],
         'null value in column "x" of relation "t" violates not-null constraint'),
        (TypeName.UUID, "varchar(35)", [None, str(UUID(int=1))], "value too long for type character varying(35)"),
        (TypeName.INTEGER, "numeric(3)", [999, -999, 1000],
         "numeric field overflow: A field with precision 3, scale 0 must round to an absolute value less than 10^3."),
    ],
)  # fmt: skip
def test_what_the_database_refuses_is_refused_in_its_words(
    connection: Connection, type_: TypeName, there: LiteralString, values: list[Any], said: str
) -> None:
    outcome = one_column(connection, ColumnType(type_), there, values)

    assert [(e["line"], e["message"]) for e in outcome.errors.to_pylist()] == [(len(values) + 1, said)]
    assert outcome.loaded == len(values) - 1


def test_long_values_arrive(connection: Connection) -> None:
    texts = ["x" * 2_000_000, "", None, "é" * 500_000]
    assert one_column(connection, ColumnType(TypeName.TEXT), "text", texts).loaded == 4
    documents = [json.dumps(["x" * 500_000]), json.dumps(list(range(50_000)))]
    assert one_column(connection, ColumnType(TypeName.JSON), "jsonb", documents).loaded == 2


@pytest.mark.parametrize(
    ("ddl", "wire"),
    [
        ("CREATE TABLE t (n int, x varchar(9))", ("int4", "varchar")),
        ("CREATE TABLE t (n int8, x text) PARTITION BY LIST (n); CREATE TABLE t1 PARTITION OF t DEFAULT",
         ("int8", "text")),
        ("CREATE DOMAIN few AS int CHECK (VALUE < 9); CREATE TABLE t (n few, x text)", None),
        ("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (n int, x mood)", None),
        ("CREATE TYPE public.text AS ENUM ('a'); CREATE TABLE t (n int, x public.text)", None),
        ("CREATE TABLE t (n int, x inet)", None),
    ],
)  # fmt: skip
def test_only_tables_of_plain_types_get_binary(
    connection: Connection, ddl: LiteralString, wire: tuple[str, ...] | None
) -> None:
    connection.execute(ddl)
    columns = (Column("n", ColumnType(TypeName.INTEGER)), Column("x", ColumnType(TypeName.TEXT)))
    dataset = Dataset("d", TableName("public", "t"), columns, mode=Mode.APPEND)
    assert ensure_target(connection, dataset).wire == wire


@pytest.mark.parametrize("collides", [False, True], ids=["straight in", "through the temporary table"])
@pytest.mark.parametrize("now", ["float8", "int4", "text", "numeric"])
def test_a_type_changed_since_the_import_began_is_noticed(
    connection: Connection, now: LiteralString, collides: bool
) -> None:
    """Both a bigint and a double are eight bytes: the server alone would read one as the other."""
    connection.execute("CREATE TABLE t (n int, x bigint)")
    columns = (Column("n", ColumnType(TypeName.INTEGER)), Column("x", ColumnType(TypeName.BIGINT)))
    dataset = Dataset("d", TableName("public", "t"), columns, mode=Mode.APPEND)
    target = ensure_target(connection, dataset)
    plan = LoadPlan(
        new_import(connection), dataset.table, target.columns, mode=Mode.APPEND, lineage=False, wire=target.wire
    )
    chunk = chunk_of(pa.table({"n": pa.array([1, 2], pa.int32()), "x": [2**20, None]}))
    data = encode(plan, chunk)
    assert data.types == ("int4", "int8")
    connection.execute(sql.SQL("ALTER TABLE t ALTER x TYPE {}").format(sql.SQL(now)))

    with connection.transaction():
        outcome = load_chunk(connection, plan, chunk, data, optimistic=not collides)

    assert outcome.loaded == 2
    assert connection.execute("SELECT x::text FROM t ORDER BY n").fetchall() == [("1048576",), (None,)]


@pytest.mark.parametrize("binary", [True, False])
def test_triggers_see_the_same_rows(connection: Connection, binary: bool) -> None:
    create_things(connection, lineage=True)
    connection.execute(
        """
        CREATE FUNCTION mend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.code = 'discard' THEN RETURN NULL; END IF;
            NEW.code := concat(NEW.code, '/', NEW.id, '/', NEW._line);
            RETURN NEW;
        END $$;
        CREATE TRIGGER mend BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION mend()
        """
    )
    plan = things_plan(new_import(connection), binary=binary)
    rows = rows_table([(1, 1, "a"), (2, 2, "discard"), (3, None, None)])

    with connection.transaction():
        outcome = load_chunk(connection, plan, chunk_of(rows))

    assert things(connection) == [(1, 1, "a/1/2"), (3, None, "/3/4")]
    assert [row.line for row in outcome.rejected] == [3]
