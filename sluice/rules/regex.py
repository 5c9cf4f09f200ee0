"""Python regular expressions as RE2, which Arrow runs at some 100 ns a value instead of Python's 600.

The pattern's parse tree (Python's own) is written out again node by node, so that `search` finds something in
exactly the same strings: `\\s`, `\\w` and `\\d` become the explicit ranges Python's `str` methods define, `$` also
matches before a final newline. What RE2 has no equal for (lookaround, back references, possessive repeats) or
what would only be equal for some data stays with `re`.

pandas, under stock Great Expectations, also tries RE2 first, but with the pattern as it stands; where the two read
that differently (`{,3}`, case folding beyond ASCII), the author's meaning is here always Python's.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Ranges = list[tuple[int, int]]
_LAST = sys.maxunicode
_ASCII_LAST = 0x7F


class BadPattern(ValueError):
    """Neither `re` nor RE2 can read the pattern, or the two would read it differently."""


class _Untranslatable(Exception):
    """RE2 has no equal for a node."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern ready to search with. `re2` is None where only `python` will do.

    `ascii_only` and `no_newline` limit `re2` to values that are ASCII, or hold no newline; the others
    are searched with `python`. `python` is None for syntax only RE2 knows (`\\p{L}`), which pandas, and
    so Great Expectations, hands to RE2 as it is.
    """

    source: str
    python: re.Pattern[str] | None
    re2: str | None
    ascii_only: bool = False
    no_newline: bool = False

    def search(self, values: pa.Array) -> pa.BooleanArray:
        """Whether each string of `values` (null stays null) holds a match."""
        if self.re2 is None:
            return self._search_python(values)
        found = pc.match_substring_regex(values, self.re2)
        unsure = self._unsure(values)
        if unsure is None or not pc.any(unsure, min_count=0).as_py():
            return found
        return pc.replace_with_mask(found, unsure, self._search_python(values.filter(unsure)))

    def _unsure(self, values: pa.Array) -> pa.BooleanArray | None:
        masks = []
        if self.ascii_only:
            masks.append(pc.invert(pc.string_is_ascii(values)))
        if self.no_newline:
            masks.append(pc.match_substring(values, "\n"))
        if not masks:
            return None
        return pc.fill_null(masks[0] if len(masks) == 1 else pc.or_(*masks), False)

    def _search_python(self, values: pa.Array) -> pa.BooleanArray:
        assert self.python is not None, "RE2 reads every pattern that re cannot"
        search = self.python.search
        return pa.array(
            [None if value is None else search(value) is not None for value in values.to_pylist()], pa.bool_()
        )


@lru_cache(maxsize=256)
def compile_pattern(source: str) -> Pattern:
    """Read a pattern as Python's `re` does.

    Raises:
        BadPattern: with the reason.
    """
    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always", FutureWarning)
            tree = _parser.parse(source)
            python = re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        if not _re2_accepts(source):
            raise BadPattern(str(error)) from None
        return Pattern(source, None, source)
    if doubts and "[:" in source:
        # Python reads [[:alpha:]] as a set of characters, RE2 as the letters. Its other doubts are no danger.
        raise BadPattern(f"{doubts[0].message}; write the characters out instead of [:...:]")
    try:
        writer = _Writer(tree.state.flags)
        re2 = writer.write(tree)
    except _Untranslatable:
        return Pattern(source, python, None)
    if not _re2_accepts(re2):  # too large, or a repeat above RE2's 1000
        return Pattern(source, python, None)
    return Pattern(source, python, re2, ascii_only=writer.ascii_only, no_newline=writer.no_newline)


def _re2_accepts(pattern: str) -> bool:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return False
    return True


class _Writer:
    """One walk over a parse tree; notes on the way what the result depends on."""

    def __init__(self, flags: int) -> None:
        if flags & ~(re.UNICODE | re.IGNORECASE | re.DOTALL | re.VERBOSE):
            raise _Untranslatable
        self.ignore_case = bool(flags & re.IGNORECASE)
        self.dot = "(?s:.)" if flags & re.DOTALL else r"[^\n]"
        self.ascii_only = self.ignore_case
        self.no_newline = False

    def write(self, tree: Sequence[tuple[Any, Any]]) -> str:
        text = self._sequence(tree, last=True)
        return f"(?i:{text})" if self.ignore_case else text

    def _sequence(self, nodes: Iterable[tuple[Any, Any]], *, last: bool) -> str:
        """`last`: nothing can follow the sequence, so its own end is the pattern's."""
        nodes = list(nodes)
        return "".join(self._node(*node, last=last and i == len(nodes) - 1) for i, node in enumerate(nodes))

    def _node(self, op: Any, argument: Any, *, last: bool) -> str:
        if op is c.LITERAL:
            return self._class([(argument, argument)], negate=False)
        if op is c.NOT_LITERAL:
            return self._class([(argument, argument)], negate=True)
        if op is c.ANY:
            return self.dot
        if op is c.IN:
            return self._set(argument)
        if op is c.AT:
            return self._position(argument, last=last)
        if op is c.BRANCH:
            return "(?:" + "|".join(self._sequence(branch, last=last) for branch in argument[1]) + ")"
        if op is c.SUBPATTERN:
            _, added, removed, nodes = argument
            if added or removed:
                raise _Untranslatable
            return f"(?:{self._sequence(nodes, last=last)})"
        if op in (c.MAX_REPEAT, c.MIN_REPEAT):
            least, most, nodes = argument
            bounds = f"{{{least},{'' if most is c.MAXREPEAT else most}}}"
            return f"(?:{self._sequence(nodes, last=False)}){bounds}"
        raise _Untranslatable

    def _position(self, where: Any, *, last: bool) -> str:
        if where in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
            return r"\A"
        if where is c.AT_END_STRING:
            return r"\z"
        if where is c.AT_END:
            if last:
                return r"\n?\z"
            self.no_newline = True
            return r"\z"
        if where is c.AT_BOUNDARY:  # not AT_NON_BOUNDARY, which Python finds in no empty text before 3.14
            self.ascii_only = True
            return r"\b"
        raise _Untranslatable

    def _set(self, items: Sequence[tuple[Any, Any]]) -> str:
        negate = bool(items) and items[0][0] is c.NEGATE
        ranges: Ranges = []
        for op, argument in items[1:] if negate else items:
            if op is c.LITERAL:
                ranges.append((argument, argument))
            elif op is c.RANGE:
                ranges.append(argument)
            elif op is c.CATEGORY:
                ranges.extend(_category(argument))
                continue
            else:
                raise _Untranslatable
            self._check_case(ranges[-1][1])
        return self._class(ranges, negate=negate)

    def _class(self, ranges: Ranges, *, negate: bool) -> str:
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
            self._check_case(ranges[0][1])
            if not negate:
                return f"\\x{{{ranges[0][0]:x}}}"
        inner = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges)
        return f"[{'^' if negate else ''}{inner}]"

    def _check_case(self, highest: int) -> None:
        """Python and RE2 fold ASCII letters alike when the data is ASCII; beyond that they differ."""
        if self.ignore_case and highest > _ASCII_LAST:
            raise _Untranslatable


@lru_cache(maxsize=8)
def _category(category: Any) -> tuple[tuple[int, int], ...]:
    """The characters of a class escape, as `re` itself finds them among all there are."""
    if category in _ESCAPES:
        every = np.arange(_LAST + 1, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
        return tuple((run.start(), run.end() - 1) for run in re.finditer(f"{_ESCAPES[category]}+", every))
    if category in _OPPOSITES:
        return tuple(_complement(_category(_OPPOSITES[category])))
    raise _Untranslatable


_ESCAPES = {c.CATEGORY_SPACE: r"\s", c.CATEGORY_DIGIT: r"\d", c.CATEGORY_WORD: r"\w"}
_OPPOSITES = {
    c.CATEGORY_NOT_SPACE: c.CATEGORY_SPACE,
    c.CATEGORY_NOT_DIGIT: c.CATEGORY_DIGIT,
    c.CATEGORY_NOT_WORD: c.CATEGORY_WORD,
}


def _complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    result: Ranges = []
    start = 0
    for low, high in ranges:
        if low > start:
            result.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        result.append((start, _LAST))
    return result
