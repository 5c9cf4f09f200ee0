"""Columns as the receive functions of PostgreSQL's plain types take them, and which columns can be sent so. Pure.

The binary forms are not documented beyond the functions themselves: `textrecv`, `numeric_recv` and so on in
https://github.com/postgres/postgres/tree/master/src/backend/utils/adt. They have not changed since PostgreSQL 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluice.cast.arrays import data, offsets, valid
from sluice.model import ColumnType, TypeName

#: Dataset type -> PostgreSQL types its values can be sent as. What else `sluice.target` lets a type go into is
#: written as text, for PostgreSQL to read.
SENT_AS: dict[TypeName, frozenset[str]] = {
    TypeName.TEXT: frozenset({"text", "varchar", "bpchar"}),
    TypeName.INTEGER: frozenset({"int2", "int4", "int8", "float8", "numeric"}),
    TypeName.BIGINT: frozenset({"int2", "int4", "int8", "numeric"}),
    TypeName.NUMERIC: frozenset({"numeric"}),
    TypeName.DOUBLE: frozenset({"float8"}),
    TypeName.BOOLEAN: frozenset({"bool"}),
    TypeName.DATE: frozenset({"date", "timestamp", "timestamptz"}),
    TypeName.TIMESTAMP: frozenset({"timestamp", "timestamptz"}),
    TypeName.UUID: frozenset({"uuid", "text", "varchar"}),
    TypeName.JSON: frozenset({"json", "jsonb", "text"}),
}

#: The most digits of Arrow's decimal128; wider ones are rare enough for text.
_MOST_DIGITS = 38

_SECOND = timedelta(seconds=1)
#: Both count days and microseconds, Arrow from 1970 and PostgreSQL from 2000.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_SECONDS = int(_EPOCH.timestamp())
_DAY_SECONDS = 86_400
#: Years 1 to 9999, which all casts keep to, in seconds from 2000. Far within what PostgreSQL takes for a number, and
#: not for infinity.
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _SECOND
_LAST = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH) // _SECOND

#: Where the 32 digits of a UUID stand in its 36 characters, and the hyphens.
_UUID_DIGITS = np.array([at for at in range(36) if at not in (8, 13, 18, 23)])
_UUID_HYPHENS = np.array([8, 13, 18, 23])
_NO_DIGIT = 255
_HEX = np.full(256, _NO_DIGIT, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    _HEX[np.frombuffer(_digits, np.uint8)] = np.arange(16)

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Cells:
    """The values of a column, ready to be sent. What stands where there is NULL means nothing.

    Attributes:
        width: how many bytes a value has, in every row or in each.
        fixed: what each value begins with: pairs of a numpy type and the numbers, one for every row or one for each.
        text: what it ends with.
    """

    width: int | Integers
    fixed: tuple[tuple[str, Any], ...] = ()
    text: pa.BinaryArray | None = None


def wire_types(columns: Iterable[tuple[ColumnType, str | None]]) -> tuple[str, ...] | None:
    """The types to send a table's columns as, or None: one of them cannot be, so the table is sent as text.

    Args:
        columns: of each column what its values are, and the name of its type in the table, None where that is not one
            of PostgreSQL's own (`TargetColumn.plain`).
    """
    types: list[str] = []
    for type_, there in columns:
        too_long = type_.name is TypeName.NUMERIC and (type_.precision is None or type_.precision > _MOST_DIGITS)
        if there not in SENT_AS[type_.name] or too_long:
            return None
        types.append(there)
    return tuple(types)


def cells_of(values: pa.Array, type_: str) -> Cells | None:
    """A column's values as a PostgreSQL type of `wire_types`, or None if one of them is not of that type."""
    return _CELLS[type_](values)


def _text(values: pa.Array) -> Cells:
    plain = values if pa.types.is_string(values.type) else values.cast(pa.string())
    return Cells(np.diff(offsets(plain)), text=plain.cast(pa.binary()))


def _jsonb(values: pa.Array) -> Cells:
    text = _text(values)
    return Cells(text.width + 1, (("u1", 1),), text.text)  # the version of the form: JSON text


def _integer(values: pa.Array, kind: str) -> Cells | None:
    numbers, limits = values.fill_null(0).to_numpy(), np.iinfo(kind)
    if len(numbers) and (numbers.min() < limits.min or numbers.max() > limits.max):
        return None
    return _number(kind, numbers)


def _number(kind: str, numbers: npt.NDArray[Any]) -> Cells:
    return Cells(np.dtype(kind).itemsize, ((kind, numbers),))


def _double(values: pa.Array) -> Cells:
    return _number(">f8", values.fill_null(0).to_numpy())


def _boolean(values: pa.Array) -> Cells:
    return _number("u1", values.fill_null(False).to_numpy(zero_copy_only=False))


def _date(values: pa.Array) -> Cells | None:
    days = values.view(pa.int32()).fill_null(0).to_numpy() - np.int32(_EPOCH_SECONDS // _DAY_SECONDS)
    within = _within(days, _FIRST // _DAY_SECONDS, _LAST // _DAY_SECONDS)
    return _number(">i4", days) if within else None


def _timestamp(values: pa.Array) -> Cells | None:
    zone = values.type.tz if pa.types.is_timestamp(values.type) else None  # a date: midnight
    numbers = values.cast(pa.timestamp("us", zone)).view(pa.int64()).fill_null(0).to_numpy()
    micros = numbers - _EPOCH_SECONDS * 1_000_000
    within = _within(micros, _FIRST * 1_000_000, (_LAST + 1) * 1_000_000 - 1)
    return _number(">i8", micros) if within else None


def _within(numbers: Integers, first: int, last: int) -> bool:
    return not len(numbers) or bool(numbers.min() >= first and numbers.max() <= last)


def _uuid(values: pa.Array) -> Cells | None:
    texts = values.drop_null()
    if not (np.diff(offsets(texts)) == 36).all():
        return None
    characters = data(texts).reshape(-1, 36)
    digits = _HEX[characters[:, _UUID_DIGITS]]
    if (digits == _NO_DIGIT).any() or (characters[:, _UUID_HYPHENS] != ord("-")).any():
        return None
    found = np.ascontiguousarray(digits[:, 0::2] << 4 | digits[:, 1::2]).view("V16").reshape(-1)
    if len(found) == len(values):
        return _number("V16", found)
    spread = np.zeros(len(values), "V16")
    spread[valid(values)] = found
    return _number("V16", spread)


def _numeric(values: pa.Array) -> Cells:
    """Digits to the base of 10,000, as many in every row as the longest number needs; PostgreSQL drops the others."""
    scale = values.type.scale if pa.types.is_decimal(values.type) else 0
    negative, limbs = _magnitudes(values)
    digits, weight = _base_10000(limbs, scale)
    sign = np.where(negative, 0x4000, 0)
    numbers = [len(digits), weight, sign, scale, *digits]
    return Cells(2 * len(numbers), tuple((">i2", number) for number in numbers))


def _magnitudes(values: pa.Array) -> tuple[npt.NDArray[np.bool_], list[npt.NDArray[np.uint64]]]:
    """Which numbers (of a decimal without its point) are negative; without their signs, as numbers to the base of
    2**32, the most significant first, which may be larger."""
    if not pa.types.is_decimal(values.type):
        whole = values.cast(pa.int64()).fill_null(0).to_numpy()
        negative = whole < 0
        return negative, [np.where(negative, -whole.view(np.uint64), whole.view(np.uint64))]
    buffer = values.buffers()[1]
    words = np.frombuffer(buffer, np.uint64).reshape(-1, 2)[values.offset : values.offset + len(values)]
    low, high = words[:, 0], words[:, 1]
    if values.null_count:
        there = valid(values)
        low, high = np.where(there, low, 0), np.where(there, high, 0)
    negative = high.view(np.int64) < 0
    if negative.any():
        borrow = low == 0
        low, high = np.where(negative, -low, low), np.where(negative, ~high + borrow, high)
    if not high.any():
        return negative, [low]
    return negative, [high, low >> np.uint64(32), low & np.uint64(0xFFFFFFFF)]


def _base_10000(limbs: list[npt.NDArray[np.uint64]], scale: int) -> tuple[list[npt.NDArray[np.uint64]], int]:
    """The digits to the base of 10,000, the most significant first, and the power of 10,000 of the first."""
    digits = []
    odd = scale % 4  # decimal digits behind the last whole digit
    if odd:
        limbs, rest = _divide(limbs, 10**odd)
        digits.append(rest * np.uint64(10 ** (4 - odd)))
    behind = -(-scale // 4)
    while len(digits) < behind or any(limb.any() for limb in limbs):
        limbs, rest = _divide(limbs, 10_000)
        digits.append(rest)
    return digits[::-1], len(digits) - behind - 1


def _divide(
    limbs: list[npt.NDArray[np.uint64]], by: int
) -> tuple[list[npt.NDArray[np.uint64]], npt.NDArray[np.uint64]]:
    quotients, divisor = [], np.uint64(by)
    rest = np.zeros_like(limbs[0])
    for limb in limbs:
        dividend = (rest << np.uint64(32)) | limb
        quotient = dividend // divisor
        rest = dividend - quotient * divisor
        quotients.append(quotient)
    return quotients, rest


_CELLS: dict[str, Callable[[pa.Array], Cells | None]] = {
    **dict.fromkeys(("text", "varchar", "bpchar", "json"), _text),
    "jsonb": _jsonb,
    "int2": partial(_integer, kind=">i2"),
    "int4": partial(_integer, kind=">i4"),
    "int8": partial(_integer, kind=">i8"),
    "float8": _double,
    "numeric": _numeric,
    "bool": _boolean,
    "date": _date,
    **dict.fromkeys(("timestamp", "timestamptz"), _timestamp),
    "uuid": _uuid,
}
