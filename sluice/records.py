"""Where records begin and end: the strict grammar of a CSV text, applied to millions of bytes at once.

The grammar (RFC 4180, made strict):

* A physical line ends with LF, CRLF or a lone CR, in any mixture.
* A field is quoted when its first byte is the quote; it may then hold delimiters, line ends and doubled quotes
  (or, where the dialect names an escape, escaped ones), and after its closing quote only a delimiter, a line end
  or the end of the text may follow. A quote inside an unquoted field is an error, or text in a dialect that says so.
* A record that breaks this, is longer than `RECORD_LIMIT`, or is still open (a quote, an escaped line end) at the
  end of the text costs one physical line: the one it starts on is bad, and reading resumes at the next line.

The last rule makes the answer independent of where a text is cut, as long as every cut is a record's start.

Method: the positions of all quotes and line ends come from numpy. If the grammar holds, quotes alternate between
opening and closing from a record's start, so each quote's role is its parity, and each role can be checked by the
one byte beside it. The first quote that fails is where the grammar broke; after resuming, roles are again parities,
counted from another quote. Both alternations are checked beforehand, so an error costs a few binary searches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sluice.model import Dialect, StrayQuotes

#: Longest record in bytes. Far above any honest record (a field of a few MB passes), low enough that a runaway
#: quote is noticed before a chunk's worth of neighbours has been read as its text.
RECORD_LIMIT = 8 * 1024 * 1024

Positions: TypeAlias = npt.NDArray[np.int64]

#: Bytes looked through at once for a character. What numpy notes of them stays in the processor's cache, and is small
#: enough for malloc to hand it out again: of a whole chunk it would be new memory from the kernel every time.
_BLOCK = 512 * 1024

_LF, _CR = 0x0A, 0x0D


@dataclass(frozen=True, slots=True)
class Scan:
    """The records of a buffer that begins at a record's start.

    Attributes:
        starts, ends: byte positions of each record, line end excluded; blank lines are empty records.
        first_lines: 0-based physical line each record starts on, counted from the buffer's first.
        bad: record index -> code, for records that are one bad physical line.
        irregular: indices of good records that a plain CSV reader would misread (text quotes, escapes).
        consumed: bytes decided. What follows is the beginning of a record whose end is not in the buffer.
        lines: physical lines in the consumed bytes.
        open_end: the last bad record was found open at the buffer's end, not broken by a byte in it.
        overlong: start of a JSON element that is longer than the limit and does not end in the buffer.
    """

    starts: Positions
    ends: Positions
    first_lines: Positions
    bad: dict[int, str]
    irregular: list[int]
    consumed: int
    lines: int
    open_end: frozenset[int]
    overlong: int | None = None


def scan(buffer: bytes, dialect: Dialect, *, final: bool, limit: int = RECORD_LIMIT) -> Scan:
    """Cut a buffer into records.

    Args:
        buffer: UTF-8 text (validity is not checked here) whose first byte starts a record.
        final: the text ends with the buffer. Otherwise the last, perhaps incomplete record is left undecided,
            unless it is already longer than `limit`.
        limit: bytes a record may have.
    """
    return _Scanner(buffer, dialect, final, limit).run()


@dataclass(frozen=True, slots=True)
class _Lines:
    """Physical lines: `ends[i]` is the first byte of line i's end mark, `nexts[i]` the byte after it."""

    ends: Positions
    nexts: Positions


def _find(data: npt.NDArray[np.uint8], byte: int) -> Positions:
    found = [start + np.flatnonzero(data[start : start + _BLOCK] == byte) for start in range(0, len(data), _BLOCK)]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def physical_lines(buffer: bytes, *, final: bool) -> _Lines:
    """Positions of the line ends. A CR that is the last byte counts only in a final buffer (LF may follow)."""
    data = np.frombuffer(buffer, np.uint8)
    newlines = _find(data, _LF)
    if b"\r" not in buffer:
        ends, nexts = newlines, newlines + 1
    else:
        returns = _find(data, _CR)
        if len(returns) and returns[-1] == len(buffer) - 1 and not final:
            returns = returns[:-1]
        followed = np.zeros(len(returns), bool)
        inner = returns < len(buffer) - 1
        followed[inner] = data[returns[inner] + 1] == _LF
        preceded = np.zeros(len(newlines), bool)
        later = newlines > 0
        preceded[later] = data[newlines[later] - 1] == _CR
        lone = returns[~followed]
        ends = np.concatenate([newlines - preceded, lone])
        nexts = np.concatenate([newlines + 1, lone + 1])
        if len(lone):
            order = np.argsort(nexts, kind="stable")
            ends, nexts = ends[order], nexts[order]
    if final and len(buffer) > (nexts[-1] if len(nexts) else 0):
        ends = np.append(ends, len(buffer))
        nexts = np.append(nexts, len(buffer))
    return _Lines(ends.astype(np.int64, copy=False), nexts.astype(np.int64, copy=False))


def escaped(data: npt.NDArray[np.uint8], positions: Positions, escape: int) -> npt.NDArray[np.bool_]:
    """Which positions have an odd run of escape bytes before them."""
    odd = np.zeros(len(positions), bool)
    open_ = np.flatnonzero(positions > 0)
    back = 1
    while len(open_):
        at = positions[open_] - back
        open_ = open_[(at >= 0) & (data[np.maximum(at, 0)] == escape)]
        odd[open_] ^= True
        back += 1
    return odd


class _Scanner:
    """The walk over one buffer. State: the current record's start, and from which quote roles are counted."""

    def __init__(self, buffer: bytes, dialect: Dialect, final: bool, limit: int) -> None:
        self.size, self.final, self.limit = len(buffer), final, limit
        self.literal = dialect.stray_quotes is StrayQuotes.LITERAL
        self.lines = physical_lines(buffer, final=final)
        self.pending_return = 1 if buffer.endswith(b"\r") and not final else 0  # perhaps the first half of CRLF
        data = np.frombuffer(buffer, np.uint8)
        self.quotes = np.empty(0, np.int64)
        if dialect.quote is not None and dialect.quote.encode() in buffer:
            self.quotes = _find(data, ord(dialect.quote))
        self.unescaped_end = np.ones(len(self.lines.ends), bool)
        self.escapes = np.empty(0, np.int64)
        if dialect.escape is not None and dialect.escape.encode() in buffer:
            escape = ord(dialect.escape)
            self.escapes = _find(data, escape)
            self.quotes = self.quotes[~escaped(data, self.quotes, escape)]
            self.unescaped_end = ~escaped(data, self.lines.ends, escape)
        self._check_roles(data, dialect)
        #: Quotes before each line's end: its parity, counted from the first quote, tells inside from outside.
        self.quotes_before = np.searchsorted(self.quotes, self.lines.ends)
        self.is_end = np.zeros(len(self.lines.ends), bool)
        self.bad: dict[int, str] = {}
        self.open_end: set[int] = set()
        self.text_quotes: list[int] = []

    def _check_roles(self, data: npt.NDArray[np.uint8], dialect: Dialect) -> None:
        """For both alternations, the quotes whose role does not fit the byte beside them."""
        quotes, size, delimiter = self.quotes, self.size, ord(dialect.delimiter)
        before = data[np.maximum(quotes - 1, 0)] if size else data
        after = data[np.minimum(quotes + 1, size - 1)] if size else data

        boundary = np.zeros(256, bool)
        boundary[[delimiter, _LF, _CR]] = True
        self.opens = boundary[before] | (quotes == 0)
        closes = boundary[after] | (quotes == size - 1)
        follows = np.zeros(len(quotes), bool)
        if dialect.escape is None:
            follows[1:] = quotes[1:] == quotes[:-1] + 1
        elif len(self.escapes):
            crlf = (before == _LF) & (data[np.maximum(quotes - 2, 0)] == _CR) & (quotes > 1)
            self.opens &= ~escaped(data, quotes - 1 - crlf, ord(dialect.escape))
        may_open = self.opens | follows
        may_close = closes.copy()
        may_close[:-1] |= follows[1:]
        even = np.arange(len(quotes)) % 2 == 0
        self.wrong = (
            np.flatnonzero(np.where(even, ~may_open, ~may_close)),
            np.flatnonzero(np.where(even, ~may_close, ~may_open)),
        )

    def run(self) -> Scan:
        start, quote, floor = 0, 0, -1  # record start; first quote of the alternation; where the alternation began
        while True:
            wrong = self._next_wrong(quote, start)
            stop = int(self.quotes[wrong]) if wrong is not None else self.size
            overlong = self._mark_ends(start, quote, floor, stop)
            if overlong is not None:
                record, code = overlong, "csv.too_long"
            elif wrong is not None:
                record = self._record_start(start, floor, stop)
                if self.literal and (wrong - quote) % 2 == 0 and stop - record <= self.limit:
                    quote, floor = self._skip_text_quotes(wrong), stop
                    start = record
                    continue
                code = "csv.too_long" if stop - record > self.limit else "csv.stray_quote"
            else:
                record = self._record_start(start, floor, self.size + 1)
                if record >= self.size:
                    return self._result(self.size)
                if self.size - self.pending_return - record > self.limit:
                    code = "csv.too_long"
                elif self.final:
                    code = "csv.unclosed_quote"
                else:
                    return self._result(record)
            line = int(np.searchsorted(self.lines.nexts, record, side="right"))
            if line >= len(self.lines.ends):
                return self._result(record)  # the line's own end is not in the buffer
            if self.lines.ends[line] - record > self.limit:
                code = "csv.too_long"  # whatever else is wrong with it: a line this long may never be looked into
            self._mark_bad(line, code, open_=wrong is None and overlong is None)
            start = int(self.lines.nexts[line])
            if start == self.size:
                return self._result(self.size)
            quote = int(np.searchsorted(self.quotes, start))
            floor = start - 1

    def _next_wrong(self, quote: int, start: int) -> int | None:
        candidates = self.wrong[quote % 2]
        at = int(np.searchsorted(candidates, quote))
        if at < len(candidates) and candidates[at] == quote and self.quotes[quote] == start:
            at += 1  # a record's first byte may open a field whatever precedes it, an escaped line end included
        return int(candidates[at]) if at < len(candidates) else None

    def _skip_text_quotes(self, wrong: int) -> int:
        """The first quote after a text quote that can open a field; those between are text too."""
        self.text_quotes.append(wrong)
        quote = wrong + 1
        while quote < len(self.quotes) and not self.opens[quote] and self.quotes[quote] == self.quotes[quote - 1] + 1:
            self.text_quotes.append(quote)
            quote += 1
        return quote

    def _mark_ends(self, start: int, quote: int, floor: int, stop: int) -> int | None:
        """Mark the record ends after `floor` and before `stop`; the start of the first overlong record, if any."""
        low = int(np.searchsorted(self.lines.ends, floor, side="right"))
        high = int(np.searchsorted(self.lines.ends, stop, side="right" if stop == self.size else "left"))
        here = slice(low, high)
        outside = ((self.quotes_before[here] - quote) % 2 == 0) & self.unescaped_end[here]
        self.is_end[here] = outside
        ended = np.flatnonzero(outside) + low
        if not len(ended):
            return None
        begins = np.concatenate([[start], self.lines.nexts[ended[:-1]]])
        too_long = np.flatnonzero(self.lines.ends[ended] - begins > self.limit)
        if not len(too_long):
            return None
        first = int(begins[too_long[0]])
        self.is_end[ended[too_long[0]] : high] = False
        return first

    def _record_start(self, start: int, floor: int, position: int) -> int:
        """Start of the record that holds `position`: after the last record end between `floor` and it."""
        high = int(np.searchsorted(self.lines.nexts, position, side="right"))
        low = int(np.searchsorted(self.lines.ends, floor, side="right"))
        ended = np.flatnonzero(self.is_end[low:high])
        return int(self.lines.nexts[low + ended[-1]]) if len(ended) else start

    def _mark_bad(self, line: int, code: str, *, open_: bool) -> None:
        self.is_end[line] = True
        self.is_end[line + 1 :] = False
        self.bad[line] = code
        if open_:
            self.open_end.add(line)

    def _result(self, consumed: int) -> Scan:
        last_lines = np.flatnonzero(self.is_end)
        last_lines = last_lines[self.lines.nexts[last_lines] <= consumed]
        first_lines = np.zeros(len(last_lines), np.int64)
        first_lines[1:] = last_lines[:-1] + 1
        starts = np.zeros(len(last_lines), np.int64)
        starts[1:] = self.lines.nexts[last_lines[:-1]]
        lines = np.array(list(self.bad), np.int64)
        index = dict(zip(self.bad, np.searchsorted(last_lines, lines).tolist(), strict=True))
        marks = np.concatenate([self.quotes[np.array(self.text_quotes, np.int64)], self.escapes])
        irregular = np.unique(np.searchsorted(starts, marks[marks < consumed], side="right") - 1)
        bad = {index[line]: code for line, code in self.bad.items()}
        return Scan(
            starts=starts,
            ends=self.lines.ends[last_lines],
            first_lines=first_lines,
            bad=bad,
            irregular=[int(i) for i in irregular if int(i) not in bad],
            consumed=consumed,
            lines=int(last_lines[-1]) + 1 if len(last_lines) else 0,
            open_end=frozenset(index[line] for line in self.open_end),
        )
