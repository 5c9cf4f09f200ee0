"""The record grammar against a plain state machine, and against every way to cut a text."""

from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.model import Dialect, StrayQuotes
from sluice.records import scan

#: More under the profile `thorough` (tests/conftest.py).
EXAMPLES = settings().max_examples

STRICT = Dialect()
LITERAL = Dialect(stray_quotes=StrayQuotes.LITERAL)
ESCAPED = Dialect(escape="\\")

#: Few, dangerous bytes, so that short texts hit every transition.
HOSTILE = st.lists(st.sampled_from([b"a", b",", b'"', b"\n", b"\r", b"\r\n", b'""', b"b"]), max_size=40).map(b"".join)
HOSTILE_ESCAPED = st.lists(st.sampled_from([b"a", b",", b'"', b"\n", b"\r", b"\\", b'\\"']), max_size=30).map(b"".join)


def line_end(text: bytes, at: int) -> tuple[int, int]:
    """First line end at or after `at`: its position and the position after it."""
    while at < len(text) and text[at] not in b"\r\n":
        at += 1
    if text[at : at + 2] == b"\r\n":
        return at, at + 2
    return at, min(at + 1, len(text))


def read_record(text: bytes, at: int, dialect: Dialect, limit: int) -> tuple[int, int, str | None]:
    """One record by the book, byte by byte: (end, next record, code)."""
    start, state = at, "field"
    quote = ord(dialect.quote or "\0")
    while True:
        if at - start > limit:
            return at, at, "csv.too_long"
        if at >= len(text):
            return at, at, "csv.unclosed_quote" if state == "quoted" else None
        byte = text[at]
        if dialect.escape and byte == ord(dialect.escape) and state != "closed":
            skipped = text[at + 1 : at + 3]
            at += 3 if skipped == b"\r\n" else 2
            if at >= len(text) and skipped[:1] in (b"", b"\r", b"\n"):
                return at, at, "csv.unclosed_quote"
            state = "quoted" if state == "quoted" else "plain"
            continue
        if state == "quoted":
            if byte == quote:
                if text[at + 1 : at + 2] == bytes([quote]) and not dialect.escape:
                    at += 1
                elif text[at + 1 : at + 2] not in (b"", b"\r", b"\n", dialect.delimiter.encode()):
                    return at, at, "csv.stray_quote"
                else:
                    state = "closed"
        elif byte in b"\r\n":
            end, following = line_end(text, at)
            return end, following, None
        elif byte == ord(dialect.delimiter):
            state = "field"
        elif byte == quote:
            if state == "field":
                state = "quoted"
            elif dialect.stray_quotes is not StrayQuotes.LITERAL:
                return at, at, "csv.stray_quote"
        else:
            state = "plain"
        at += 1


def by_the_book(text: bytes, dialect: Dialect, limit: int = 10**9) -> list[tuple[int, int, str | None]]:
    records, at = [], 0
    while at < len(text):
        end, following, code = read_record(text, at, dialect, limit)
        if code:
            end, following = line_end(text, at)
            code = "csv.too_long" if end - at > limit else code
        records.append((at, min(end, len(text)), code))
        at = following
    return records


def scanned(text: bytes, dialect: Dialect, limit: int = 10**9) -> list[tuple[int, int, str | None]]:
    result = scan(text, dialect, final=True, limit=limit)
    assert result.consumed == len(text)
    return [
        (int(start), int(end), result.bad.get(i))
        for i, (start, end) in enumerate(zip(result.starts, result.ends, strict=True))
    ]


@settings(max_examples=6 * EXAMPLES)
@given(HOSTILE)
def test_strict_scan_follows_the_grammar(text: bytes) -> None:
    assert scanned(text, STRICT) == by_the_book(text, STRICT)


@settings(max_examples=6 * EXAMPLES)
@given(HOSTILE)
def test_literal_scan_follows_the_grammar(text: bytes) -> None:
    assert scanned(text, LITERAL) == by_the_book(text, LITERAL)


@settings(max_examples=4 * EXAMPLES)
@given(HOSTILE_ESCAPED)
def test_escaped_scan_follows_the_grammar(text: bytes) -> None:
    assert scanned(text, ESCAPED) == by_the_book(text, ESCAPED)


@settings(max_examples=3 * EXAMPLES)
@given(HOSTILE, st.integers(1, 12))
def test_overlong_records_cost_one_line(text: bytes, limit: int) -> None:
    assert scanned(text, STRICT, limit) == by_the_book(text, STRICT, limit)


@settings(max_examples=3 * EXAMPLES)
@given(HOSTILE, st.integers(1, 20), st.sampled_from([STRICT, LITERAL]))
def test_undecided_bytes_are_left_for_later(text: bytes, cut: int, dialect: Dialect) -> None:
    """What a scan decides about the front of a text holds whatever follows it."""
    whole = by_the_book(text, dialect)
    front = scan(text[:cut], dialect, final=False)
    decided = [(s, e) for s, e, _ in whole if s < front.consumed]
    assert list(zip(front.starts.tolist(), front.ends.tolist(), strict=True)) == decided
    assert front.bad == {i: code for i, (_, _, code) in enumerate(whole[: len(decided)]) if code}


@given(st.lists(st.lists(st.text(st.sampled_from('a",\n\r é'), max_size=6), min_size=2, max_size=4), max_size=8))
def test_well_formed_text_has_as_many_records_as_python_reads(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    result = scan(out.getvalue().encode(), STRICT, final=True)
    assert len(result.starts) == len(rows)
    assert not result.bad


def test_lines_are_those_of_an_editor() -> None:
    result = scan(b'a,"x\r\ny"\rb,c\n\nd,e', STRICT, final=True)
    assert result.first_lines.tolist() == [0, 2, 3, 4]
    assert result.lines == 5


def test_a_text_quote_marks_its_record_irregular() -> None:
    result = scan(b'a,b\nc,5" pipe\nd,e\n', LITERAL, final=True)
    assert (result.irregular, result.bad) == ([1], {})
