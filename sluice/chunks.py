"""Cut a text into chunks at record boundaries while it streams by, and group chunks into windows.

Because every chunk starts at a record's start and knows its first line, chunks can be read in any order, on any
machine, and say the same as the whole text would (`sluice.records`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from sluice.errors import SourceError
from sluice.json_records import after_overlong
from sluice.model import Chunk, Dialect, Format
from sluice.reading import scan
from sluice.records import RECORD_LIMIT, Scan

#: Text bytes a chunk aims at: 8 MiB are about 45,000 customer rows. The fixed cost of validating a chunk (some 6 ms) is
#: small against them; and two chunks in flight, each as text, as columns and as COPY data, take about 150 MB. With
#: 16 MiB an import is no faster, unless its key is random and its table large, and peaks 130 MB higher.
CHUNK_BYTES = 8 * 1024 * 1024

#: Text bytes of a window, the unit of a Prefect task run: some seconds of work, so that the 30-45 ms of server CPU
#: a task run costs do not show.
WINDOW_BYTES = 256 * 1024 * 1024


class Cutter:
    """Feed it the text in pieces of any size; it returns the chunks that are complete.

    The cuts depend on the text alone, not on the pieces. At most a chunk, a record and a piece are held.

    Args:
        start: bytes to leave out at the front (preamble and header).
        first_line: physical line (1-based) at `start`.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        start: int,
        first_line: int,
        chunk_bytes: int = CHUNK_BYTES,
        limit: int = RECORD_LIMIT,
    ) -> None:
        self._dialect, self._chunk_bytes, self._limit = dialect, chunk_bytes, limit
        self._buffer = _Buffer()
        self._to_skip = start
        self._start, self._line, self._index = start, first_line, 0
        self._oversize = 0  # bytes of an overlong record passed by so far,
        self._oversize_lines = 0  # and line ends in them
        self._want = chunk_bytes
        self._last = b""  # the text's last byte so far that is not blank

    def feed(self, piece: bytes | memoryview) -> list[Chunk]:
        """Take the next piece of text."""
        skipped = min(self._to_skip, len(piece))
        self._to_skip -= skipped
        self._buffer.append(memoryview(piece)[skipped:])
        if self._dialect.format is Format.JSON:
            self._last = bytes(piece[skipped:]).rstrip(b" \t\r\n")[-1:] or self._last
        return list(self._cut(final=False))

    def finish(self) -> list[Chunk]:
        """The text has ended; the chunks that were waiting for more.

        Raises:
            SourceError: the text is a JSON array that does not end.
        """
        if self._dialect.format is Format.JSON and self._last != b"]":
            raise SourceError(
                "The file ends before its JSON array does: it was cut off.",
                hint="Get it again; or, if it is all there, write ] at its end.",
            )
        chunks = list(self._cut(final=False)) + list(self._cut(final=True))
        if self._oversize:
            chunks.append(self._chunk(0, self._oversize_lines + 1, oversize=True))
        return chunks

    def _cut(self, *, final: bool) -> Iterator[Chunk]:
        while True:
            if self._oversize:
                size, lines, ended = self._rest_of_overlong(final=final)
                self._pass_by(size, lines)
                if not ended:
                    return
                yield self._chunk(0, self._oversize_lines, oversize=True)
                continue
            if not len(self._buffer) or (len(self._buffer) < self._want and not final):
                return
            window = self._buffer.first(len(self._buffer) if final else self._want)
            result = scan(window, self._dialect, final=final, limit=self._limit)
            if result.consumed:
                yield self._chunk(result.consumed, result.lines)
            elif (passed := self._overlong(window, result)) is not None:
                self._pass_by(*passed)
            else:
                self._want *= 2  # a record longer than the chunk aimed at: look further

    def _chunk(self, size: int, lines: int, *, oversize: bool = False) -> Chunk:
        end = self._start + self._oversize + size
        chunk = Chunk(self._index, self._start, end, self._line, lines, oversize)
        self._buffer.drop(size)
        self._start, self._line, self._index = end, self._line + lines, self._index + 1
        self._oversize, self._oversize_lines, self._want = 0, 0, self._chunk_bytes
        return chunk

    def _overlong(self, window: bytes, result: Scan) -> tuple[int, int] | None:
        """If the window begins with a record too long to be looked into: how many of its bytes, and line ends in
        them, to pass by."""
        if self._dialect.format is Format.JSON:
            if result.overlong is None:
                return None
            before = window[: result.overlong]
            return result.overlong + 1, before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
        if len(window) > self._limit and not re.search(rb"[\r\n]", window[: self._limit + 1]):
            return len(window) - 1, 0  # a CR may be its last byte, and LF follow
        return None

    def _rest_of_overlong(self, *, final: bool) -> tuple[int, int, bool]:
        """How many bytes of the buffer, and line ends in them, belong to it, and whether it ends there."""
        text = self._buffer.first(len(self._buffer))
        if self._dialect.format is Format.JSON:
            return after_overlong(text, self._dialect, final=final)
        following = _after_line_end(text, final=final)
        if following is not None:
            return following, 1, True
        return len(text) - (1 if text.endswith(b"\r") and not final else 0), 0, False

    def _pass_by(self, size: int, lines: int) -> None:
        self._buffer.drop(size)
        self._oversize += size
        self._oversize_lines += lines


class _Buffer:
    """The pieces of text that are not cut yet. None of them is copied but into what `first` returns."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, piece: memoryview) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def first(self, size: int) -> bytes:
        """At most so many bytes."""
        parts, missing = [], size
        for piece in self._pieces:
            parts.append(piece[:missing])
            missing -= len(parts[-1])
        return b"".join(parts)

    def drop(self, size: int) -> None:
        """Forget so many bytes at the front, of those there are."""
        self._size -= size
        while self._pieces and size >= len(self._pieces[0]):
            size -= len(self._pieces.popleft())
        if size:
            self._pieces[0] = self._pieces[0][size:]


def _after_line_end(text: bytes, *, final: bool) -> int | None:
    """Position after the first line end; None if there is none (a CR as the last byte is undecided)."""
    newline, carriage = text.find(b"\n"), text.find(b"\r")
    if carriage < 0 or 0 <= newline < carriage:
        return newline + 1 if newline >= 0 else None
    if carriage + 1 == len(text):
        return carriage + 1 if final else None
    return carriage + 2 if text[carriage + 1] == 0x0A else carriage + 1


def windows(chunks: Iterable[Chunk], window_bytes: int = WINDOW_BYTES) -> Iterator[tuple[Chunk, ...]]:
    """Consecutive chunks in groups of about `window_bytes`, at least one each."""
    group: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if group and size + chunk.size > window_bytes:
            yield tuple(group)
            group, size = [], 0
        group.append(chunk)
        size += chunk.size
    if group:
        yield tuple(group)
