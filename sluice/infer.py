"""Column types from the whole file, for `--infer`.

A type is proposed only where every value of the file casts to it, and an identifier stays as it is: one misfit,
wherever it stands, a leading zero or a leading `+` make the column text. Blank values count as NULL, as casting
has it. What is known of a column only ever shrinks or widens, so the order of the chunks does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sluice.cast.arrays import Converter, combined, only, to_mask
from sluice.cast.numeric import MAX_PRECISION, to_bigint, to_double
from sluice.cast.temporal import to_date, to_timestamp
from sluice.cast.words import to_uuid
from sluice.model import ColumnType, TypeName

_INTEGER = "^(?:0|-?[1-9][0-9]*)$"
_DECIMAL = r"^-?(?:0|[1-9][0-9]*)?\.[0-9]+$"
_EXPONENT = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?[eE][+-]?[0-9]+$"
#: A double gives back any decimal number of this many digits (C's DBL_DIG).
_DOUBLE_DIGITS = 15
#: Words that mean true and false and nothing else. yes and no are believed together only: NO is also Norway.
_TRUE_FALSE, _YES_NO = frozenset({"true", "false"}), frozenset({"yes", "no"})

_FEW = 100

_CONVERTERS: dict[TypeName, Converter] = {
    TypeName.DATE: lambda values: to_date(values, None),
    TypeName.TIMESTAMP: lambda values: to_timestamp(values, None),
    # 32 digits without hyphens may as well be a checksum
    TypeName.UUID: lambda values: to_uuid(only(values, to_mask(pc.match_substring(values, "-")))),
}
#: `numeric` stands for every kind of number while values are still coming in.
_OPEN = frozenset({TypeName.NUMERIC, TypeName.BOOLEAN, *_CONVERTERS})


@dataclass(slots=True)
class _Evidence:
    """What is known of a column: the readings no value has ruled out, and the widest numbers so far.

    `whole` and `fraction` are the most digits before and after a point, `digits` the most in one value.
    """

    open: frozenset[TypeName] = _OPEN
    seen: bool = False
    fits_bigint: bool = True
    exponents: bool = False
    whole: int = 0
    fraction: int = 0
    digits: int = 0
    words: frozenset[str] = frozenset()

    def update(self, values: pa.StringArray) -> None:
        """Take in some values. The first few rule out most readings, so they go first."""
        self._narrow(_filled(values.slice(0, _FEW)))
        if self.open and len(values) > _FEW:
            self._narrow(_filled(values))

    def _narrow(self, values: pa.StringArray) -> None:
        if len(values) == 0:
            return
        self.seen = True
        ruled_out = {reading for reading in self.open & _CONVERTERS.keys() if _CONVERTERS[reading](values).null_count}
        if TypeName.BOOLEAN in self.open and not self._add_words(values):
            ruled_out.add(TypeName.BOOLEAN)
        if TypeName.NUMERIC in self.open and not self._add_numbers(values):
            ruled_out.add(TypeName.NUMERIC)
        self.open -= ruled_out

    def merge(self, other: _Evidence) -> None:
        self.open &= other.open
        self.seen |= other.seen
        self.fits_bigint &= other.fits_bigint
        self.exponents |= other.exponents
        self.whole = max(self.whole, other.whole)
        self.fraction = max(self.fraction, other.fraction)
        self.digits = max(self.digits, other.digits)
        self.words |= other.words

    def type(self) -> ColumnType:
        text = ColumnType(TypeName.TEXT)
        if not self.seen:
            return text
        for reading in _CONVERTERS:
            if reading in self.open:
                return ColumnType(reading)
        if TypeName.BOOLEAN in self.open and (self.words <= _TRUE_FALSE or self.words == _YES_NO):
            return ColumnType(TypeName.BOOLEAN)
        return self._number() or text if TypeName.NUMERIC in self.open else text

    def _number(self) -> ColumnType | None:
        if self.exponents:
            return ColumnType(TypeName.DOUBLE) if self.digits <= _DOUBLE_DIGITS else None
        if self.fits_bigint and not self.fraction:
            return ColumnType(TypeName.BIGINT)
        precision = max(self.whole + self.fraction, 1)
        return ColumnType(TypeName.NUMERIC, precision, self.fraction) if precision <= MAX_PRECISION else None

    def _add_words(self, values: pa.StringArray) -> bool:
        words = frozenset(pc.unique(pc.ascii_lower(values)).to_pylist())
        self.words |= words
        return words <= _TRUE_FALSE | _YES_NO

    def _add_numbers(self, values: pa.StringArray) -> bool:
        integer = to_mask(pc.match_substring_regex(values, _INTEGER))
        integers, others = values.filter(pa.array(integer)), values.filter(pa.array(~integer))
        decimal = to_mask(pc.match_substring_regex(others, _DECIMAL))
        decimals, others = others.filter(pa.array(decimal)), others.filter(pa.array(~decimal))
        if not pc.all(pc.match_substring_regex(others, _EXPONENT), min_count=0).as_py():
            return False
        self.fits_bigint = self.fits_bigint and not to_bigint(integers).null_count
        self._widen(integers)
        self._widen(decimals)
        if len(others):
            self.exponents = True
            self._widen(pc.replace_substring_regex(others, "[eE].*", ""))
            return not to_double(others).null_count
        return True

    def _widen(self, numbers: pa.StringArray) -> None:
        """`numbers` have no exponent."""
        if len(numbers) == 0:
            return
        bare = pc.replace_substring(numbers, "-", "")
        length = pc.binary_length(bare)
        point = pc.find_substring(bare, ".")
        whole = pc.if_else(pc.less(point, 0), length, point)
        fraction = pc.subtract(length, pc.min_element_wise(length, pc.add(whole, 1)))
        self.whole = max(self.whole, pc.max(whole).as_py())
        self.fraction = max(self.fraction, pc.max(fraction).as_py())
        self.digits = max(self.digits, pc.max(pc.add(whole, fraction)).as_py())


def _filled(values: pa.StringArray) -> pa.StringArray:
    """The values that are not NULL and not blank."""
    values = values.drop_null()
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(values)), 0)
    return values.filter(pc.invert(blank)) if pc.any(blank).as_py() else values


@dataclass(slots=True)
class Inference:
    """Grows with every chunk: `update` with its text, `merge` what another process has found, then `types`."""

    names: Sequence[str]
    _columns: list[_Evidence] = field(init=False)

    def __post_init__(self) -> None:
        self._columns = [_Evidence() for _ in self.names]

    def update(self, text: pa.Table) -> None:
        """Take in a chunk: pa.string() columns, in the order of `names` (which may repeat)."""
        for evidence, column in zip(self._columns, text.columns, strict=True):
            evidence.update(combined(column))

    def merge(self, other: Inference) -> None:
        """Take in what `other` found in other chunks of the same file."""
        for evidence, found in zip(self._columns, other._columns, strict=True):
            evidence.merge(found)

    def types(self) -> list[tuple[str, ColumnType]]:
        """Each column's name and type: bigint, numeric, double, boolean, date, timestamp, uuid or text."""
        return [(name, evidence.type()) for name, evidence in zip(self.names, self._columns, strict=True)]
