"""The hot metrics as Arrow kernels: pure functions over a column, which `sluice.rules.engine` registers.

A kernel takes a column of the frame and the metric's arguments, and says of each value whether it meets the
rule: null for NULL, which meets every rule. Judging the whole column spares Great Expectations' copy of the rows
that hold a value, which costs more than most kernels. None instead means: no fast way, take the stock code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from dateutil.parser import parse as parse_date  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]

from sluice.rules.coerce import closed_interval
from sluice.rules.frame import arrow_of
from sluice.rules.regex import compile_pattern

if TYPE_CHECKING:
    Column = pd.Series[Any]

_INT64 = 2**63 - 1


def match_regex(column: Column, regex: str) -> pa.BooleanArray:
    return compile_pattern(regex).search(_text(column))


def not_match_regex(column: Column, regex: str) -> pa.BooleanArray:
    return pc.invert(match_regex(column, regex))


def match_regex_list(column: Column, regex_list: list[str], match_on: str) -> pa.BooleanArray:
    text = _text(column)
    return reduce(_MATCH_ON[match_on], [compile_pattern(regex).search(text) for regex in regex_list])


def not_match_regex_list(column: Column, regex_list: list[str]) -> pa.BooleanArray:
    return pc.invert(match_regex_list(column, regex_list, "any"))


def value_length_between(
    column: Column,
    min_value: float | None = None,
    max_value: float | None = None,
    strict_min: bool | None = None,
    strict_max: bool | None = None,
) -> pa.BooleanArray:
    bounds = closed_interval(min_value, max_value, strict_min=bool(strict_min), strict_max=bool(strict_max))
    return _within(pc.utf8_length(_text(column)).cast(pa.int64()), *bounds)


def value_length_equals(column: Column, value: float) -> pa.BooleanArray:
    return value_length_between(column, value, value)


def in_set(column: Column, value_set: Iterable[Any]) -> pa.BooleanArray | None:
    """For text, dates, timestamps and decimals; pandas' own `isin` does the others well."""
    values = arrow_of(column)
    kind = values.type
    if not (pa.types.is_large_string(kind) or pa.types.is_timestamp(kind) or pa.types.is_decimal(kind)):
        return None
    members = pa.array([member for value in value_set for member in _member(value, kind)], kind)
    # is_in calls a null no member; here it is nothing.
    return pc.if_else(pc.is_valid(values), pc.is_in(values, value_set=members), None)


def not_in_set(column: Column, value_set: Iterable[Any]) -> pa.BooleanArray | None:
    found = in_set(column, value_set)
    return None if found is None else pc.invert(found)


def between(
    column: Column,
    min_value: Any = None,
    max_value: Any = None,
    strict_min: bool | None = None,
    strict_max: bool | None = None,
) -> pa.BooleanArray | None:
    """For whole numbers, decimals, dates and timestamps, whose bounds have been coerced to the column's type."""
    values = arrow_of(column)
    strict = {"strict_min": bool(strict_min), "strict_max": bool(strict_max)}
    if pa.types.is_decimal(values.type):
        return _within_decimal(values, *closed_interval(min_value, max_value, scale=values.type.scale, **strict))
    if pa.types.is_integer(values.type) or pa.types.is_timestamp(values.type):
        return _within(values.view(pa.int64()), *closed_interval(min_value, max_value, **strict))
    return None


def match_strftime_format(column: Column, strftime_format: str) -> pa.BooleanArray | None:
    """Each distinct value once: Arrow's own strptime accepts 2021-02-30, leading blanks and the year 0."""
    return _per_distinct(column, lambda value: datetime.strptime(value, strftime_format), ValueError)


def dateutil_parseable(column: Column) -> pa.BooleanArray | None:
    return _per_distinct(column, parse_date, Exception)  # it raises whatever it stumbles over


def json_parseable(column: Column) -> pa.BooleanArray | None:
    return _per_distinct(column, json.loads, Exception)


def match_json_schema(column: Column, json_schema: dict[str, Any]) -> pa.BooleanArray | None:
    """Unlike the stock code, where one value that is not JSON keeps the whole rule from being evaluated."""
    kind = validator_for(json_schema)
    kind.check_schema(json_schema)
    validate = kind(json_schema).validate
    return _per_distinct(column, lambda value: validate(json.loads(value)), Exception)


_MATCH_ON: dict[str, Callable[[Any, Any], Any]] = {"any": pc.or_, "all": pc.and_}

#: Great Expectations' metric -> the kernel that takes its place.
KERNELS: dict[str, Callable[..., pa.BooleanArray | None]] = {
    "column_values.match_regex": match_regex,
    "column_values.not_match_regex": not_match_regex,
    "column_values.match_regex_list": match_regex_list,
    "column_values.not_match_regex_list": not_match_regex_list,
    "column_values.value_length.between": value_length_between,
    "column_values.value_length.equals": value_length_equals,
    "column_values.in_set": in_set,
    "column_values.not_in_set": not_in_set,
    "column_values.between": between,
    "column_values.match_strftime_format": match_strftime_format,
    "column_values.dateutil_parseable": dateutil_parseable,
    "column_values.json_parseable": json_parseable,
    "column_values.match_json_schema": match_json_schema,
}


def _is_text(column: Column) -> bool:
    return isinstance(column.dtype, pd.StringDtype)


def _text(column: Column) -> pa.Array:
    """The values as the text that Great Expectations matches: `str(value)`, NULL where there is none."""
    if _is_text(column):
        return arrow_of(column)
    present = column[column.notnull()]
    return arrow_of(present.astype(str).reindex(column.index))


def _per_distinct(column: Column, check: Callable[[str], object], refusal: type[Exception]) -> pa.BooleanArray | None:
    """Whether `check` accepts each value (raises no `refusal`), asked once for each distinct one."""
    if not _is_text(column):
        return None

    def accepts(value: str) -> bool:
        try:
            check(value)
        except refusal:
            return False
        return True

    encoded = arrow_of(column).dictionary_encode()
    accepted = pa.array([accepts(value) for value in encoded.dictionary.to_pylist()], pa.bool_())
    return accepted.take(encoded.indices)


def _member(value: Any, kind: pa.DataType) -> list[Any]:
    """The value as one of that type, or nothing where no value of the type equals it."""
    if pa.types.is_large_string(kind):
        return [value] if isinstance(value, str) else []
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if value is None:
        return []
    try:
        return [pa.scalar(value, kind)]
    except pa.ArrowInvalid:
        return []


def _within(values: pa.Array, low: int | None, high: int | None) -> pa.BooleanArray:
    return _compare(values, low, high, _INT64, lambda units: pa.scalar(units, pa.int64()))


def _within_decimal(values: pa.Array, low: int | None, high: int | None) -> pa.BooleanArray:
    kind = values.type
    largest = 10**kind.precision - 1
    return _compare(values, low, high, largest, lambda units: pa.scalar(Decimal(f"{units}E-{kind.scale}"), kind))


def _compare(
    values: pa.Array, low: int | None, high: int | None, limit: int, scalar: Callable[[int], pa.Scalar]
) -> pa.BooleanArray:
    """Whether each value lies in the closed interval; `limit` is the largest value the type can hold."""
    if (low is not None and low > limit) or (high is not None and high < -limit):
        return pc.not_equal(values, values)  # none; null stays null
    tests = [pc.equal(values, values)]  # all; null stays null
    if low is not None and low >= -limit:
        tests.append(pc.greater_equal(values, scalar(low)))
    if high is not None and high <= limit:
        tests.append(pc.less_equal(values, scalar(high)))
    return reduce(pc.and_, tests[1:] or tests)
