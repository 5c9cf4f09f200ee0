"""Where the elements of a JSON array begin and end, applied to millions of bytes at once.

* Elements are separated by commas outside strings at the depth of the array; nothing between two commas is nothing.
  No string goes on behind a line's end (RFC 8259), so whether a byte is inside one is decided line by line.
* An element that is damaged so that its brackets do not tell its end (none within `limit` bytes, or what stands up to
  there is no JSON and has the look of several elements) ends where the next line begins an element: a line whose
  first bytes are at most `Dialect.indent` blanks, perhaps the end of the element before and a comma, and `{`.
  That indent is the first element's, so that an object nested in a damaged element is not taken for one.
* Where no such line comes within `limit` bytes, all up to the next one, or to the end of the text, is one record,
  too long to be looked into.
* An element is numbered with the physical line it starts on. Of several that start on one line, each after the
  first counts as a line of its own: otherwise an array written on one line would have one number for all.

An element's end depends on the `limit` bytes behind its start alone, which makes the answer independent of where a
text is cut, as long as every cut is an element's start or a line's.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sluice.json_values import is_json
from sluice.model import Dialect
from sluice.records import Positions, Scan, escaped, physical_lines

_BLANKS = re.compile(rb"[ \t\r\n]*")
_OPEN, _CLOSE, _COMMA = 1, 2, 3
_KINDS = np.zeros(256, np.uint8)
_KINDS[list(b"{[")], _KINDS[list(b"}]")], _KINDS[ord(",")] = _OPEN, _CLOSE, _COMMA

#: More bytes than `heads` can match behind the indent.
_HEAD_BYTES = 32


@lru_cache(maxsize=8)
def heads(indent: int) -> re.Pattern[bytes]:
    """Finds line ends with the beginning of an element behind them; the match ends before its `{`."""
    return re.compile(rb"[\r\n][ \t]{0,%d}(?:[}\]]{0,8}[ \t]{0,8},[ \t]{0,8})?(?=\{)" % indent)


def scan_array(buffer: bytes, dialect: Dialect, *, final: bool, limit: int) -> Scan:
    """Cut a buffer that begins between two elements (or before the first) into elements, blanks around them left out.

    `first_lines` and `lines` count as the module says; `overlong` is where an element that is too long starts.
    See `sluice.records.scan`.
    """
    return _ArrayScanner(buffer, dialect, final, limit).run()


def after_overlong(buffer: bytes, dialect: Dialect, *, final: bool) -> tuple[int, int, bool]:
    """How many bytes and line ends of the buffer belong to an overlong element, and whether it ends there."""
    found = heads(dialect.indent).search(buffer) if dialect.indent is not None else None
    if found is not None:
        end = found.end()
    else:
        end = len(buffer) if final else max(0, len(buffer) - (dialect.indent or 0) - _HEAD_BYTES)
        if end and not final and buffer[end - 1] == 0x0D:
            end -= 1  # the first half of a CRLF, perhaps
    passed = bytes(buffer[:end])
    return end, passed.count(b"\n") + passed.count(b"\r") - passed.count(b"\r\n"), found is not None


class _ArrayScanner:
    """The walk over one buffer, from one terminator to the next."""

    def __init__(self, buffer: bytes, dialect: Dialect, final: bool, limit: int) -> None:
        self.buffer, self.size, self.final, self.limit = buffer, len(buffer), final, limit
        self.heads = heads(dialect.indent) if dialect.indent is not None else None
        self.lines = physical_lines(buffer, final=final)
        self._find_terminators(np.frombuffer(buffer, np.uint8))
        self.starts: list[int] = []
        self.ends: list[int] = []

    def _find_terminators(self, data: npt.NDArray[np.uint8]) -> None:
        """Commas and closing brackets outside strings, each under the depth of the elements it may end."""
        quotes = np.flatnonzero(data == ord('"'))
        if b"\\" in self.buffer:
            quotes = quotes[~escaped(data, quotes, ord("\\"))]
        kinds = _KINDS[data]
        at = np.flatnonzero(kinds)
        line_starts = np.concatenate([[0], self.lines.nexts])
        before_line = np.searchsorted(quotes, line_starts)[np.searchsorted(self.lines.nexts, at, side="right")]
        at = at[(np.searchsorted(quotes, at) - before_line) % 2 == 0]
        kinds = kinds[at]
        self.marks = at
        self.depths = np.cumsum((kinds == _OPEN).astype(np.int64) - (kinds == _CLOSE))
        ending = kinds != _OPEN
        self.ending = at[ending]
        self.ending_depth = self.depths[ending] + (kinds[ending] == _CLOSE)
        self.order: Positions | None = None
        self.by_depth: dict[int, list[int]] = {}

    def _terminators(self, depth: int) -> list[int]:
        """Ascending positions. Sorted once when a damaged element has shifted the depth, however many do."""
        if depth not in self.by_depth:
            if not self.by_depth:
                found = self.ending[self.ending_depth == depth]
            else:
                if self.order is None:
                    self.order = np.argsort(self.ending_depth, kind="stable")
                    self.sorted_depth = self.ending_depth[self.order]
                low, high = np.searchsorted(self.sorted_depth, [depth, depth + 1])
                found = self.ending[self.order[low:high]]
            self.by_depth[depth] = found.tolist()
        return self.by_depth[depth]

    def _depth_at(self, position: int) -> int:
        mark = int(np.searchsorted(self.marks, position))
        return int(self.depths[mark - 1]) if mark else 0

    def run(self) -> Scan:
        buffer, size, limit = self.buffer, self.size, self.limit
        at = depth = index = 0
        terminators = self._terminators(0)
        while True:
            match = _BLANKS.match(buffer, at)
            start = match.end() if match is not None else at
            if start == size:
                return self._ended(at)
            while index < len(terminators) and terminators[index] < start:
                index += 1
            end = terminators[index] if index < len(terminators) else size + limit
            if end - start <= limit:
                head = self._head_in_damaged(start, end)
                if head is None:
                    self._add(start, end)
                    at = end + 1
                    if buffer[end] == 0x2C:
                        continue
                    depth -= 1
                else:
                    self._add_damaged(start, head)
                    at, depth = head, self._depth_at(head)
            elif size - start <= limit and not self.final:
                return self._undecided(start)
            elif (head := self._head(start, min(start + limit + 1, size))) is not None:
                self._add_damaged(start, head)
                at, depth = head, self._depth_at(head)
            elif size - start <= limit:
                self._add_damaged(start, size)
                at = size
            else:
                return self._undecided(start, overlong=True)
            terminators = self._terminators(depth)
            index = int(np.searchsorted(terminators, at)) if len(terminators) else 0

    def _head(self, start: int, end: int) -> int | None:
        found = self.heads.search(self.buffer, start, end) if self.heads is not None else None
        return found.end() if found is not None else None

    def _head_in_damaged(self, start: int, end: int) -> int | None:
        """The next element's start, if what looks like one element is no JSON."""
        head = self._head(start, end)
        if head is None or is_json(self.buffer[start:end].decode("utf-8", "replace").rstrip()):
            return None
        return head

    def _add(self, start: int, end: int) -> None:
        if self.buffer[end] == 0x7D:  # } where ] or a comma should be: the damaged element's own
            end += 1
        if end > start:
            self.starts.append(start)
            self.ends.append(start + len(self.buffer[start:end].rstrip(b" \t\r\n")))

    def _add_damaged(self, start: int, end: int) -> None:
        self.starts.append(start)
        self.ends.append(start + max(len(self.buffer[start:end].rstrip(b", \t\r\n")), 1))

    def _ended(self, at: int) -> Scan:
        """Nothing but blanks follows, as far as the buffer goes."""
        if self.final:
            return self._result(self.size)
        line = int(np.searchsorted(self.lines.nexts, self.size, side="right"))
        if line and self.lines.nexts[line - 1] > at:
            return self._result(int(self.lines.nexts[line - 1]))
        # The next element may start on the last one's line, and only its place tells their numbers.
        if self.starts:
            self.ends.pop()
            return self._undecided(self.starts.pop())
        return self._result(0)

    def _undecided(self, start: int, *, overlong: bool = False) -> Scan:
        if not self.starts:
            return self._result(0, overlong=start if overlong else None)
        return self._result(start, following=True)

    def _result(self, consumed: int, *, following: bool = False, overlong: int | None = None) -> Scan:
        starts = np.array([*self.starts, consumed] if following else self.starts, np.int64)
        numbers = np.searchsorted(self.lines.nexts, starts, side="right")
        shared = np.zeros(len(starts), np.int64)
        shared[1:] = numbers[1:] == numbers[:-1]
        count = len(self.starts)
        return Scan(
            starts=starts[:count],
            ends=np.array(self.ends, np.int64),
            first_lines=(numbers + np.cumsum(shared))[:count],
            bad={},
            irregular=[],
            consumed=consumed,
            lines=int(np.searchsorted(self.lines.nexts, consumed, side="right") + shared.sum()),
            open_end=frozenset(),
            overlong=overlong,
        )
