"""The strict reader: same answer for every way to cut the text, and Python's csv module as the oracle."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.chunks import Cutter, windows
from sluice.model import Chunk, Dialect, ShortRows, StrayQuotes
from sluice.parse import parse

HOSTILE = st.lists(
    st.sampled_from([b"a", b",", b'"', b"\n", b"\r", b"\r\n", b'""', b"\0", b"\xff", "é".encode(), b"b,c\n"]),
    max_size=40,
).map(b"".join)

#: More under the profile `thorough` (tests/conftest.py).
EXAMPLES = settings().max_examples

STRICT = Dialect()
DIALECTS = st.sampled_from(
    [
        Dialect(),
        Dialect(stray_quotes=StrayQuotes.LITERAL),
        Dialect(short_rows=ShortRows.PAD),
        Dialect(quote=None),
        Dialect(escape="a"),
    ]
)


def cut(text: bytes, dialect: Dialect, chunk_bytes: int, piece: int, limit: int) -> list[Chunk]:
    cutter = Cutter(dialect, start=0, first_line=1, chunk_bytes=chunk_bytes, limit=limit)
    chunks = [c for at in range(0, len(text), piece) for c in cutter.feed(text[at : at + piece])]
    return chunks + cutter.finish()


def read(
    text: bytes, dialect: Dialect = STRICT, *, chunk_bytes: int = 10**6, piece: int = 10**6, limit: int = 10**6
) -> dict[str, Any]:
    """Everything the reader says of a two-column text, cut into chunks of about `chunk_bytes`."""
    rows, bad, records, blank, lines_seen = [], [], 0, 0, 1
    chunks = cut(text, dialect, chunk_bytes, piece, limit)
    for chunk in chunks:
        assert chunk.first_line == lines_seen
        lines_seen += chunk.lines
        parsed = parse(chunk, lambda start, end: text[start:end], len(text), dialect, ["x", "y"], limit=limit)
        for i, row in enumerate(parsed.text.to_pylist()):
            assert text[parsed.starts[i] : parsed.ends[i]] == parsed.raw(i)
            rows.append((int(parsed.lines[i]), row["x"], row["y"]))
        bad += [(b.line, b.byte_offset, b.raw, b.code) for b in parsed.bad]
        records, blank = records + parsed.records, blank + parsed.blank_lines
    assert [c.byte_start for c in chunks] + [len(text)] == [0] + [c.byte_end for c in chunks]
    return {"rows": rows, "bad": bad, "records": records, "blank": blank}


@settings(max_examples=6 * EXAMPLES)
@given(HOSTILE, DIALECTS, st.integers(1, 50), st.integers(1, 50), st.sampled_from([5, 12, 10**6]))
def test_the_answer_does_not_depend_on_the_cut(
    text: bytes, dialect: Dialect, chunk_bytes: int, piece: int, limit: int
) -> None:
    whole = read(text, dialect, limit=limit)
    assert read(text, dialect, chunk_bytes=chunk_bytes, piece=piece, limit=limit) == whole
    assert whole["records"] == len(whole["rows"]) + len(whole["bad"])


@pytest.mark.parametrize(
    "text", [b'a,b\n"c\nd",e\r\nf"g,h\n\ni,j\n"k,l\nm,n\no\np,q', b'1,"2\n' * 9, b'x,y\n"open,z\n' * 5]
)
def test_every_chunk_size_from_one_record_up(text: bytes) -> None:
    whole = read(text)
    for chunk_bytes in range(1, len(text) + 2):
        assert read(text, chunk_bytes=chunk_bytes, piece=7) == whole


CELL = st.text(st.sampled_from('ab",;\n\r é€\\'), max_size=8)


@settings(max_examples=2 * EXAMPLES)
@given(
    st.lists(st.tuples(CELL, CELL), max_size=12),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 60),
)
def test_well_formed_text_reads_as_python_reads_it(
    rows: list[tuple[str, str]], quoting: int, ending: str, chunk_bytes: int
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # Python's writer leaves line ends that are not its own unquoted
        rows = [(x.replace("\r", "").replace("\n", ""), y.replace("\r", "").replace("\n", "")) for x, y in rows]
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting, lineterminator=ending).writerows(rows)  # type: ignore[arg-type]
    text = out.getvalue()
    oracle = [tuple(row) for row in csv.reader(io.StringIO(text, newline="")) if row]
    result = read(text.encode(), chunk_bytes=chunk_bytes)
    assert [(x or "", y or "") for _, x, y in result["rows"]] == oracle
    assert result["bad"] == []


def test_a_damaged_line_is_refused_alone() -> None:
    text = b'1,a\n2,b"c\n3,d\n4\n5,e,f\n6,"g"h\n7,\xff\n8,\0\n9,i\n'
    result = read(text)
    assert result["rows"] == [(1, "1", "a"), (3, "3", "d"), (9, "9", "i")]
    assert result["bad"] == [
        (2, 4, b'2,b"c', "csv.stray_quote"),
        (4, 14, b"4", "csv.column_count"),
        (5, 16, b"5,e,f", "csv.column_count"),
        (6, 22, b'6,"g"h', "csv.stray_quote"),
        (7, 29, b"7,\xff", "csv.encoding"),
        (8, 33, b"8,\0", "csv.nul"),
    ]


def test_a_runaway_quote_costs_its_own_line() -> None:
    result = read(b'1,"never closed\n2,b\n3,c\n')
    assert result["rows"] == [(2, "2", "b"), (3, "3", "c")]
    assert [code for *_, code in result["bad"]] == ["csv.unclosed_quote"]
    longer = read(b'1,"never closed\n' + b"2,b\n" * 20, limit=30)
    assert len(longer["rows"]) == 20
    assert [code for *_, code in longer["bad"]] == ["csv.too_long"]


def test_a_line_without_an_end_is_passed_by_in_bounded_memory() -> None:
    text = b"1,a\n" + b"x" * 1000 + b"\n2,b\n"
    result = read(text, limit=50, chunk_bytes=8, piece=16)
    assert result["rows"] == [(1, "1", "a"), (3, "2", "b")]
    assert result["bad"] == [(2, 4, b"x" * 50, "csv.too_long")]


def test_a_field_of_a_megabyte_is_read() -> None:
    result = read(b'1,"' + b"x" * 2**20 + b'"\n2,b\n', chunk_bytes=1000, limit=2**21)
    assert len(result["rows"][0][2]) == 2**20
    assert result["bad"] == []


def test_quotes_may_be_text() -> None:
    result = read(b'1,5" pipe\n2,"x\ny"\n3,a"b"c\n', Dialect(stray_quotes=StrayQuotes.LITERAL))
    assert result["rows"] == [(1, "1", '5" pipe'), (2, "2", "x\ny"), (4, "3", 'a"b"c')]


def test_short_rows_may_be_padded() -> None:
    result = read(b'1\n2,b\n"3"\n4,5,6\n', Dialect(short_rows=ShortRows.PAD))
    assert result["rows"] == [(1, "1", None), (2, "2", "b"), (3, "3", None)]
    assert [code for *_, code in result["bad"]] == ["csv.column_count"]


def test_escapes() -> None:
    result = read(b'1,"a\\"b"\n2,c\\,d\n"3\\\\","e\nf"\n', Dialect(escape="\\"))
    assert result["rows"] == [(1, "1", 'a"b'), (2, "2", "c,d"), (3, "3\\", "e\nf")]


def test_null_and_empty_text_differ() -> None:
    assert read(b'1,\n2,""\n')["rows"] == [(1, "1", None), (2, "2", "")]


def test_windows_group_consecutive_chunks() -> None:
    chunks = [Chunk(i, 10 * i, 10 * i + 10, i + 1, 1) for i in range(5)]
    assert [[c.index for c in group] for group in windows(chunks, 25)] == [[0, 1], [2, 3], [4]]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", "é".encode(), b"\xff", b"\xc3", b'"\n\xe2\x82"']), st.integers(0, 90_000)),
        min_size=1,
        max_size=8,
    )
)
def test_invalid_bytes_are_found_wherever_they_stand_in_a_large_chunk(records: list[tuple[bytes, int]]) -> None:
    lines = [record for value, fill in records for record in (b"%d,%s" % (fill, value), b"f" * fill + b",y")]
    text = b"\n".join(lines) + b"\n"
    found = read(text)

    def is_utf8(record: bytes) -> bool:
        try:
            record.decode()
        except UnicodeDecodeError:
            return False
        return True

    assert [raw for _, _, raw, _ in found["bad"]] == [record for record in lines if not is_utf8(record)]
    assert {code for *_, code in found["bad"]} <= {"csv.encoding"}
    assert found["records"] == len(lines)
