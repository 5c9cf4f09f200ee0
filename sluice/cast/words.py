"""Text to booleans, UUIDs and JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.cast.arrays import only, per_distinct, to_mask

_TRUE = ("true", "t", "yes", "y", "on", "1")
_FALSE = ("false", "f", "no", "n", "off", "0")

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_BARE_UUID = r"^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$"

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
#: A jsonb number is a numeric: this many digits before the point, and after it.
#: https://www.postgresql.org/docs/current/datatype-numeric.html
_JSON_WHOLE_DIGITS, _JSON_FRACTION_DIGITS = 131_072, 16_383
#: Deeper nesting is refused: PostgreSQL's own limit depends on its stack, and 6,000 levels exceed the default.
_JSON_DEPTH = 500


def to_boolean(values: pa.StringArray) -> pa.BooleanArray:
    """true/false, t/f, yes/no, y/n, on/off, 1/0, in any case."""
    # Made here and not at the top, where pyarrow would import pandas before anyone can say no (sluice.without_pandas).
    words, meanings = [*_TRUE, *_FALSE], [True] * len(_TRUE) + [False] * len(_FALSE)
    return pa.array(meanings).take(pc.index_in(pc.ascii_lower(values), value_set=pa.array(words)))


def to_uuid(values: pa.StringArray) -> pa.StringArray:
    """32 hexadecimal digits with the usual hyphens or none; the result is lower-case with hyphens."""
    lowered = pc.ascii_lower(values)
    usual = to_mask(pc.match_substring_regex(lowered, _UUID))
    if usual.sum() == len(values) - values.null_count:
        return lowered
    spaced = pc.replace_substring_regex(lowered, _BARE_UUID, r"\1-\2-\3-\4-\5")
    return only(spaced, to_mask(pc.match_substring_regex(spaced, _UUID)))


def to_json(values: pa.StringArray) -> pa.StringArray:
    """RFC 8259 text, unaltered, that jsonb takes: no NaN, no NUL and no half of a surrogate pair."""
    good = per_distinct(values, lambda text: True if _is_json(text) else None, pa.bool_())
    return values if good.null_count == values.null_count else only(values, to_mask(good))


def _is_json(text: str) -> bool:
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return _nesting_allowed(text) and ("\\u" not in text or _escapes_allowed(text))


def _nesting_allowed(text: str) -> bool:
    if text.count("[") + text.count("{") <= _JSON_DEPTH:
        return True
    depth = deepest = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', text, re.DOTALL):
        depth += (found[1] is not None) - (found[2] is not None)
        deepest = max(deepest, depth)
    return deepest <= _JSON_DEPTH


def _escapes_allowed(text: str) -> bool:
    """Whether every escape stands for a character PostgreSQL holds. `text` is known to be JSON."""
    high_until = -1
    for found in _ESCAPE.finditer(text):
        code = int(found[1], 16) if found[1] else None
        paired = high_until == found.start()
        low = code is not None and 0xDC00 <= code <= 0xDFFF
        if code == 0 or low != paired or (high_until >= 0 and not paired):
            return False
        high_until = found.end() if code is not None and 0xD800 <= code <= 0xDBFF else -1
    return high_until < 0


def _number(text: str) -> None:
    """Raises ValueError for a number jsonb cannot hold. Its value is not needed."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    power = int(exponent or 0) if len(exponent) < 10 else 10**9
    if len(whole) + power > _JSON_WHOLE_DIGITS or len(fraction) - power > _JSON_FRACTION_DIGITS:
        raise ValueError(text)


def _constant(text: str) -> Any:
    raise ValueError(text)


_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_constant)
