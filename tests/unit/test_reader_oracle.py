"""Rows, rejects and blank lines of any text in any dialect, against a reader that goes byte by byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.chunks import Cutter
from sluice.model import Dialect, ShortRows, StrayQuotes
from sluice.parse import parse

PIECES = [b'"', b",", b"\n", b"\r", b"a", b"b", b'""', b"\r\n", b"\\", b"'", b"\0", b"\xff", "é".encode(), b" "]
MARK = b"\xef\xbb\xbf"

TEXTS = st.lists(st.sampled_from([*PIECES, b",", b"\n", b'"', MARK]), max_size=24).map(b"".join)
DIALECTS = st.builds(
    Dialect,
    quote=st.sampled_from(['"', "'", None]),
    escape=st.sampled_from([None, "\\"]),
    stray_quotes=st.sampled_from(StrayQuotes),
    short_rows=st.sampled_from(ShortRows),
)


class Refused(Exception):
    """The record breaks the grammar; the argument is the code."""


@dataclass
class Outcome:
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    bad: list[tuple[int, int, str, bytes]] = field(default_factory=list)
    blank: int = 0


def line_end(text: bytes, at: int) -> int:
    """The length of the line end at a position; 0 where there is none."""
    return 2 if text[at : at + 2] == b"\r\n" else int(text[at : at + 1] in (b"\r", b"\n"))


def lines_in(text: bytes) -> int:
    return len(text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")) - 1


def escaped(text: bytes, at: int, *, quoted: bool) -> tuple[bytes, int]:
    """What an escape at `at` stands before, and the position after it."""
    if at + 1 >= len(text):
        raise Refused("csv.unclosed_quote")
    size = 1 if quoted else (line_end(text, at + 1) or 1)
    if not quoted and line_end(text, at + 1) and at + 1 + size >= len(text):
        raise Refused("csv.unclosed_quote")
    return text[at + 1 : at + 1 + size], at + 1 + size


def quoted_field(text: bytes, at: int, dialect: Dialect) -> tuple[bytes, int]:
    quote, escape, value = (dialect.quote or "").encode(), (dialect.escape or "").encode(), b""
    while True:
        byte = text[at : at + 1]
        if not byte:
            raise Refused("csv.unclosed_quote")
        if escape and byte == escape:
            more, at = escaped(text, at, quoted=True)
            value += more
        elif byte == quote and not escape and text[at + 1 : at + 2] == quote:
            value, at = value + quote, at + 2
        elif byte == quote:
            if at + 1 < len(text) and text[at + 1 : at + 2] != b"," and not line_end(text, at + 1):
                raise Refused("csv.stray_quote")
            return value, at + 1
        else:
            value, at = value + byte, at + 1


def plain_field(text: bytes, at: int, dialect: Dialect) -> tuple[bytes | None, int]:
    quote, escape, value = (dialect.quote or "").encode(), (dialect.escape or "").encode(), b""
    while at < len(text) and text[at : at + 1] != b"," and not line_end(text, at):
        byte = text[at : at + 1]
        if escape and byte == escape:
            more, at = escaped(text, at, quoted=False)
            value += more
            continue
        if quote and byte == quote and dialect.stray_quotes is StrayQuotes.REJECT:
            raise Refused("csv.stray_quote")
        value, at = value + byte, at + 1
    return value or None, at


def fields_of(text: bytes, at: int, dialect: Dialect) -> tuple[list[bytes | None], int]:
    found: list[bytes | None] = []
    while True:
        value: bytes | None
        if dialect.quote and text[at : at + 1] == dialect.quote.encode():
            value, at = quoted_field(text, at + 1, dialect)
        else:
            value, at = plain_field(text, at, dialect)
        found.append(value)
        if text[at : at + 1] != b",":
            return found, at
        at += 1


def by_the_book(text: bytes, dialect: Dialect, width: int) -> Outcome:
    outcome, at, line = Outcome(), 0, 1
    while at < len(text):
        start, begun = at, line
        if size := line_end(text, at):
            outcome.blank, at, line = outcome.blank + 1, at + size, line + 1
            continue
        try:
            found, end = fields_of(text, at, dialect)
        except Refused as refused:
            while at < len(text) and not line_end(text, at):
                at += 1
            outcome.bad.append((begun, start, str(refused), text[start:at]))
            at, line = at + line_end(text, at), line + 1
            continue
        at = end + line_end(text, end)
        line += lines_in(text[start:at])
        place(outcome, (begun, start), text[start:end], found, dialect, width)
    return outcome


def place(
    outcome: Outcome, where: tuple[int, int], raw: bytes, found: list[bytes | None], dialect: Dialect, width: int
) -> None:
    if b"\0" in raw:
        outcome.bad.append((*where, "csv.nul", raw))
        return
    try:
        raw.decode()
    except UnicodeDecodeError:
        outcome.bad.append((*where, "csv.encoding", raw))
        return
    if dialect.short_rows is ShortRows.PAD:
        found = found + [None] * (width - len(found))
    if len(found) != width:
        outcome.bad.append((*where, "csv.column_count", raw))
        return
    outcome.rows.append((where[0], *(value.decode() if value is not None else None for value in found)))


def by_sluice(text: bytes, dialect: Dialect, width: int, chunk_bytes: int) -> Outcome:
    cutter = Cutter(dialect, start=0, first_line=1, chunk_bytes=chunk_bytes)
    outcome = Outcome()
    for chunk in (*cutter.feed(text), *cutter.finish()):
        names = [str(at) for at in range(width)]
        parsed = parse(chunk, lambda start, end: text[start:end], len(text), dialect, names)
        outcome.rows += zip(parsed.lines.tolist(), *(c.to_pylist() for c in parsed.text.columns), strict=True)
        outcome.bad += [(bad.line, bad.byte_offset, bad.code, bad.raw) for bad in parsed.bad]
        outcome.blank += parsed.blank_lines
    return outcome


@settings(max_examples=6 * settings().max_examples)
@given(TEXTS, DIALECTS, st.integers(1, 3))
def test_every_text_reads_as_the_grammar_says(text: bytes, dialect: Dialect, width: int) -> None:
    wanted = by_the_book(text, dialect, width)
    for size in (1, 7, 10**6):
        assert by_sluice(text, dialect, width, size) == wanted
