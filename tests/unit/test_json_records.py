"""JSON read record by record: the same answer for every way to cut the text, damage costing its own record."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.chunks import Cutter
from sluice.errors import SourceError
from sluice.model import Chunk, Dialect, Format
from sluice.reading import parse, scan
from sluice.relocate import Relocator

EXAMPLES = settings().max_examples
ARRAY = Dialect(format=Format.JSON, indent=0)
LINES = Dialect(format=Format.NDJSON, quote=None)
DIALECTS = st.sampled_from(
    [ARRAY, Dialect(format=Format.JSON, indent=2), Dialect(format=Format.JSON), LINES],
)
HOSTILE = st.lists(
    st.sampled_from(
        [
            b'{"x":1}', b'{"x":1},', b'{"x":1},\n', b'{"x":1,"y":[{"x":2}]}', b'\n{"x":3}', b'\n  {"x": 4},', b"\\",
            b'"', b"{", b"}", b"[", b"]", b",", b" ", b"\n", b"\r\n", b"\r", b'"x":', b'"\\""', b"1", b"\0", b"\xff",
            b"}, {",
            b'{\n"x": "]"\n},', "{\"x\":\"é\"}".encode(),
        ]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


def cut(text: bytes, dialect: Dialect, chunk_bytes: int, piece: int, limit: int) -> list[Chunk]:
    cutter = Cutter(dialect, start=0, first_line=1, chunk_bytes=chunk_bytes, limit=limit)
    chunks = [c for at in range(0, len(text), piece) for c in cutter.feed(text[at : at + piece])]
    return chunks + cutter.finish()


def read(
    text: bytes, dialect: Dialect = ARRAY, *, chunk_bytes: int = 10**6, piece: int = 10**6, limit: int = 10**6
) -> dict[str, Any]:
    """Everything the reader says of a text with the keys x and y; an array's text is what follows its `[`."""
    rows, bad, records, blank, lines_seen = [], [], 0, 0, 1
    chunks = cut(text, dialect, chunk_bytes, piece, limit)
    relocate = Relocator(chunks, lambda start, end: text[start:end], dialect, bytes)
    for chunk in chunks:
        assert chunk.first_line == lines_seen
        lines_seen += chunk.lines
        parsed = parse(chunk, lambda start, end: text[start:end], len(text), dialect, ["x", "y"], limit=limit)
        for i, row in enumerate(parsed.text.to_pylist()):
            raw = text[parsed.starts[i] : parsed.ends[i]]
            assert raw == parsed.raw(i)
            if limit >= 10**6:
                assert relocate(int(parsed.lines[i])).raw == raw
            rows.append((int(parsed.lines[i]), row["x"], row["y"]))
        for b in parsed.bad:
            assert text[b.byte_offset :].startswith(b.raw)
            bad.append((b.line, b.byte_offset, b.raw, b.code))
        spans = [(b.byte_offset, b.byte_offset + len(b.raw)) for b in parsed.bad]
        spans += zip(parsed.starts.tolist(), parsed.ends.tolist(), strict=True)
        borders = [chunk.byte_start, *(border for span in sorted(spans) for border in span), chunk.byte_end]
        assert borders == sorted(borders)
        between = b"".join(text[a:b] for a, b in zip(borders[::2], borders[1::2], strict=True))
        cut_short = any(b.code == "json.too_long" for b in parsed.bad)
        assert cut_short or not between.strip(b" \t\r\n" if dialect is LINES else b" \t\r\n,]")
        records, blank = records + parsed.records, blank + parsed.blank_lines
    numbers = [line for line, *_ in rows] + [line for line, *_ in bad]
    assert len(set(numbers)) == len(numbers) == records <= max(lines_seen - 1, 0)
    assert [c.byte_start for c in chunks] + [len(text)] == [0] + [c.byte_end for c in chunks]
    return {"rows": rows, "bad": bad, "records": records, "blank": blank}


@settings(max_examples=6 * EXAMPLES)
@given(HOSTILE, DIALECTS, st.integers(1, 60), st.integers(1, 60), st.sampled_from([5, 12, 30, 10**6]))
def test_the_answer_does_not_depend_on_the_cut(
    text: bytes, dialect: Dialect, chunk_bytes: int, piece: int, limit: int
) -> None:
    if dialect.format is Format.JSON:
        text += b"]"
    whole = read(text, dialect, limit=limit)
    assert read(text, dialect, chunk_bytes=chunk_bytes, piece=piece, limit=limit) == whole


DAMAGED = b"""
{"x": 1, "y": "a"},
{"x": 2, "y": "b},
{"x": 3, "y": "c"}, {"x": 4, "y": "d"},
{"x": 5, "y": "e",
{"x": 6, "y": ["f", {"z": 1}]},
{"x": 7 "y": "g"}
,{"x": 8, "y": "h"}],
{"x": 9, "y": "i"}}, 10,
{
  "x": 11
}, {
  "x": 12
}
]
"""


@pytest.mark.parametrize("text", [DAMAGED, DAMAGED.replace(b"\n", b"\r\n"), DAMAGED.replace(b"\n", b"\r")])
def test_every_chunk_size_from_one_byte_up(text: bytes) -> None:
    whole = read(text)
    for chunk_bytes in range(1, len(text) + 2):
        assert read(text, chunk_bytes=chunk_bytes, piece=7) == whole


def test_damage_costs_its_own_element() -> None:
    result = read(DAMAGED)
    assert [x for _, x, _ in result["rows"]] == ["1", "3", "4", "6", "8", "11", "12"]
    assert [(line, raw) for line, _, raw, _ in result["bad"]] == [
        (3, b'{"x": 2, "y": "b}'),
        (6, b'{"x": 5, "y": "e"'),
        (8, b'{"x": 7 "y": "g"}'),
        (10, b'{"x": 9, "y": "i"}}'),
        (11, b"10"),
    ]


def test_lines_are_those_of_an_editor_unless_elements_share_one() -> None:
    assert [line for line, *_ in read(b'\n\n {"x":1},\n\n{"x":2\n\n},\r\n{"x":3}]')["rows"]] == [3, 5, 8]
    assert [line for line, *_ in read(b'{"x":1},{"x":2},{"x":3}]')["rows"]] == [1, 2, 3]


def test_values_keep_their_text() -> None:
    text = b'{"x": 1.10, "y": 12345678901234567890.123456789e-2}\n{"x": true, "y": null}\n{"x": "", "other": 1}\n'
    text += '{"Y": {"k": [1.0, "é\\"", null, false]}, "x": -0}\n'.encode()
    assert read(text, LINES)["rows"] == [
        (1, "1.10", "12345678901234567890.123456789e-2"),
        (2, "true", None),
        (3, "", None),
        (4, "-0", '{"k":[1.0,"é\\"",null,false]}'),
    ]


@pytest.mark.parametrize(
    "record",
    [
        b'{"x": NaN}', b'{"x": -Infinity}', b'{"x": "\\ud800"}', b'{"x": "\\u0000"}', b'{"y": ["\\udc00"]}',
        b'{"\\ud800": 1}', b'{"x": 1, "x": 2}', b'{"x": 1, "X": 2}', b'{"y": {"a": 1, "a": 2}}', b"[1]", b"5",
        b"null",
        b'{"x": 01}', b'{"x": 1,}', b"{'x': 1}", b'{"x": "tab\there"}', b'{"x": 1} {"x": 2}', b'{"x": 1',
        b'{"x": "\0"}',
        b'{"y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_object_is_refused_alone(record: bytes) -> None:
    lines = read(b'{"x": 1}\n' + record + b'\n\n{"x": 3}\n', LINES)
    assert ([x for _, x, _ in lines["rows"]], lines["blank"]) == (["1", "3"], 1)
    assert lines["bad"] == [(2, 9, record, "json.invalid")]
    array = read(b'\n{"x": 1},\n' + record + b',\n{"x": 3}\n]')
    assert [x for _, x, _ in array["rows"]] in (["1", "3"], ["1", "2", "3"])
    if len(array["rows"]) == 2:
        assert array["bad"] == [(3, 11, record, "json.invalid")]


def test_bad_bytes_and_surrogate_pairs() -> None:
    result = read(b'{"x": "\\ud83d\\ude00"},\n{"x": "\xff"},\n{"x": 3}]')
    assert [x for _, x, _ in result["rows"]] == ["\U0001f600", "3"]
    assert result["bad"] == [(2, 23, b'{"x": "\xff"}', "json.encoding")]


def test_nested_objects_are_not_taken_for_elements() -> None:
    nested = b'\n  {\n    "x": 1,\n    "y": [\n      {\n        "x": 99\n      }\n    \n  },\n  {\n    "x": 2\n  }\n]'
    result = read(nested, Dialect(format=Format.JSON, indent=2))
    assert [x for _, x, _ in result["rows"]] == ["2"]
    assert len(result["bad"]) == 1


@pytest.mark.parametrize("piece", [1, 7, 16, 1000])
def test_an_endless_element_is_passed_by_in_bounded_memory(piece: int) -> None:
    long = b'{"x": "' + b"x" * 1000 + b'\n , \r\n{ "y'
    text = b'{"x": 1},\n' + long + b'"},\n{"x": 2}]'
    result = read(text, limit=50, chunk_bytes=8, piece=piece)
    assert [x for _, x, _ in result["rows"]] == ["1", "2"]
    assert result["bad"][0] == (2, 10, long[:50], "json.too_long")
    rest = read(b'{"x": 1},{"x": [1},{"x": 2},{"x": 3}]', limit=20, chunk_bytes=8, piece=piece)
    assert rest["rows"] == [(1, "1", None)]
    assert [code for *_, code in rest["bad"]] == ["json.too_long"]


def test_an_array_that_does_not_end_is_refused() -> None:
    with pytest.raises(SourceError, match="cut off"):
        read(b'{"x": 1},\n{"x": 2}\n')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3), max_leaves=4
)


@settings(max_examples=2 * EXAMPLES)
@given(
    st.lists(st.fixed_dictionaries({}, optional={"x": VALUES, "y": VALUES}), max_size=8),
    st.sampled_from([None, 0, 1, 2, 4]),
    st.integers(1, 100),
)
def test_what_python_writes_is_read(rows: list[dict[str, Any]], indent: int | None, chunk_bytes: int) -> None:
    rows = json.loads(json.dumps(rows).replace("\\u0000", "0"))
    text = json.dumps(rows, indent=indent).encode()[1:]
    result = read(text, Dialect(format=Format.JSON, indent=indent or 0), chunk_bytes=chunk_bytes)
    assert result["bad"] == []
    for (_, x, y), row in zip(result["rows"], rows, strict=True):
        for got, value in ((x, row.get("x")), (y, row.get("y"))):
            assert got == value if value is None or isinstance(value, str) else json.loads(got) == value
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert [row[1:] for row in read(lines, LINES)["rows"]] == [row[1:] for row in result["rows"]]


@settings(max_examples=EXAMPLES)
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_digit(number: Decimal) -> None:
    written = format(number, "f")
    assert read(f'{{"x": {written}}}'.encode(), LINES)["rows"] == [(1, written, None)]


def test_many_damaged_elements_are_cut_quickly() -> None:
    text = b'{"x": 1,\n' * 50_000 + b"]"
    found = scan(text, ARRAY, final=True)
    assert len(found.starts) == 50_000
