"""Text to integers, exact decimals and doubles.

Arrow's own casts do the work; this module keeps from them what they read too generously (hexadecimal, `nan`,
`inf`, overflow to infinity) and gives them what they refuse for no good reason (a leading `+`).
"""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation, localcontext
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.cast.arrays import has_any_byte, only, patch, per_distinct, to_mask, valid

#: The most digits Arrow's widest decimal holds.
MAX_PRECISION = 76
#: Every number of up to this many digits fits 64 bits.
_SAFE_DIGITS = 18
_INT64 = range(-(2**63), 2**63)
_INT32 = (-(2**31), 2**31 - 1)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?", re.ASCII)
_DOUBLE = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def to_bigint(values: pa.StringArray) -> pa.Int64Array:
    """`[+-]?[0-9]+` within 64 bits."""
    if not has_any_byte(values, b"x"):  # Arrow reads 0x1F as 31
        with suppress(pa.ArrowInvalid):
            return values.cast(pa.int64())
    short = pc.less_equal(pc.binary_length(values), _SAFE_DIGITS)
    easy = to_mask(pc.and_(pc.ascii_is_decimal(values), short))
    result = only(values, easy).cast(pa.int64())
    rest = valid(values) & ~easy
    return patch(result, rest, _signed_or_long(values.filter(pa.array(rest)))) if rest.any() else result


def _signed_or_long(values: pa.StringArray) -> pa.Int64Array:
    bare = pc.replace_substring_regex(values, r"^\+?(-?)0*([0-9]+)$", r"\1\2", max_replacements=1)
    # "+-1" loses its plus above; the original decides.
    integer = pc.match_substring_regex(values, r"^[+-]?[0-9]+$")
    short = pc.match_substring_regex(bare, rf"^-?[0-9]{{1,{_SAFE_DIGITS}}}$")
    easy = to_mask(pc.and_(integer, short))
    result = only(bare, easy).cast(pa.int64())
    long = to_mask(pc.and_(integer, pc.match_substring_regex(bare, r"^-?[0-9]{19}$")))
    if not long.any():
        return result
    numbers = [int(text) for text in bare.filter(pa.array(long)).to_pylist()]
    return patch(result, long, pa.array([n if n in _INT64 else None for n in numbers], pa.int64()))


def to_integer(values: pa.StringArray) -> pa.Int32Array:
    """`[+-]?[0-9]+` within 32 bits."""
    wide = to_bigint(values)
    ends = pc.min_max(wide)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is not None and (low < _INT32[0] or high > _INT32[1]):
        fits = pc.and_(pc.greater_equal(wide, _INT32[0]), pc.less_equal(wide, _INT32[1]))
        wide = only(wide, to_mask(fits))
    return wide.cast(pa.int32())


def decimal_type(precision: int, scale: int) -> pa.DataType:
    """The narrower of Arrow's two decimals that holds numeric(precision, scale)."""
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def to_numeric(values: pa.StringArray, precision: int, scale: int) -> pa.Array:
    """A decimal number that numeric(precision, scale) holds without rounding; an exponent may follow."""
    type_ = decimal_type(precision, scale)
    # Arrow 26 overflows without an error where digits, exponent and scale exceed its integers: 0.11E30 becomes
    # 7915289923718460960987617770.4695365632 in decimal128(38, 10). Texts too short for that go to it as they are.
    lengths = pc.binary_length(values)
    room = (38 if precision <= 38 else MAX_PRECISION) - scale
    if (pc.max(lengths).as_py() or 0) <= room and not has_any_byte(values, b"e"):
        with suppress(pa.ArrowInvalid):
            return values.cast(type_)
    # What this pattern finds always casts; whatever else may still be a number is read one by one.
    whole = f"0*[0-9]{{1,{precision - scale}}}" if precision > scale else "0+"
    point = rf"(\.[0-9]{{0,{scale}}})?" if scale else ""
    short = pc.less_equal(lengths, MAX_PRECISION)
    easy = to_mask(pc.and_(short, pc.match_substring_regex(values, f"^[+-]?{whole}{point}$")))
    result = only(values, easy).cast(type_)
    rest = valid(values) & ~easy
    convert = partial(_exact_decimal, precision=precision, scale=scale)
    return patch(result, rest, per_distinct(values.filter(pa.array(rest)), convert, type_)) if rest.any() else result


def _exact_decimal(text: str, precision: int, scale: int) -> Decimal | None:
    if not _DECIMAL.fullmatch(text):
        return None
    number = Decimal(text)
    if number and number.adjusted() >= precision - scale:
        return None
    with localcontext() as context:
        context.prec = MAX_PRECISION + 1
        context.Emin, context.Emax = -(10**9), 10**9
        try:
            fitted = number.quantize(Decimal(1).scaleb(-scale))
        except InvalidOperation:
            return None
    return fitted if fitted == number else None


def to_double(values: pa.StringArray) -> pa.DoubleArray:
    """A finite number; one too large or too small for a double does not cast, as PostgreSQL has it."""
    result = None
    if not has_any_byte(values, b"nix"):  # nan, inf, infinity, hexadecimal
        with suppress(pa.ArrowInvalid):
            result = values.cast(pa.float64())
    if result is None:
        values = only(values, to_mask(pc.match_substring_regex(values, _DOUBLE)))
        result = values.cast(pa.float64())
    suspects = valid(result)
    numbers = result.to_numpy(zero_copy_only=False)
    infinite = suspects & ~np.isfinite(numbers)
    vanished = suspects & (numbers == 0)
    if vanished.any():
        vanished &= to_mask(pc.match_substring_regex(only(values, vanished), r"^[^eE]*[1-9]"))
    wrong = infinite | vanished
    return pc.if_else(pa.array(wrong), pa.scalar(None, pa.float64()), result) if wrong.any() else result
