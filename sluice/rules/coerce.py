"""Values and bounds of a suite in the type of the column they are about.

JSON knows neither dates nor decimals. Great Expectations compares what it finds, so that `"2020-01-02"` raises
against a date column and 0.3 is less than the decimal 0.30; here both mean what the author meant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from sluice.model import ColumnType, TypeName

_EPOCH = datetime(1970, 1, 1)
_NUMBERS = (TypeName.INTEGER, TypeName.BIGINT, TypeName.DOUBLE, TypeName.NUMERIC)


def coerce(value: Any, kind: ColumnType) -> Any:
    """One value of the suite as the column holds it; None stays None.

    Raises:
        ValueError: it can never be a value of the column.
    """
    if value is None:
        return None
    if kind.name in _NUMBERS:
        return _number(value, kind)
    if kind.name is TypeName.BOOLEAN:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return value
    if kind.name is TypeName.DATE:
        return _date(value)
    if kind.name is TypeName.TIMESTAMP:
        return _timestamp(value, aware=is_aware(kind))
    return value


def is_aware(kind: ColumnType) -> bool:
    """Whether a timestamp column holds instants (PostgreSQL's timestamptz)."""
    return kind.name is TypeName.TIMESTAMP and kind.format is not None and "%z" in kind.format


def coerce_arguments(arguments: Mapping[str, Any], *, bounds: ColumnType, values: ColumnType) -> dict[str, Any]:
    """The arguments of a metric about one column: bounds and value sets in their types, all others as they are.

    Raises:
        ValueError: saying which argument.
    """
    result = dict(arguments)
    for name in ("min_value", "max_value"):
        if name in result:
            result[name] = _named(name, result[name], bounds)
    if result.get("value_set") is not None:
        result["value_set"] = [_named("value_set", value, values) for value in result["value_set"]]
    return result


def closed_interval(
    minimum: Any, maximum: Any, *, strict_min: bool, strict_max: bool, scale: int = 0
) -> tuple[int | None, int | None]:
    """Bounds as a closed interval of whole units, the form in which columns are compared.

    Units are 10^-scale of a number, seconds for a date, microseconds for a timestamp, both since 1970.
    """
    low = high = None
    if minimum is not None:
        units = _units(minimum, scale)
        low = math.ceil(units)
        if strict_min and low == units:
            low += 1
    if maximum is not None:
        units = _units(maximum, scale)
        high = math.floor(units)
        if strict_max and high == units:
            high -= 1
    return low, high


def _named(name: str, value: Any, kind: ColumnType) -> Any:
    try:
        return coerce(value, kind)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _number(value: Any, kind: ColumnType) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    if kind.name is TypeName.NUMERIC:
        try:
            return Decimal(str(value))
        except InvalidOperation:  # pragma: no cover - isfinite leaves only numbers
            raise ValueError(f"{value!r} is not a number") from None
    return value


def _date(value: Any) -> date:
    if isinstance(value, str):
        value = _parse(value)
    if isinstance(value, datetime):
        if value.time() != time() or value.tzinfo is not None:
            raise ValueError(f"{value} is not a date, which has no time of day")
        return value.date()
    if isinstance(value, date):
        return value
    raise ValueError(f"{value!r} is not a date (YYYY-MM-DD)")


def _timestamp(value: Any, *, aware: bool) -> datetime:
    if isinstance(value, str):
        value = _parse(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is not a timestamp (YYYY-MM-DD HH:MM:SS)")
    if not aware:
        if value.tzinfo is not None:
            raise ValueError(f"{value} has a time zone, the column has none")
        return value
    return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).astimezone(UTC)


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an ISO 8601 date or time") from None


def _units(value: Any, scale: int) -> Fraction | int:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return (datetime.combine(value, time()) - _EPOCH) // timedelta(seconds=1)
    return Fraction(value) * Fraction(10) ** scale
