"""What is inferred from a file casts for all of the file, whatever the order of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cast import cast_table, describe
from sluice.infer import Inference
from sluice.model import Column, ColumnType, TypeName


def infer(*chunks: Sequence[str | None]) -> ColumnType:
    inference = Inference(["c"])
    for chunk in chunks:
        inference.update(pa.table({"c": pa.array(chunk, pa.string())}))
    return inference.types()[0][1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", "0", None, "", " "], "bigint"),
        (["9223372036854775807", "-9223372036854775808"], "bigint"),
        (["9223372036854775808"], "numeric(19,0)"),
        (["1", "9" * 76], "numeric(76,0)"),
        (["9" * 77], "text"),
        (["1.50", "-22.5", "3"], "numeric(4,2)"),
        (["123", "0.001"], "numeric(6,3)"),
        ([".5"], "numeric(1,1)"),
        (["1e5", "2.5E-3", "7"], "double"),
        (["1e400"], "text"),
        (["1e-400"], "text"),
        (["1e5", "12345678901234567"], "text"),
        (["1e5", "0.12345678901234567"], "text"),
        (["007"], "text"),
        (["1", "00"], "text"),
        (["1", "-0"], "text"),
        (["+49123"], "text"),
        (["1,000"], "text"),
        (["0x1F"], "text"),
        (["nan"], "text"),
        (["१"], "text"),
        (["1."], "text"),
        (["true", "FALSE", None], "boolean"),
        (["yes", "No"], "boolean"),
        (["NO", "no"], "text"),
        (["true", "no"], "text"),
        (["t", "f"], "text"),
        (["0", "1"], "bigint"),
        (["2021-02-03"], "date"),
        (["2021-02-30"], "text"),
        (["2021-02-03 04:05", "2021-02-03T04:05:06.7"], "timestamp"),
        (["2021-02-03", "2021-02-03 04:05"], "text"),
        (["dd37cf93-aeca-6dca-aaaa-123456789012"], "uuid"),
        (["dd37cf93aeca6dcaaaaa123456789012"], "text"),
        (['{"a": 1}'], "text"),
        ([None, "", "  "], "text"),
        ([], "text"),
    ],
)
def test_types(values: list[str | None], expected: str) -> None:
    assert describe(infer(values)) == expected


def test_a_misfit_in_the_last_chunk_counts() -> None:
    assert infer(["1"] * 1000, ["2"], ["x"]).name is TypeName.TEXT
    assert infer(["x"], ["1"]).name is TypeName.TEXT
    assert describe(infer(["1"], ["2.5"], [None])) == "numeric(2,1)"


values = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "true", "FALSE", "yes", "no", "007", "+1", "-0", "1e5", "1E400", "1e-999", ".5", "5.", "nan"]
    ),
    st.integers().map(str),
    st.integers(-100, 100).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A-?[0-9]{0,50}\.[0-9]{0,50}\Z"),
    st.dates().map(str),
    st.datetimes().map(str),
    st.uuids().map(str),
    st.text(max_size=4),
)
#: Columns of one kind are the interesting ones; mixed ones are nearly always text.
columns = st.one_of(
    st.lists(values, max_size=12),
    *(
        st.lists(st.one_of(st.none(), kind), max_size=12)
        for kind in (
            st.integers(-(10**20), 10**20).map(str),
            st.from_regex(r"\A-?[0-9]{0,42}(\.[0-9]{0,42})?\Z"),
            st.from_regex(r"\A-?[0-9]{1,3}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?\Z"),
            st.sampled_from(["true", "False", "yes", "NO"]),
            st.dates().map(str),
            st.datetimes().map(str),
        )
    ),
)


@given(columns)
def test_whatever_is_inferred_casts(column: list[str | None]) -> None:
    type_ = infer(column)
    result = cast_table(pa.table({"c": pa.array(column, pa.string())}), [Column("c", type_)])
    assert result.violations == []


@given(columns)
def test_a_number_keeps_its_value(column: list[str | None]) -> None:
    type_ = infer(column)
    result = cast_table(pa.table({"c": pa.array(column, pa.string())}), [Column("c", type_)])
    if type_.name in (TypeName.BIGINT, TypeName.NUMERIC):
        for text, number in zip(column, result.table.column("c").to_pylist(), strict=True):
            assert number is None or Decimal(number) == Decimal(text or "")
    if type_.name is TypeName.DOUBLE:
        for text, number in zip(column, result.table.column("c").to_pylist(), strict=True):
            assert number is None or f"{number:.15g}" == f"{Decimal(text or ''):.15g}" or float(text or "") == number


@given(columns, st.integers(0, 12), st.integers(0, 12))
def test_order_and_merging_do_not_matter(column: list[str | None], one: int, two: int) -> None:
    first, second = sorted((one, two))
    chunks = [column[:first], column[first:second], column[second:]]
    whole = infer(column)
    assert infer(*chunks) == infer(*reversed(chunks)) == whole
    parts = []
    for chunk in chunks:
        part = Inference(["c"])
        part.update(pa.table({"c": pa.array(chunk, pa.string())}))
        parts.append(part)
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    assert parts[2].types() == [("c", whole)]
