"""What is encoded is what PostgreSQL stores, for every type a dataset has."""

from __future__ import annotations

import datetime as dt
import math
import random
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from psycopg import sql

from sluice.load import LoadPlan, load_chunk
from sluice.model import Mode, TableName
from tests.postgres.load_model import Connection, chunk_of, new_import

UTC = dt.UTC
TEXTS = [
    "",
    None,
    "NULL",
    "\\N",
    "\\.",
    "a\n\\.\nb",
    '"',
    '""',
    "a,b",
    "\r",
    "\n",
    "\r\n",
    "\\",
    "\\\\n",
    " x ",
    "é😀",
    "\t",
]
CASES: dict[str, tuple[str, pa.DataType, list[Any]]] = {
    "text": ("text", pa.string(), TEXTS),
    "large text": ("text", pa.large_string(), TEXTS),
    "text view": ("text", pa.string_view(), TEXTS),
    "a text that ends the data": ("text", pa.string(), ["\\.", None, "", "\\."]),
    "only NULL": ("text", pa.string(), [None, None]),
    "only empty": ("text", pa.string(), ["", ""]),
    "integer": ("int", pa.int32(), [2**31 - 1, -(2**31), 0, None]),
    "bigint": ("bigint", pa.int64(), [2**63 - 1, -(2**63), None]),
    "double": ("float8", pa.float64(), [1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, -0.0, 0.1, None]),
    "numeric": ("numeric(38,10)", pa.decimal128(38, 10), [Decimal("9" * 28 + ".0000000001"), Decimal("-1E-10"), None]),
    "free numeric": ("numeric", pa.decimal128(38, 3), [Decimal("1.100"), Decimal("0.000"), None]),
    "boolean": ("boolean", pa.bool_(), [True, False, None]),
    "date": ("date", pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29), None]),
    "timestamp": (
        "timestamp",
        pa.timestamp("us"),
        [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(1969, 12, 31, 1), None],
    ),
    "timestamptz": (
        "timestamptz",
        pa.timestamp("us", "UTC"),
        [dt.datetime(1, 1, 2, tzinfo=UTC), dt.datetime(9999, 12, 30, 1, 2, 3, 999999, tzinfo=UTC), None],
    ),
    "local time": ("timestamptz", pa.timestamp("us", "Europe/Amsterdam"), [dt.datetime(1900, 1, 1, tzinfo=UTC), None]),
    "uuid": ("uuid", pa.string(), ["00000000-0000-0000-0000-0000000000ff", None]),
}  # fmt: skip


@pytest.mark.parametrize("collides", [False, True], ids=["straight in", "through the temporary table"])
@pytest.mark.parametrize("lineage", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_values_arrive_unchanged(connection: Connection, case: str, lineage: bool, collides: bool) -> None:
    kind, arrow, values = CASES[case]
    marks = ", _import_id bigint, _line bigint" if lineage else ""
    connection.execute(f"CREATE TABLE t (x {kind} {marks})")
    table = pa.table({"x": pa.array(values, arrow)})
    plan = LoadPlan(new_import(connection), TableName("public", "t"), ("x",), mode=Mode.APPEND, lineage=lineage)

    with connection.transaction():
        outcome = load_chunk(connection, plan, chunk_of(table), optimistic=not collides)

    assert outcome.loaded == len(values)
    found = [x for (x,) in connection.execute("SELECT x FROM t ORDER BY ctid").fetchall()]
    assert [str(x) if kind == "uuid" and x else x for x in found] == values
    assert [math.copysign(1, x) for x in found if x == 0.0 and kind == "float8"] == [-1.0] * (kind == "float8")
    if lineage:
        marked = connection.execute("SELECT _import_id, _line FROM t ORDER BY ctid").fetchall()
        assert marked == [(plan.import_id, line) for line in range(2, len(values) + 2)]


def test_doubles_of_any_bits_arrive_unchanged(connection: Connection) -> None:
    dice = random.Random(1)
    bits = [struct.pack("<Q", dice.getrandbits(64)) for _ in range(20_000)]
    values = [x for x in (struct.unpack("<d", b)[0] for b in bits) if math.isfinite(x)]
    connection.execute("CREATE TABLE t (x float8)")
    plan = LoadPlan(new_import(connection), TableName("public", "t"), ("x",), mode=Mode.APPEND, lineage=False)

    with connection.transaction():
        load_chunk(connection, plan, chunk_of(pa.table({"x": values})))

    assert [x for (x,) in connection.execute("SELECT x FROM t ORDER BY ctid").fetchall()] == values


@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_json_is_kept(connection: Connection, kind: str) -> None:
    texts = ['{"a": [1, "x\\n\\"y\\""]}', "[]", '"a"', "null", None]
    connection.execute(f"CREATE TABLE t (x {kind})")
    plan = LoadPlan(new_import(connection), TableName("public", "t"), ("x",), mode=Mode.APPEND, lineage=False)

    with connection.transaction():
        load_chunk(connection, plan, chunk_of(pa.table({"x": texts})))

    assert [x for (x,) in connection.execute("SELECT x::text FROM t ORDER BY ctid").fetchall()] == texts


@pytest.mark.parametrize(
    "name", ['a"b', "50%", "%s", "$1", "select", "low", "state", "line", "s", "$sluice$", "'; DROP", "é"]
)
@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.INSERT, Mode.OVERWRITE])
def test_columns_may_have_any_name(connection: Connection, name: str, mode: Mode) -> None:
    """Names come from a file's header: quotes, placeholders, keywords, our own variables."""
    connection.execute(
        sql.SQL(
            "CREATE TABLE t ({0} text CONSTRAINT t_key PRIMARY KEY, {1} int CHECK ({1} > 0),"
            " _import_id bigint, _line bigint)"
        ).format(sql.Identifier(name), sql.Identifier(name + "2"))
    )
    plan = LoadPlan(
        new_import(connection), TableName("public", "t"), (name, name + "2"), (name,), frozenset({"t_key"}), mode
    )
    table = pa.table([pa.array(["a", "b", "c", "a"]), pa.array([1, -1, 3, 4])], names=list(plan.columns))

    with connection.transaction():
        outcome = load_chunk(connection, plan, chunk_of(table))

    assert outcome.loaded == 2
    assert outcome.errors["line"].to_pylist() == [3, 5]
    assert outcome.errors["column"].to_pylist() == [name + "2", name]
