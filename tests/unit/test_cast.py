"""Casting against Python's own reading of the same text. A column is cast whole, so neighbours must not matter."""

# ruff: noqa: E501 - a table of texts
from __future__ import annotations

import decimal
import json
import math
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluice.cast import Cast, arrow_type, cast_table, casts
from sluice.model import Column, ColumnType, TypeName

BLANK = object()


def cast(values: Sequence[str | None], type_: ColumnType, **options: Any) -> Cast:
    return cast_table(pa.table({"c": pa.array(values, pa.string())}), [Column("c", type_, **options)])


def check(values: list[str | None], type_: ColumnType, oracle: Callable[[str], Any]) -> None:
    """`oracle` gives the value, or raises ValueError. Blank texts are NULL for every type but text."""
    expected: list[Any] = []
    bad = []
    for row, text in enumerate(values):
        if text is None or not text.strip():
            expected.append(None)
            continue
        try:
            expected.append(oracle(text))
        except (ValueError, OverflowError):
            expected.append(None)
            bad.append(row)
    result = cast(values, type_)
    column = result.table.column("c")
    assert column.type == arrow_type(type_)
    assert column.to_pylist() == expected
    assert [row for violation in result.violations for row in violation.rows.tolist()] == bad
    for violation in result.violations:
        assert violation.code == f"type.{type_.name}"
        assert violation.values == [values[row] for row in bad]


HOSTILE = [
    "", " ", "\t\n", "\u00a0", "0", "-0", "+0", "00", "007", "+1", "+-1", "--1", "-", "+", "1_000", "1,000", "1.", ".5",
    ".", "-.5", "+.5e1", "1e", "e1", "1e5", "1E+5", "1e-5", "1e400", "1e-400", "-1e-400", "0e999", "0x1F", "-0x1", "0b1",
    "0o7", "nan", "NaN", "-nan", "inf", "-Infinity", "1 ", " 1", "1\n", "\n1", "1\x00", "\x001", "१२३", "１２", "²", "Ⅷ",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "2147483647",
    "2147483648", "-2147483648", "-2147483649", "0" * 50 + "7", "-" + "0" * 50 + "7", "9" * 19, "9" * 40, "9" * 80, "9" * 5000,
    "99999999.99", "99999999.990", "99999999.995", "100000000.00", "0.001", "0.0000", "1.10000000000", "1" + "0" * 40 + ".5",
    "0." + "0" * 90, "0." + "0" * 90 + "1", "1e8", "1e7", "9.999999999e7", "1e-2", "1e-3", "10e-3", "0e99999999", "1e99999999",
    "4.9e-324", "2e-324", "1.7976931348623157e308", "1.7976931348623159e308", "0.1", "123456789012345678901234567890.123",
    "true", "TRUE", "False", "t", "F", "yes", "No", "y", "N", "on", "OFF", "1", "tru", "oui", "ＴＲＵＥ", "ſ",
    "2021-02-28", "2021-02-30", "2020-02-29", "1900-02-29", "2021-2-3", "2021-02-28 ", " 2021-02-28", "20210228", "0000-01-01",
    "0001-01-01", "9999-12-31", "10000-01-01", "-001-01-01", "2021-13-01", "2021-00-10", "2021-01-00", "2021/01/02", "२०२१-01-01",
    "28/02/2021", "30/02/2021", "1/2/2021", "28/02/21", "2021-02-28 12:30", "2021-02-28T12:30", "2021-02-28t12:30",
    "2021-02-28 12:30:59", "2021-02-28 12:30:60", "2021-02-28 24:00:00", "2021-02-28 12", "2021-02-28 12:30:59.1",
    "2021-02-28 12:30:59.123456", "2021-02-28 12:30:59.1234567", "2021-02-28 12:30:59.", "2021-02-28  12:30", "2021-02-28 12:30Z",
    "2021-02-28 12:30+02:00", "2021-02-28 12:30+0200", "2021-02-28 12:30-0230", "0001-01-01 00:00+0100", "9999-12-31 23:59-0100",
    "2021-02-28 12:30+2400", "2021-02-28 12:30+0260", "2021-02-28 12:30z", "2021-02-28 12:30+02:00:30",
    "dd37cf93-aeca-6dca-aaaa-123456789012", "DD37CF93AECA6DCAAAAA123456789012", "{dd37cf93-aeca-6dca-aaaa-123456789012}",
    "dd37cf93-aeca-6dca-aaaa-12345678901g", "dd37cf93-aeca-6dca-aaaa-12345678901", "dd37-cf93-aeca-6dca-aaaa-1234-5678-9012",
    "urn:uuid:dd37cf93-aeca-6dca-aaaa-123456789012", "K", "null", "NULL", "[]", "{}", '{"a":1,"a":2}', "[1,]", "{'a':1}", '"a\nb"',
    '"\\ud800"', '"\\ud83d\\ude00"', '"\\ude00\\ud83d"', '"\\ud83d x"', '"\\u0000"', '"\\\\u0000"', '"\\ud83d\\\\ude00"', '"\\uD83D\\ud83d\\ude00"',
    "[NaN]", "-Infinity", "01", "1e131071", "1e131072", "1e-16383", "1e-16384", "1e999999999999", "[" * 400 + "]" * 400,
    "[" * 501 + "]" * 501, "[" * 100_000, '"' + "[" * 600 + '"', "\ufeff1", "1\u2028", "\u20281",
]  # fmt: skip

hostile = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12), st.text("0123456789+-.eExX :/TZ", max_size=14))


def columns_of(*valid: st.SearchStrategy[str]) -> st.SearchStrategy[list[str | None]]:
    """Columns of hostile texts, of plausible ones, and of plausible ones alone (the fast paths)."""
    plausible = st.one_of(*valid)
    return st.one_of(
        st.lists(st.one_of(st.none(), hostile, plausible), max_size=8),
        st.lists(st.one_of(st.none(), plausible), max_size=8),
    )


def integer_oracle(bits: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch("[+-]?[0-9]+", text, re.ASCII):
            raise ValueError(text)
        digits = text.lstrip("+-").lstrip("0") or "0"
        number = int(digits) if len(digits) < 100 else 10**100
        number = -number if text.startswith("-") else number
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError(text)
        return number

    return read


integers = columns_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.integers(-(2**31), 2**31 - 1).map(str),
    st.from_regex(r"\A[+-]?0{0,25}[0-9]{1,21}\Z"),
)


@given(integers)
@example(list(HOSTILE))
def test_integers_are_pythons_within_their_bits(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.BIGINT), integer_oracle(64))
    check(values, ColumnType(TypeName.INTEGER), integer_oracle(32))


NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def numeric_oracle(precision: int, scale: int) -> Callable[[str], Decimal]:
    def read(text: str) -> Decimal:
        found = NUMBER.fullmatch(text)
        if not found or len(found[2] or "") > 7:
            raise ValueError(text)
        number = Decimal(text)
        if number and number.adjusted() > 100:
            raise ValueError(text)
        shifted = Fraction(number if number.adjusted() > -200 else Decimal(bool(number)) / 10**90) * 10**scale
        if shifted.denominator != 1 or abs(shifted) >= 10**precision:
            raise ValueError(text)
        return Decimal(shifted.numerator).scaleb(-scale, None)

    return read


@pytest.mark.parametrize(
    ("precision", "scale"), [(10, 2), (1, 0), (3, 3), (38, 10), (50, 20), (76, 0), (18, 0), (20, 19)]
)
@given(
    values=columns_of(
        st.from_regex(r"\A[+-]?[0-9]{1,10}(\.[0-9]{0,4})?\Z"),
        st.from_regex(r"\A[+-]?0{0,3}[0-9]{1,40}(\.[0-9]{0,25}0{0,9})?\Z"),
        st.from_regex(r"\A[+-]?[0-9]{20,80}(\.[0-9]{0,40})?\Z"),
        st.from_regex(r"\A[+-]?[0-9]{0,3}\.[0-9]{1,3}[eE][+-]?[0-9]{1,2}\Z"),
    )
)
@example(values=list(HOSTILE))
def test_numeric_is_exact_or_rejected(values: list[str | None], precision: int, scale: int) -> None:
    with decimal.localcontext() as context:
        context.prec = 100
        check(values, ColumnType(TypeName.NUMERIC, precision, scale), numeric_oracle(precision, scale))


def double_oracle(text: str) -> float:
    if not NUMBER.fullmatch(text):
        raise ValueError(text)
    number = float(text)
    if math.isinf(number) or (number == 0 and re.search("[1-9]", re.split("[eE]", text)[0])):
        raise ValueError(text)
    return number


@given(columns_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers().map(str)))
@example(list(HOSTILE))
def test_doubles_are_pythons_where_finite(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.DOUBLE), double_oracle)


TRUE, FALSE = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0")
WORDS = dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False)


def boolean_oracle(text: str) -> bool:
    return WORDS[text.lower()] if text.isascii() and text.lower() in WORDS else refuse(text)


def refuse(text: str) -> Any:
    raise ValueError(text)


@given(columns_of(st.sampled_from(sorted(WORDS)), st.sampled_from(sorted(WORDS)).map(str.upper)))
@example(list(HOSTILE))
def test_booleans_are_twelve_words(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.BOOLEAN), boolean_oracle)


def iso_date_oracle(text: str) -> date:
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        raise ValueError(text)
    return date.fromisoformat(text)


def iso_timestamp_oracle(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?", text, re.ASCII):
        raise ValueError(text)
    whole, _, fraction = text.partition(".")
    return datetime.fromisoformat(whole) + timedelta(microseconds=int(fraction.ljust(6, "0") or 0))


dates = st.dates().map(str)
near_dates = st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]\Z", alphabet=st.characters(codec="ascii"))


@given(columns_of(dates, near_dates))
@example(list(HOSTILE))
def test_iso_dates(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.DATE), iso_date_oracle)


@given(columns_of(st.datetimes().map(str), st.datetimes().map(lambda moment: moment.isoformat()[:19]), near_dates))
@example(list(HOSTILE))
def test_iso_timestamps(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.TIMESTAMP), iso_timestamp_oracle)


FORMATS = [
    "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%y", "%Y%m%d", "%d%m%Y", "%d.%m.%Y", "%d %b %Y", "%B %d, %Y", "%Y-%j", "%G-W%V-%u",
    "%Y年%m月%d日", "%d%%%m%%%Y", "%d1%m%Y", "%y%m%d",
]  # fmt: skip
MOMENTS = [
    "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d/%m/%Y %H:%M:%S.%f", "%Y-%m-%d %I:%M %p", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S%f",
    "%Y-%m-%d %H:%M%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%f %Y-%m-%d", "%f%Y-%m-%d", "%a %b %d %H:%M:%S %Y",
]  # fmt: skip


def written(format: str) -> st.SearchStrategy[str]:
    moments = st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC))
    exact = moments.map(lambda moment: moment.strftime(format))
    spoilt = st.tuples(exact, st.integers(0, 20), st.sampled_from("0193/ .Zx")).map(
        lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + 1 :]
    )
    shorter = st.tuples(exact, st.integers(0, 20)).map(lambda drawn: drawn[0][: drawn[1]] + drawn[0][drawn[1] + 1 :])
    return st.one_of(exact, spoilt, shorter)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=25)
@given(data=st.data())
def test_date_formats_are_strptimes(format: str, data: st.DataObject) -> None:
    values = [*data.draw(columns_of(written(format))), *HOSTILE]
    check(values, ColumnType(TypeName.DATE, format=format), lambda text: datetime.strptime(text, format).date())


@pytest.mark.parametrize("format", MOMENTS)
@settings(max_examples=25)
@given(data=st.data())
def test_timestamp_formats_are_strptimes(format: str, data: st.DataObject) -> None:
    def oracle(text: str) -> datetime:
        moment = datetime.strptime(text, format)
        return moment.astimezone(UTC) if moment.tzinfo else moment

    values = [*data.draw(columns_of(written(format))), *HOSTILE]
    check(values, ColumnType(TypeName.TIMESTAMP, format=format), oracle)


def test_a_date_takes_midnight_only() -> None:
    type_ = ColumnType(TypeName.DATE, format="%Y-%m-%d %H:%M")
    assert cast(["2021-02-03 00:00"], type_).table.column("c").to_pylist() == [date(2021, 2, 3)]
    assert [v.values for v in cast(["2021-02-03 00:01"], type_).violations] == [["2021-02-03 00:01"]]


def uuid_oracle(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text, re.ASCII):
        raise ValueError(text)
    return str(uuid.UUID(text))


@given(columns_of(st.uuids().map(str), st.uuids().map(lambda value: value.hex.upper())))
@example(list(HOSTILE))
def test_uuids_are_canonical(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.UUID), uuid_oracle)


def json_oracle(text: str) -> str:
    def strings(value: Any) -> None:
        if isinstance(value, str):
            value.encode()
            if "\0" in value:
                raise ValueError(text)
        for part in value if isinstance(value, (list, tuple)) else ():
            strings(part)

    def number(digits: str) -> None:
        value = Decimal(digits)
        if value.as_tuple().exponent < -16383 or value.adjusted() >= 131072 or len(digits) > 131072:  # type: ignore[operator]
            raise ValueError(digits)

    try:
        strings(json.loads(text, object_pairs_hook=list, parse_constant=refuse, parse_int=number, parse_float=number))
    except (RecursionError, ArithmeticError):
        raise ValueError(text) from None
    if text.startswith("[" * 501):
        raise ValueError(text)
    return text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
escapes = st.lists(st.sampled_from(["\\ud83d", "\\ude00", "\\u0000", "\\u0041", "\\\\", "\\n", "x"]), max_size=6).map(
    lambda parts: f'"{"".join(parts)}"'
)


@given(columns_of(json_values.map(json.dumps), json_values.map(lambda v: json.dumps(v, ensure_ascii=False)), escapes))
@example(list(HOSTILE))
def test_json_is_rfc_8259_that_jsonb_takes(values: list[str | None]) -> None:
    check(values, ColumnType(TypeName.JSON), json_oracle)


TEXT, BIGINT = ColumnType(TypeName.TEXT), ColumnType(TypeName.BIGINT)


def test_plain_text_is_not_copied() -> None:
    text = pa.table({"c": pa.array(["a", None, "", " b "])})
    result = cast_table(text, [Column("c", TEXT)])
    assert result.table.column("c").to_pylist() == ["a", None, "", " b "]
    assert result.table.column("c").chunk(0).buffers()[2].address == text.column("c").chunk(0).buffers()[2].address


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=5), max_size=5))
def test_trim_is_pythons_strip(values: list[str | None]) -> None:
    expected = [None if text is None else text.strip() for text in values]
    assert cast(values, TEXT, trim=True).table.column("c").to_pylist() == expected


def test_trim_then_null_then_default_then_required() -> None:
    result = cast([" N/A ", "x ", None, ""], TEXT, trim=True, null=("N/A",), required=True)
    assert result.table.column("c").to_pylist() == [None, "x", None, ""]
    assert [(v.code, v.column, v.rows.tolist(), v.values) for v in result.violations] == [
        ("type.required", "c", [0, 2], [" N/A ", None])
    ]
    filled = cast([" N/A ", "x ", None, ""], TEXT, trim=True, null=("N/A",), required=True, default="?")
    assert filled.table.column("c").to_pylist() == ["?", "x", "?", ""]
    assert filled.violations == []


def test_blank_is_null_for_every_type_but_text() -> None:
    result = cast(["1", "", "  ", None, "x"], BIGINT, default="5")
    assert result.table.column("c").to_pylist() == [1, 5, 5, 5, None]
    assert [(v.code, v.rows.tolist()) for v in result.violations] == [("type.bigint", [4])]
    required = cast(["1", "", "x", None], BIGINT, required=True)
    assert [(v.code, v.rows.tolist(), v.values) for v in required.violations] == [
        ("type.required", [1, 3], ["", None]),
        ("type.bigint", [2], ["x"]),
    ]


def test_a_column_the_run_sets_and_one_the_file_lacks() -> None:
    text = pa.table({"a": pa.array(["1", "2"])})
    columns = [
        Column("u", BIGINT, set_by="u"),
        Column("a", BIGINT),
        Column("b", TEXT, default="d"),
        Column("z", TEXT, required=True),
    ]
    result = cast_table(text, columns, {"u": "42"})
    assert result.table.to_pydict() == {"u": [42, 42], "a": [1, 2], "b": ["d", "d"], "z": [None, None]}
    assert [(v.code, v.column, v.rows.tolist()) for v in result.violations] == [("type.required", "z", [0, 1])]


@pytest.mark.parametrize("name", [name for name in TypeName if name is not TypeName.NUMERIC])
def test_empty_chunks_slices_and_chunked_columns(name: TypeName) -> None:
    type_ = ColumnType(name)
    good = {
        "text": "a", "integer": "1", "bigint": "1", "double": "1.5", "boolean": "yes", "date": "2021-02-03", "json": "[1]",
        "timestamp": "2021-02-03 04:05", "uuid": "dd37cf93-aeca-6dca-aaaa-123456789012",
    }[name]  # fmt: skip
    bad = None if name is TypeName.TEXT else "(bad)"
    assert cast([], type_).table.column("c").type == arrow_type(type_)
    long = pa.array([bad, "1", good, bad, good, None, bad])
    sliced = pa.chunked_array([long.slice(2, 2), long.slice(4, 2)])
    result = cast_table(pa.table({"c": sliced}), [Column("c", type_)])
    one = cast([good], type_).table.column("c")[0]
    assert result.table.column("c").combine_chunks().to_pylist() == [one.as_py(), None, one.as_py(), None]
    assert [v.rows.tolist() for v in result.violations] == ([] if bad is None else [[1]])


def test_casts_tells_whether_a_default_is_a_value() -> None:
    assert casts("12", BIGINT)
    assert not casts("1.5", BIGINT)
    assert not casts("", BIGINT)
    assert casts("", TEXT)
