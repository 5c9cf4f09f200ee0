"""The beginning of a text: lines to skip, the header, and where the data starts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from sluice.errors import HeaderError
from sluice.fields import fields, records
from sluice.model import Dialect

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")


def skipped(text: bytes, lines: int) -> int:
    """How many bytes the first physical lines take."""
    at = 0
    for _ in range(lines):
        match = _LINE.match(text, at)
        if match is None or match.end() == at:
            break
        at = match.end()
    return at


@dataclass(frozen=True, slots=True)
class Header:
    """Where a file's data begins and what its columns are called.

    Attributes:
        names: as they stand in the file, without quotes; None for a file without a header.
        width: how many columns the file has (0: it has no record at all).
        data_start: byte position in the text behind preamble and header.
        first_line: the physical line there, 1-based.
        line: the physical line of the header itself.
    """

    names: tuple[str, ...] | None
    width: int
    data_start: int
    first_line: int
    line: int

    @property
    def labels(self) -> tuple[str, ...]:
        """A different name for each column: the header's, numbered where it repeats one; `column_N` for blanks."""
        names = [name.strip() or f"column_{at}" for at, name in enumerate(self.names or [""] * self.width, start=1)]
        taken: set[str] = set(names)
        labels: list[str] = []
        for name in names:
            label, count = name, 1
            while label in labels or (count > 1 and label in taken):
                count += 1
                label = f"{name}_{count}"
            labels.append(label)
        return tuple(labels)


def read_header(sample: bytes, dialect: Dialect, *, complete: bool) -> Header:
    """The header (or, without one, the width of the first record) of a text.

    Args:
        sample: the beginning of the text; `complete`: all of it.

    Raises:
        HeaderError: there is no header where one is expected, or it cannot be read.
    """
    start = skipped(sample, dialect.skip_lines)
    record = next(records(sample[start:], dialect, complete=complete), None)
    line = dialect.skip_lines + 1 + (record.line if record is not None else 0)
    if record is None:
        if dialect.header and not complete:
            raise HeaderError("The header is longer than 1 MiB.", line=line, hint="Is it a CSV file?")
        if dialect.header:
            raise HeaderError("The file has no header: it holds no record.", hint="Was it sent empty by mistake?")
        return Header(None, 0, start, dialect.skip_lines + 1, line)
    if not dialect.header:
        width = len(fields(record, dialect)) if record.code is None else _usual_width(sample[start:], dialect, complete)
        return Header(None, width, start, dialect.skip_lines + 1, line)
    if record.code is not None:
        what = "a quote in it is never closed" if record.code != "csv.stray_quote" else "it holds a stray quote"
        raise HeaderError(f"The header cannot be read: {what}.", line=line, hint="Correct it, or tell the quote.")
    if b"\0" in record.data:
        raise HeaderError("The header holds a NUL byte.", line=line, hint="Was the file damaged in a transfer?")
    try:
        record.data.decode()
    except UnicodeDecodeError:
        raise HeaderError(
            f"The header is not valid {dialect.encoding}.", line=line, hint="Tell the file's encoding."
        ) from None
    names = tuple(value.lstrip("\ufeff") for value, _ in fields(record, dialect))
    return Header(names, len(names), start + record.end, dialect.skip_lines + 1 + record.next_line, line)


def _usual_width(text: bytes, dialect: Dialect, complete: bool) -> int:
    """The commonest width, for a file without a header whose first record is bad."""
    widths = Counter(
        len(fields(record, dialect)) for record in records(text, dialect, complete=complete) if record.code is None
    )
    return widths.most_common(1)[0][0] if widths else 1
