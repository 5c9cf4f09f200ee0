"""Text to dates and timestamps, exactly as `datetime.strptime` reads them.

Formats of fixed-width numbers (`%d/%m/%Y %H:%M`) are read a byte column at a time; what such a reading does not
take, and every other format, goes through `strptime` itself, once a distinct value. A fixed-width reading is
always the one `strptime` prefers, because its patterns try two digits before one. Arrow's own strptime is no
help: it takes 2021-02-30 for a date.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice.cast.arrays import BoolArray, data, offsets, per_distinct, valid

_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "y": 2}
_PROBE = datetime(2021, 11, 23, 14, 5, 6, 789, UTC)
_EPOCH = datetime(1970, 1, 1)
_DAY = 86_400_000_000
#: Years 1 to 9999, what Python's and PostgreSQL's dates share, in microseconds from 1970.
_FIRST = (datetime(1, 1, 1) - _EPOCH) // timedelta(microseconds=1)
_LAST = (datetime(9999, 12, 31, 23, 59, 59, 999999) - _EPOCH) // timedelta(microseconds=1)
#: What strptime has read is remembered, so many texts of at most so many characters: 20 MB at the most.
_REMEMBERED, _MEMORABLE = 2**16, 40


@dataclass(frozen=True, slots=True)
class _Part:
    """A number of `width` digits (`field`, a strptime letter), or one byte out of `literal`."""

    width: int
    field: str = ""
    literal: bytes = b""


_Layout = tuple[_Part, ...]


def _literals(text: str) -> list[_Part]:
    return [_Part(1, literal=bytes([byte])) for byte in text.encode()]


def _iso_layouts() -> list[_Layout]:
    def digits(format: str) -> _Layout:
        return next(iter(_layouts(format)))

    separator = _Part(1, literal=b" T")
    date = digits("%Y-%m-%d")
    times = [digits("%H:%M"), digits("%H:%M:%S")]
    times += [(*digits("%H:%M:%S"), *_literals("."), _Part(width, "f")) for width in range(1, 7)]
    return [(*date, separator, *time) for time in times]


@lru_cache(maxsize=256)
def _layouts(format: str) -> tuple[_Layout, ...]:
    """The fixed-width readings of a format; none where it holds anything but numbers of a known width."""
    tokens = re.findall(r"%.|[^%]+|%", format, re.DOTALL)
    choices: list[list[list[_Part]]] = []
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if not token.startswith("%"):
            choices.append([_literals(token)])
        elif token == "%%":
            choices.append([_literals("%")])
        elif token[1:] in _WIDTHS:
            choices.append([[_Part(_WIDTHS[token[1:]], token[1:])]])
        elif token == "%f" and (following in ("", "%z") or not (following[0].isdigit() or following[0] == "%")):
            choices.append([[_Part(width, "f")] for width in range(1, 7)])
        elif token == "%z" and not following:
            offset = [_Part(1, literal=b"+-"), _Part(2, "zh")]
            choices.append([_literals("Z"), [*offset, _Part(2, "zm")], [*offset, *_literals(":"), _Part(2, "zm")]])
        else:
            return ()
    return tuple(tuple(part for parts in chosen for part in parts) for chosen in product(*choices))


def to_date(values: pa.StringArray, format: str | None) -> pa.Date32Array:
    """A day of the years 1 to 9999: strict `YYYY-MM-DD` without a format, else as strptime reads it.

    A format with a time of day takes midnight only: a date could not keep the rest.
    """
    if format in (None, "%Y-%m-%d"):
        try:
            days = values.cast(pa.date32())
        except pa.ArrowInvalid:
            pass
        else:
            first = pc.min(days.view(pa.int32())).as_py()
            if first is None or first >= _FIRST // _DAY:
                return days
    encoded = values.dictionary_encode()  # many rows, few days
    distinct = encoded.dictionary
    micros, good = _read(distinct, _layouts(format or "%Y-%m-%d"))
    if format is not None:
        micros, good = _with_strptime(distinct, format, micros, good)
    good &= micros % _DAY == 0
    days = pa.array((micros // _DAY).astype(np.int32), mask=~good).view(pa.date32())
    return days.take(encoded.indices)


def to_timestamp(values: pa.StringArray, format: str | None) -> pa.TimestampArray:
    """A moment of the years 1 to 9999, in microseconds; in UTC where the format holds %z.

    Without a format: `YYYY-MM-DD HH:MM[:SS[.ffffff]]`, a blank or a `T` between.
    """
    if format is None:
        micros, good = _read(values, _ISO_TIMESTAMPS)
    else:
        micros, good = _with_strptime(values, format, *_read(values, _layouts(format)))
    good &= (micros >= _FIRST) & (micros <= _LAST)
    zone = "UTC" if has_zone(format) else None
    return pa.array(micros, mask=~good).view(pa.timestamp("us", zone))


def has_zone(format: str | None) -> bool:
    """Whether the format reads an offset from UTC, which makes the column a timestamptz."""
    return format is not None and "%z" in re.findall(r"%.", format)


def format_problem(format: str, *, is_date: bool) -> str | None:
    """Why a column cannot have this strptime format, or None.

    It must hold a whole date, so that text and value say the same.
    """
    fields = set(re.findall(r"%(.)", format))
    if "Z" in fields:
        return "%Z reads the names of few time zones, and drops them; use %z"
    if is_date and "z" in fields:
        return "a date has no offset from UTC; use timestamp, or leave %z out"
    if "I" in fields and "p" not in fields:
        return "%I needs %p: 02 may be two in the morning or in the afternoon"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.13 warns of formats without a year, which are refused below
        try:
            back = datetime.strptime(_PROBE.strftime(format), format)
        except (ValueError, re.error) as error:
            return f"{format!r} is no strptime format: {error}"
    return None if back.date() == _PROBE.date() else f"{format!r} does not hold year, month and day"


def _with_strptime(
    values: pa.StringArray, format: str, micros: npt.NDArray[np.int64], good: BoolArray
) -> tuple[npt.NDArray[np.int64], BoolArray]:
    rest = valid(values) & ~good
    if not rest.any():
        return micros, good

    def read(text: str) -> int | None:
        return (_remembered_strptime if len(text) <= _MEMORABLE else _strptime)(text, format)

    found = per_distinct(values.filter(pa.array(rest)), read, pa.int64())
    micros[rest] = found.fill_null(0).to_numpy()
    good[rest] = valid(found)
    return micros, good


def _strptime(text: str, format: str) -> int | None:
    try:
        moment = datetime.strptime(text, format)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1)


_remembered_strptime = lru_cache(maxsize=_REMEMBERED)(_strptime)


def _read(values: pa.StringArray, layouts: tuple[_Layout, ...]) -> tuple[npt.NDArray[np.int64], BoolArray]:
    """Microseconds from 1970 of the values that one of the layouts reads, and which those are."""
    ends = offsets(values)
    lengths, there = np.diff(ends), valid(values)
    micros, good = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=bool)
    for layout in layouts:
        width = sum(part.width for part in layout)
        rows = there & (lengths == width) & ~good
        if not rows.any():
            continue
        if rows.all():
            micros, good = _read_matrix(data(values).reshape(-1, width), layout)
            break
        found, fine = _read_matrix(data(values.filter(pa.array(rows))).reshape(-1, width), layout)
        micros[rows], good[rows] = found, fine
    return micros, good


def _read_matrix(matrix: npt.NDArray[np.uint8], layout: _Layout) -> tuple[npt.NDArray[np.int64], BoolArray]:
    """One value a row, one byte a column."""
    good = np.ones(len(matrix), dtype=bool)
    field: dict[str, npt.NDArray[np.int64]] = {}
    sign: npt.NDArray[np.int64] = np.ones(len(matrix), dtype=np.int64)
    for part, start in _positions(layout):
        if part.literal:
            column = matrix[:, start]
            good &= np.logical_or.reduce([column == byte for byte in part.literal])
            if part.literal == b"+-":
                sign = np.where(column == ord("-"), -1, 1)
            continue
        number = np.zeros(len(matrix), dtype=np.int64)
        for column in matrix.T[start : start + part.width]:
            digit = column - np.uint8(ord("0"))  # anything else wraps around to more than 9
            good &= digit <= 9
            number = number * 10 + digit
        field[part.field] = number * 10 ** (6 - part.width) if part.field == "f" else number
    return _assemble(field, sign, good)


def _positions(layout: _Layout) -> Iterator[tuple[_Part, int]]:
    start = 0
    for part in layout:
        yield part, start
        start += part.width


def _assemble(
    field: dict[str, npt.NDArray[np.int64]], sign: npt.NDArray[np.int64], good: BoolArray
) -> tuple[npt.NDArray[np.int64], BoolArray]:
    zero = np.zeros(len(good), dtype=np.int64)
    short = field.get("y", zero)  # POSIX: 69 to 99 are 1969 to 1999
    year = field.get("Y", short + np.where((short > 68) | ("y" not in field), 1900, 2000))
    month, day = field.get("m", zero + 1), field.get("d", zero + 1)
    limits = {"H": 23, "M": 59, "S": 59, "zh": 23, "zm": 59}
    for name, limit in limits.items():
        if name in field:
            good &= field[name] <= limit
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    good &= day <= (months + 1).astype("datetime64[D]").astype(np.int64) - first
    seconds = field.get("H", zero) * 3600 + field.get("M", zero) * 60 + field.get("S", zero)
    seconds -= sign * (field.get("zh", zero) * 3600 + field.get("zm", zero) * 60)
    return (first + day - 1) * _DAY + seconds * 1_000_000 + field.get("f", zero), good


_ISO_TIMESTAMPS = tuple(_iso_layouts())
