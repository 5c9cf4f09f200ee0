"""A physical line's number -> the record that starts there, for rows that are refused long after they were read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from sluice.model import Chunk, Dialect
from sluice.parse import Read
from sluice.reading import scan
from sluice.records import Scan
from sluice.route import RejectedRow


class Relocator:
    """Finds records again. Ask for lines in ascending order: a chunk is read once, and one is held.

    Args:
        chunks: all chunks of the text, ascending.
        source_bytes: a record's UTF-8 text -> its bytes in the source's own encoding.
    """

    def __init__(
        self, chunks: Sequence[Chunk], read: Read, dialect: Dialect, source_bytes: Callable[[bytes], bytes]
    ) -> None:
        self._chunks, self._read, self._dialect, self._source_bytes = chunks, read, dialect, source_bytes
        self._first_lines = [chunk.first_line for chunk in chunks]
        self._held: tuple[int, bytes, Scan] | None = None

    def raw(self, offset: int, size: int) -> bytes:
        """The source's bytes of the record at these positions of the text."""
        return self._source_bytes(self._read(offset, offset + size))

    def __call__(self, line: int) -> RejectedRow:
        """The record that starts on `line` (1-based)."""
        at = bisect_right(self._first_lines, line) - 1
        chunk = self._chunks[at]
        if self._held is None or self._held[0] != at:
            data = self._read(chunk.byte_start, chunk.byte_end)
            self._held = (at, data, scan(data, self._dialect, final=True))
        _, data, found = self._held
        record = int(found.first_lines.searchsorted(line - chunk.first_line))
        start, end = int(found.starts[record]), int(found.ends[record])
        return RejectedRow(line, chunk.byte_start + start, self._source_bytes(data[start:end]))
