"""Arrow -> COPY's binary format, without a server; that PostgreSQL reads the same from it as from CSV is in
tests/postgres/test_load_binary.py."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import binary
from sluice.binary import encode_binary
from sluice.model import ColumnType, TypeName
from sluice.wire import wire_types

CONTEXT = Context(prec=80)
HEAD, TAIL = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", b"\xff\xff"


def encoded(table: pa.Table, *types: str) -> bytes:
    data = encode_binary(table, types)
    assert data is not None
    assert (data.rows, data.types) == (table.num_rows, types)
    return b"".join(data.parts)


def read(whole: bytes) -> Iterator[list[bytes | None]]:
    """Each row's fields, by the format's description."""
    assert whole.startswith(HEAD)
    at = len(HEAD)
    while (fields := struct.unpack_from(">h", whole, at)[0]) != -1:
        at, row = at + 2, []
        for _ in range(fields):
            (length,) = struct.unpack_from(">i", whole, at)
            at += 4
            row.append(None if length == -1 else whole[at : at + length])
            at += max(length, 0)
        yield row
    assert whole[at:] == TAIL


def fields(values: pa.Array, type_: str) -> list[bytes | None]:
    """What is sent of a column alone, and between two columns of text: that must be the same."""
    alone = [row[0] for row in read(encoded(pa.table({"x": values}), type_))]
    texts = pa.array([f"text {i}" if i % 3 else None for i in range(len(values))], pa.string())
    between = list(read(encoded(pa.table({"a": texts, "x": values, "b": texts}), "text", type_, "text")))
    assert [row[1] for row in between] == alone
    assert [row[0] for row in between] == [row[2] for row in between]
    assert [text and text.decode() for text, _, _ in between] == texts.to_pylist()
    return alone


def micros(*moment: Any) -> bytes:
    distance = dt.datetime(*moment) - dt.datetime(2000, 1, 1)
    return struct.pack(">q", distance // dt.timedelta(microseconds=1))


def numeric(weight: int, sign: int, scale: int, *digits: int) -> bytes:
    return struct.pack(f">hhHh{len(digits)}h", len(digits), weight, sign, scale, *digits)


CASES: list[tuple[str, pa.DataType, list[Any], list[bytes | None]]] = [
    ("text", pa.string(), ["", None, "é\n"], [b"", None, "é\n".encode()]),
    ("json", pa.string(), ["{}", None], [b"{}", None]),
    ("jsonb", pa.string(), ["{}", "[1]"], [b"\x01{}", b"\x01[1]"]),
    ("jsonb", pa.string(), [None, "{}"], [None, b"\x01{}"]),
    ("int2", pa.int32(), [-(2**15), 2**15 - 1], [b"\x80\0", b"\x7f\xff"]),
    ("int4", pa.int64(), [1, None, -1], [b"\0\0\0\x01", None, b"\xff\xff\xff\xff"]),
    ("int8", pa.int32(), [1], [b"\0\0\0\0\0\0\0\x01"]),
    ("float8", pa.float64(), [-0.0, None, 5e-324], [b"\x80" + bytes(7), None, bytes(7) + b"\x01"]),
    ("float8", pa.int32(), [-1], [struct.pack(">d", -1)]),
    ("bool", pa.bool_(), [True, False, None], [b"\x01", b"\0", None]),
    (
        "date",
        pa.date32(),
        [dt.date(2000, 1, 2), dt.date(1, 1, 1), None, dt.date(9999, 12, 31)],
        [b"\0\0\0\x01", struct.pack(">i", -730119), None, struct.pack(">i", 2921939)],
    ),
    ("timestamp", pa.date32(), [dt.date(1999, 12, 31), None], [micros(1999, 12, 31), None]),
    ("timestamp", pa.timestamp("us"), [dt.datetime(1, 1, 1)], [micros(1, 1, 1)]),
    ("timestamptz", pa.timestamp("s"), [dt.datetime(1969, 1, 1, 3)], [micros(1969, 1, 1, 3)]),
    (
        "timestamptz",
        pa.timestamp("us", "Europe/Amsterdam"),
        [dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)],
        [micros(9999, 12, 31, 23, 59, 59, 999999)],
    ),
    (
        "uuid",
        pa.string(),
        ["00112233-4455-6677-8899-aabbccddeeff", None, "FFEEDDCC-BBAA-9988-7766-554433221100"],
        [bytes.fromhex("00112233445566778899aabbccddeeff"), None, bytes.fromhex("ffeeddccbbaa99887766554433221100")],
    ),
    ("numeric", pa.decimal128(6, 2), [Decimal("-1234.5"), None], [numeric(0, 0x4000, 2, 1234, 5000), None]),
    ("numeric", pa.decimal128(5, 0), [Decimal(12345), Decimal(1)], [numeric(1, 0, 0, 1, 2345), numeric(1, 0, 0, 0, 1)]),
    ("numeric", pa.decimal128(3, 3), [Decimal("0.001")], [numeric(-1, 0, 3, 10)]),
    ("numeric", pa.int64(), [-(2**63)], [numeric(4, 0x4000, 0, 922, 3372, 368, 5477, 5808)]),
    ("numeric", pa.int32(), [0, None], [numeric(-1, 0, 0), None]),
]


@pytest.mark.parametrize(("type_", "kind", "values", "expected"), CASES)
def test_values_are_written_as_their_receive_functions_read_them(
    type_: str, kind: pa.DataType, values: list[Any], expected: list[bytes | None]
) -> None:
    assert fields(pa.array(values, kind), type_) == expected


@pytest.mark.parametrize("type_", ["text", "jsonb", "int8", "numeric", "uuid", "date", "timestamp", "bool", "float8"])
def test_columns_may_be_all_null_or_empty(type_: str) -> None:
    kinds = {"int8": pa.int64(), "numeric": pa.decimal128(38, 5), "date": pa.date32(), "timestamp": pa.timestamp("us")}
    kind = kinds.get(type_) or {"bool": pa.bool_(), "float8": pa.float64()}.get(type_, pa.string())
    assert fields(pa.nulls(3, kind), type_) == [None] * 3
    assert fields(pa.array([], kind), type_) == []
    assert encoded(pa.schema([("x", kind)]).empty_table(), type_) == HEAD + TAIL


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_of_any_form_is_text(kind: pa.DataType) -> None:
    values = ["a", None, "", "bc", "a"]
    assert fields(pa.array(values, pa.string()).cast(kind), "text") == [b"a", None, b"", b"bc", b"a"]


def test_slices_and_chunks_are_read_where_they_are() -> None:
    numbers = pa.array([Decimal(i) if i % 3 else None for i in range(40)], pa.decimal128(20, 2))
    whole = pa.table({"t": [str(i) if i % 4 else None for i in range(40)], "i": range(40), "n": numbers})
    types = ("text", "int8", "numeric")
    cut = pa.concat_tables([whole.slice(3, 5), whole.slice(8, 0), whole.slice(8, 11)])

    assert encoded(cut, *types) == encoded(whole.slice(3, 16), *types)
    assert encoded(cut, *types) == encoded(pa.Table.from_pylist(whole.to_pylist()[3:19], whole.schema), *types)


def test_what_lies_beneath_a_null_does_not_matter() -> None:
    there = pa.array([True, False, True])
    for values, type_ in [
        (pa.array([1, 10**6, 3]), "int2"),
        (pa.array(["a", "hidden", "b"]), "text"),
        (pa.array([Decimal(1), Decimal(10) ** 30, Decimal(-2)], pa.decimal128(38, 0)), "numeric"),
        (pa.array([dt.date(2020, 1, 1).toordinal(), 2**31 - 1, 0], pa.int32()).view(pa.date32()), "date"),
        (pa.array([0, 2**63 - 1, 0]).view(pa.timestamp("us")), "timestamp"),
    ]:
        mask = there.buffers()[1]
        hidden = pa.Array.from_buffers(values.type, 3, [mask, *values.buffers()[1:]])
        honest = pa.array(hidden.to_pylist(), values.type)
        assert hidden.to_pylist()[1] is None
        assert fields(hidden, type_) == fields(honest, type_)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("int2", pa.array([1, 2**15])),
        ("int2", pa.array([-(2**15) - 1, None], pa.int32())),
        ("int4", pa.array([2**31])),
        ("date", pa.array([-719163], pa.int32()).view(pa.date32())),
        ("date", pa.array([2932897], pa.int32()).view(pa.date32())),
        ("timestamp", pa.array([-62135596800000001]).view(pa.timestamp("us"))),
        ("timestamp", pa.array([253402300800000000]).view(pa.timestamp("us"))),
        ("timestamptz", pa.array([-719163], pa.int32()).view(pa.date32())),
        ("uuid", pa.array(["00112233445566778899aabbccddeeff"])),
        ("uuid", pa.array(["00112233-4455-6677-8899-aabbccddeefg"])),
        ("uuid", pa.array(["00112233-4455-6677-8899+aabbccddeeff"])),
    ],
)
def test_what_is_not_of_the_type_is_not_sent(type_: str, values: pa.Array) -> None:
    assert encode_binary(pa.table({"a": pa.repeat("x", len(values)), "x": values}), ("text", type_)) is None


@given(st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))), st.data())
def test_any_decimal_is_sent_exactly(digits: tuple[int, int], data: st.DataObject) -> None:
    precision, scale = digits
    most = 10**precision - 1
    numbers = data.draw(st.lists(st.none() | st.integers(-most, most), min_size=1, max_size=5))
    column = pa.array([n if n is None else Decimal(n).scaleb(-scale, CONTEXT) for n in numbers],
                      pa.decimal128(precision, scale))  # fmt: skip

    sent = [None if field is None else decimal_of(field) for field in fields(column, "numeric")]

    assert sent == [n if n is None else (n, scale) for n in numbers]


def decimal_of(field: bytes) -> tuple[int, int]:
    """The number without its point, and its scale."""
    count, weight, sign, scale = struct.unpack_from(">hhHh", field)
    groups = struct.unpack_from(f">{count}h", field, 8)
    assert all(0 <= group < 10_000 for group in groups)
    whole = sum(group * Fraction(10_000) ** (weight - at) for at, group in enumerate(groups)) * Fraction(10) ** scale
    assert whole == int(whole)
    return (-int(whole) if sign == 0x4000 else int(whole)), scale


@given(st.lists(st.tuples(st.none() | st.text(), st.none() | st.text()), min_size=1))
def test_any_text_survives(rows: list[tuple[str | None, str | None]]) -> None:
    texts = pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=["a", "b"])

    found = list(read(encoded(texts, "text", "varchar")))

    assert [tuple(None if f is None else f.decode() for f in row) for row in found] == rows


def test_more_bytes_than_an_array_may_have_are_sent_in_parts() -> None:
    table = pa.table({"x": ["a" * 100, "b", None, "c" * 100, "d"], "y": [1, 2, None, 4, 5]})
    whole = encoded(table, "text", "int8")
    with patch.object(binary, "_MOST_BYTES", 300):
        data = encode_binary(table, ("text", "int8"))
        assert encode_binary(table.append_column("z", [[1, 2, 3, 4, 2**40]]), ("text", "int8", "int4")) is None
    assert data is not None
    assert len(list(data.parts)) > 3
    assert b"".join(data.parts) == whole


def test_rows_can_be_sorted_before_they_are_sent() -> None:
    table = pa.table({"a": [2, 1, 2, None], "b": ["x", "y", None, "z"], "c": ["é", "b", "", None]})
    types = ("int8", "text", "text")
    plain = list(read(encoded(table, *types)))

    data = encode_binary(table, types, order=("a", "b"))

    assert data is not None
    assert data.rows == 4
    assert list(read(b"".join(data.parts))) == [plain[1], plain[0], plain[2], plain[3]]


def test_rows_can_be_left_out() -> None:
    table = pa.table({"a": ["w", None, "y", "z"], "b": [3, 4, None, 1], "c": pa.array([1, None, 3, 4], pa.int16())})
    types = ("text", "int8", "int2")
    plain = list(read(encoded(table, *types)))
    rows = np.array([0, 2, 3])

    data, ordered = encode_binary(table, types, rows), encode_binary(table, types, rows, order=("b",))

    assert data is not None
    assert ordered is not None
    assert (data.rows, ordered.rows) == (3, 3)
    assert list(read(b"".join(data.parts))) == [plain[0], plain[2], plain[3]]
    assert list(read(b"".join(ordered.parts))) == [plain[3], plain[0], plain[2]]
    wide = table.append_column("d", [[1, 40_000, 3, 4]])
    fitting = encode_binary(wide, (*types, "int2"), rows)
    assert fitting is not None
    assert [row[3] for row in read(b"".join(fitting.parts))] == [b"\0\1", b"\0\3", b"\0\4"]
    assert encode_binary(wide, (*types, "int2"), np.array([0, 1])) is None
    with patch.object(binary, "_MOST_BYTES", 250):
        parts = encode_binary(table, types, rows)
    assert parts is not None
    assert b"".join(parts.parts) == b"".join(data.parts)


TEXT, NUMERIC = ColumnType(TypeName.TEXT), ColumnType(TypeName.NUMERIC, 38, 2)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([(TEXT, "text"), (NUMERIC, "numeric")], ("text", "numeric")),
        ([(ColumnType(TypeName.BIGINT), "int2"), (ColumnType(TypeName.INTEGER), "float8")], ("int2", "float8")),
        ([(ColumnType(TypeName.JSON), "jsonb"), (ColumnType(TypeName.UUID), "text")], ("jsonb", "text")),
        ([], ()),
        ([(TEXT, "text"), (TEXT, "citext")], None),
        ([(TEXT, "enum"), (TEXT, "text")], None),
        ([(TEXT, None)], None),
        ([(ColumnType(TypeName.NUMERIC, 39, 2), "numeric")], None),
        ([(ColumnType(TypeName.NUMERIC), "numeric")], None),
        ([(ColumnType(TypeName.DOUBLE), "numeric")], None),
        ([(ColumnType(TypeName.BIGINT), "float8")], None),
    ],
)
def test_a_table_is_sent_as_binary_if_every_column_can_be(
    columns: list[tuple[ColumnType, str | None]], expected: tuple[str, ...] | None
) -> None:
    assert wire_types(columns) == expected
