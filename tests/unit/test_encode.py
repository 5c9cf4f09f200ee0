"""Arrow -> COPY bytes, without a server; that PostgreSQL reads them back is in tests/postgres/test_load_types.py."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.encode import encode_table, with_lineage


def encoded(*values: object, kind: pa.DataType) -> str:
    return b"".join(encode_table(pa.table({"x": pa.array(values, kind)})).parts).decode()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([None, ""], pa.string(), '\n""\n'),
        (['say "hi"', "a,b", "\\.", "\\N"], pa.string(), '"say ""hi"""\n"a,b"\n"\\."\n"\\N"\n'),
        (["x", None], pa.string_view(), '"x"\n\n'),
        ([dt.date(1, 1, 1), dt.date(9999, 12, 31)], pa.date32(), "0001-01-01\n9999-12-31\n"),
        ([Decimal("1.10"), Decimal("-0.01")], pa.decimal128(38, 2), "1.10\n-0.01\n"),
        ([True, False, None], pa.bool_(), "true\nfalse\n\n"),
        ([dt.datetime(2020, 1, 1)], pa.timestamp("us", "UTC"), "2020-01-01 00:00:00.000000Z\n"),
        # Amsterdam was 19 min 32 s ahead of Greenwich until 1937.
        ([dt.datetime(1900, 1, 1)], pa.timestamp("us", "Europe/Amsterdam"), "1900-01-01 00:00:00.000000Z\n"),
    ],
)
def test_values_are_written_as_postgresql_reads_them(values: list[object], kind: pa.DataType, expected: str) -> None:
    assert encoded(*values, kind=kind) == expected


def test_lineage_comes_last() -> None:
    table = with_lineage(pa.table({"x": ["a", "b"]}), 7, np.array([2, 5]))

    data = encode_table(table)

    assert b"".join(data.parts) == b'"a",7,2\n"b",7,5\n'
    assert data.rows == 2


def test_no_rows_are_no_bytes() -> None:
    assert b"".join(encode_table(pa.table({"x": pa.array([], pa.string())})).parts) == b""


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_any_text_survives(rows: list[tuple[str, str]]) -> None:
    data = encode_table(pa.table({"a": [a for a, _ in rows], "b": [b for _, b in rows]}))

    assert [tuple(row) for row in csv.reader(io.StringIO(b"".join(data.parts).decode(), newline=""))] == rows
