"""Great Expectations' metrics as Arrow kernels: pure functions over columns, which say which rows meet a rule.

A kernel takes the columns a rule is about (`sluice.rules.columns`) and its metric's arguments, and returns one
boolean a row: null where it depends on a NULL. Which rows count at all, `sluice.rules.plan` knows. None instead
means: not for these types or arguments, Great Expectations' own code must judge; that never depends on the values,
so a column without rows tells it as well.

`tests/unit/test_rules_differential.py` holds every kernel against stock Great Expectations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.rules.coerce import closed_interval
from sluice.rules.regex import compile_pattern

_INT64 = 2**63 - 1
#: Up to here no two whole numbers are the same double.
_EXACT_DOUBLE = 2**53 - 1


def not_null(values: pa.Array) -> pa.BooleanArray:
    return pc.is_valid(values)


def null(values: pa.Array) -> pa.BooleanArray:
    return pc.is_null(values)


def match_regex(values: pa.Array, regex: str) -> pa.BooleanArray | None:
    return _matched([regex], values, pc.or_)


def not_match_regex(values: pa.Array, regex: str) -> pa.BooleanArray | None:
    return _inverted(match_regex(values, regex))


def match_regex_list(values: pa.Array, regex_list: list[str], match_on: str) -> pa.BooleanArray | None:
    return _matched(regex_list, values, {"any": pc.or_, "all": pc.and_}[match_on])


def not_match_regex_list(values: pa.Array, regex_list: list[str]) -> pa.BooleanArray | None:
    return _inverted(_matched(regex_list, values, pc.or_))


def value_length_between(
    values: pa.Array,
    min_value: float | None = None,
    max_value: float | None = None,
    strict_min: bool | None = None,
    strict_max: bool | None = None,
) -> pa.BooleanArray | None:
    text = _text(values)
    if text is None:
        return None
    bounds = closed_interval(min_value, max_value, strict_min=bool(strict_min), strict_max=bool(strict_max))
    return _within(pc.utf8_length(text).cast(pa.int64()), *bounds)


def value_length_equals(values: pa.Array, value: float) -> pa.BooleanArray | None:
    return value_length_between(values, value, value)


def in_set(values: pa.Array, value_set: Iterable[Any]) -> pa.BooleanArray | None:
    """The set has been coerced to the column's type; a member that no value of it can equal is left out."""
    kind, members = values.type, [member for member in value_set if member is not None]
    if not _compares_exactly(members, kind):
        return None
    if pa.types.is_floating(kind):  # -0.0 equals 0.0, but is_in looks at the bits
        members = [float(member) + 0.0 for member in members]
        values = pc.add(values, 0.0)
    found = [scalar for member in members for scalar in _member(member, kind)]
    # is_in calls a null no member; here it is nothing.
    return pc.if_else(pc.is_valid(values), pc.is_in(values, value_set=pa.array(found, kind)), None)


def not_in_set(values: pa.Array, value_set: Iterable[Any]) -> pa.BooleanArray | None:
    return _inverted(in_set(values, value_set))


def between(
    values: pa.Array,
    min_value: Any = None,
    max_value: Any = None,
    strict_min: bool | None = None,
    strict_max: bool | None = None,
) -> pa.BooleanArray | None:
    """For numbers, dates and timestamps, whose bounds have been coerced to the column's type."""
    kind = values.type
    if pa.types.is_floating(kind):
        return _between_doubles(values, min_value, max_value, strict_min=bool(strict_min), strict_max=bool(strict_max))
    strict = {"strict_min": bool(strict_min), "strict_max": bool(strict_max)}
    if pa.types.is_decimal(kind):
        return _within_decimal(values, *closed_interval(min_value, max_value, scale=kind.scale, **strict))
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        return _within(values.view(pa.int64()), *closed_interval(min_value, max_value, **strict))
    return None


def match_strftime_format(values: pa.Array, strftime_format: str) -> pa.BooleanArray | None:
    """Each distinct value once: Arrow's own strptime accepts 2021-02-30, leading blanks and the year 0."""
    return _accepted(values, lambda value: datetime.strptime(value, strftime_format), ValueError)


def dateutil_parseable(values: pa.Array) -> pa.BooleanArray | None:
    from dateutil.parser import parse  # type: ignore[import-untyped]

    return _accepted(values, parse, Exception)  # it raises whatever it stumbles over


def json_parseable(values: pa.Array) -> pa.BooleanArray | None:
    return _accepted(values, json.loads, Exception)


def match_json_schema(values: pa.Array, json_schema: dict[str, Any]) -> pa.BooleanArray | None:
    """Unlike the stock code, where one value that is not JSON keeps the whole rule from being evaluated."""
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    kind = validator_for(json_schema)
    kind.check_schema(json_schema)
    validate = kind(json_schema).validate
    return _accepted(values, lambda value: validate(json.loads(value)), Exception)


def pair_equal(left: pa.Array, right: pa.Array) -> pa.BooleanArray | None:
    """For two columns of one type; how unlike ones compare is left to pandas."""
    return pc.equal(left, right) if left.type == right.type else None


def pair_greater(left: pa.Array, right: pa.Array, or_equal: bool | None = None) -> pa.BooleanArray | None:
    if left.type != right.type or pa.types.is_boolean(left.type):
        return None
    return pc.greater_equal(left, right) if or_equal else pc.greater(left, right)


#: Great Expectations' metric -> the kernel that takes its place.
KERNELS: dict[str, Callable[..., pa.BooleanArray | None]] = {
    "column_values.nonnull": not_null,
    "column_values.null": null,
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
    "column_pair_values.equal": pair_equal,
    "column_pair_values.a_greater_than_b": pair_greater,
}


def by_kernel(metric: str, columns: Sequence[pa.Array], arguments: Mapping[str, Any]) -> pa.BooleanArray | None:
    """The metric's kernel over the columns; None where there is none for it.

    Raises:
        Exception: whatever keeps the rule from being evaluated, also a kernel that does not answer for every row.
    """
    kernel = KERNELS.get(metric)
    met = kernel(*columns, **arguments) if kernel is not None else None
    if met is not None and (met.type != pa.bool_() or len(met) != len(columns[0])):
        raise TypeError(f"its mask is {len(met)} times {met.type}, not {len(columns[0])} booleans")
    return met


def _matched(patterns: Sequence[str], values: pa.Array, combine: Callable[[Any, Any], Any]) -> pa.BooleanArray | None:
    text = _text(values)
    if text is None:
        return None
    return reduce(combine, [compile_pattern(pattern).search(text) for pattern in patterns])


def _inverted(found: pa.BooleanArray | None) -> pa.BooleanArray | None:
    return None if found is None else pc.invert(found)


def _text(values: pa.Array) -> pa.Array | None:
    """The values as the text that Great Expectations matches: Python's `str` of each."""
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_integer(kind):
        return values.cast(pa.string())
    if pa.types.is_timestamp(kind):
        # A date. A timestamp has no one form as text; the loader refuses such rules.
        return values.cast(pa.date32()).cast(pa.string()) if kind.unit == "s" else None
    return _per_distinct(values, str, pa.string())


def _per_distinct(values: pa.Array, convert: Callable[[Any], Any], into: pa.DataType) -> pa.Array:
    encoded = values.dictionary_encode()
    return pa.array([convert(value) for value in encoded.dictionary.to_pylist()], into).take(encoded.indices)


def _accepted(values: pa.Array, check: Callable[[str], object], refusal: type[Exception]) -> pa.BooleanArray | None:
    """Whether `check` accepts each text (raises no `refusal`), asked once for each distinct one."""
    if not pa.types.is_string(values.type):
        return None

    def accepts(value: str) -> bool:
        try:
            check(value)
        except refusal:
            return False
        return True

    return _per_distinct(values, accepts, pa.bool_())


def _compares_exactly(members: Sequence[Any], kind: pa.DataType) -> bool:
    """Whether pandas, too, compares numbers of that type with the set as what they are. Where column and set are
    not both of whole numbers, it may make doubles of them, and large ones then equal their neighbours."""
    if pa.types.is_integer(kind):
        limit = _EXACT_DOUBLE if any(isinstance(member, float) for member in members) else _INT64
        return all(abs(member) <= limit for member in members)
    if pa.types.is_floating(kind):
        return all(isinstance(member, float) or abs(member) <= _EXACT_DOUBLE for member in members)
    return True


def _member(value: Any, kind: pa.DataType) -> list[Any]:
    """The value as one of that type, or nothing where no value of the type equals it."""
    if pa.types.is_string(kind):
        return [value] if isinstance(value, str) else []
    if pa.types.is_integer(kind):
        return [int(value)] if value == int(value) else []
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    try:
        return [pa.scalar(value, kind)]
    except pa.ArrowInvalid:
        return []


def _between_doubles(values: pa.Array, low: Any, high: Any, *, strict_min: bool, strict_max: bool) -> pa.BooleanArray:
    tests = [pc.equal(values, values)]  # all; null stays null
    if low is not None:
        tests.append((pc.greater if strict_min else pc.greater_equal)(values, float(low)))
    if high is not None:
        tests.append((pc.less if strict_max else pc.less_equal)(values, float(high)))
    return reduce(pc.and_, tests[1:] or tests)


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
