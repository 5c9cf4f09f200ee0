"""Records and fields of a small text, one by one: for samples and headers. Chunks are read by `sluice.parse`.

Where records begin and end is `sluice.records`' decision here too, so that a header is read as its rows will be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sluice.model import Dialect
from sluice.parse import split_record
from sluice.records import scan


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is not blank.

    Attributes:
        data: its bytes, line end excluded.
        end: byte position behind its line end, in the text that was split.
        line: 0-based physical line it starts on; `next_line` the one after its last.
        code: why the strict grammar refuses it, or None.
    """

    data: bytes
    end: int
    line: int
    next_line: int
    code: str | None


def records(text: bytes, dialect: Dialect, *, complete: bool) -> Iterator[Record]:
    """The records of a text, without the blank ones. An unfinished last one is left out unless the text is complete."""
    found = scan(text, dialect, final=complete)
    count = len(found.starts)
    for index in range(count):
        start, end = int(found.starts[index]), int(found.ends[index])
        if start == end:
            continue
        last = index + 1 == count
        yield Record(
            data=text[start:end],
            end=found.consumed if last else int(found.starts[index + 1]),
            line=int(found.first_lines[index]),
            next_line=found.lines if last else int(found.first_lines[index + 1]),
            code=found.bad.get(index),
        )


def fields(record: Record, dialect: Dialect) -> list[tuple[str, bool]]:
    """The fields of a sound record: value, and whether it was quoted. Invalid UTF-8 becomes U+FFFD."""
    data = record.data
    marks = [mark.encode() for mark in (dialect.quote, dialect.escape) if mark]
    if any(mark in data for mark in marks):
        return [(value.decode("utf-8", "replace"), quoted) for value, quoted in split_record(data, dialect)]
    return [(value, False) for value in data.decode("utf-8", "replace").split(dialect.delimiter)]
