"""A chunk's bytes -> text columns, and the lines the strict reader refuses.

pyarrow does the splitting, but only ever sees whole records that `sluice.records` has found sound: its own reader
drops stray quotes, loses line ends at block borders (https://github.com/apache/arrow/issues/51368) and does not
know physical lines.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from sluice.errors import RuleError
from sluice.model import BadLine, Chunk, Dialect, ShortRows
from sluice.records import RECORD_LIMIT, Positions, Scan, scan

#: Reads the text between two byte positions.
Read = Callable[[int, int], bytes]

#: Bytes whose UTF-8 is checked at once where something is wrong with a chunk's: a few invalid bytes in 8 MiB are in few
#: blocks, and a block is worth the 3 us that a question to Arrow costs.
_BLOCK = 64 * 1024

_MESSAGES = {
    "csv.stray_quote": "a quote stands inside an unquoted field, or text follows a closing quote",
    "csv.unclosed_quote": "a quote is still open at the end of the file",
    "csv.too_long": "the record is longer than {limit:,} bytes; most often a quote was never closed",
    "csv.encoding": "the bytes are not valid {encoding}",
    "csv.nul": "the record holds a NUL byte",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A chunk, read.

    Attributes:
        text: one `string` column a file column, in the file's order; an empty unquoted field is NULL, a quoted
            empty field is ''.
        lines: physical line each row starts on (1-based), ascending.
        starts, ends: byte positions of each row in the text, line end excluded.
        bad: the refused records, ascending by line.
        records: rows and refused records together.
        blank_lines: empty lines; they are no records.
        surplus: what a JSON object has besides the file's columns, as a JSON object of texts; NULL for rows without
            such members, None if no row has any.
    """

    text: pa.Table
    lines: Positions
    starts: Positions
    ends: Positions
    bad: list[BadLine]
    records: int
    blank_lines: int
    chunk: Chunk
    data: bytes
    surplus: pa.StringArray | None = None

    def raw(self, row: int) -> bytes:
        """The row's bytes in the text, without the line end."""
        start = self.chunk.byte_start
        return self.data[int(self.starts[row]) - start : int(self.ends[row]) - start]


def parse(
    chunk: Chunk, read: Read, text_size: int, dialect: Dialect, names: Sequence[str], *, limit: int = RECORD_LIMIT
) -> Parsed:
    """Read a chunk of records with `len(names)` columns.

    Args:
        read: access to the text; only the chunk's bytes are read, a little more after a runaway quote.
        text_size: bytes of the whole text.
        names: unique labels of the file's columns.
    """
    if chunk.oversize:
        return _oversize(chunk, read, names, limit)
    data = read(chunk.byte_start, chunk.byte_end)
    found = scan(data, dialect, final=True, limit=limit)
    refused = _codes(found, chunk, read, text_size, dialect, limit)
    blank = found.starts == found.ends
    kept = ~blank
    kept[list(refused)] = False
    for code, record in _unfit(data, found, kept):
        refused[record] = code
        kept[record] = False
    rewritten = {i: rewrite(data[found.starts[i] : found.ends[i]], dialect) for i in found.irregular if kept[i]}
    reading = dialect
    if rewritten and dialect.quote is None:  # what was rewritten is quoted, so what holds that quote must be, too
        reading = replace(dialect, quote=_plain_quote(dialect))
        marks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(_plain_quote(dialect)))
        for i in _records_at(found, marks):
            if kept[i]:
                rewritten[i] = rewrite(data[found.starts[i] : found.ends[i]], dialect)
    text, wrong_width = _split(data, found, kept, rewritten, reading, names)
    messages = {record: _message(code, dialect, limit) for record, code in refused.items()}
    for record, fields in wrong_width.items():
        refused[record] = "csv.column_count"
        kept[record] = False
        messages[record] = f"{fields} fields, but the file has {len(names)} columns"
    lines = chunk.first_line + found.first_lines
    return Parsed(
        text=text,
        lines=lines[kept],
        starts=chunk.byte_start + found.starts[kept],
        ends=chunk.byte_start + found.ends[kept],
        bad=[
            BadLine(
                line=int(lines[i]),
                byte_offset=chunk.byte_start + int(found.starts[i]),
                raw=data[found.starts[i] : min(int(found.ends[i]), int(found.starts[i]) + limit)],
                code=refused[i],
                message=messages[i],
            )
            for i in sorted(refused)
        ],
        records=len(found.starts) - int(blank.sum()),
        blank_lines=int(blank.sum()),
        chunk=chunk,
        data=data,
    )


def _message(code: str, dialect: Dialect, limit: int) -> str:
    return _MESSAGES[code].format(limit=limit, encoding=dialect.encoding)


def _oversize(chunk: Chunk, read: Read, names: Sequence[str], limit: int) -> Parsed:
    """A single line longer than any record: refused; of its bytes the first `limit` are kept."""
    none = np.empty(0, np.int64)
    raw = read(chunk.byte_start, min(chunk.byte_start + limit, chunk.byte_end))
    message = _MESSAGES["csv.too_long"].format(limit=limit)
    bad = BadLine(chunk.first_line, chunk.byte_start, raw, "csv.too_long", message)
    empty = pa.table({name: pa.array([], pa.string()) for name in names})
    return Parsed(empty, none, none, none, [bad], 1, 0, chunk, b"")


def _codes(found: Scan, chunk: Chunk, read: Read, text_size: int, dialect: Dialect, limit: int) -> dict[int, str]:
    """Why each bad record is bad. One still open at the end of the chunk was judged by bytes behind the chunk
    when the text was cut, so that it takes another look at those to name the same reason."""
    codes = dict(found.bad)
    if chunk.byte_end == text_size:
        return codes
    for record in found.open_end:
        start = chunk.byte_start + int(found.starts[record])
        end = min(start + limit + 2, text_size)
        further = scan(read(start, end), dialect, final=end == text_size, limit=limit)
        codes[record] = further.bad.get(0, "csv.too_long")
    return codes


def _unfit(data: bytes, found: Scan, kept: npt.NDArray[np.bool_]) -> list[tuple[str, int]]:
    """Sound records whose bytes no PostgreSQL text can hold: (code, record)."""
    unfit: dict[int, str] = {}
    if b"\0" in data:
        zeros = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
        unfit = dict.fromkeys(_records_at(found, zeros), "csv.nul")
    if not data.isascii() and not _is_utf8(data):
        for record in _records_at(found, _not_utf8(data, found)):
            unfit.setdefault(record, "csv.encoding")
    return [(code, record) for record, code in unfit.items() if kept[record]]


def _not_utf8(data: bytes, found: Scan) -> list[int]:
    """The first invalid byte of each record that has one."""
    # Arrow looks through a block ten times faster than Python's decoder, but does not say where it fails.
    view, invalid = memoryview(data), list[int]()
    borders = found.starts[np.searchsorted(found.starts, np.arange(_BLOCK, len(data), _BLOCK)) - 1].tolist()
    for begin, end in pairwise(dict.fromkeys([0, *borders, len(data)])):
        if not _is_utf8(view[begin:end]):
            invalid += _invalid_bytes(view, begin, end, found)
    return invalid


def _invalid_bytes(view: memoryview, at: int, end: int, found: Scan) -> list[int]:
    """The same of the records between two of their borders."""
    invalid = []
    while at < end:
        try:
            codecs.utf_8_decode(view[at:end], "strict", True)
        except UnicodeDecodeError as error:
            invalid.append(at + error.start)
            record = int(np.searchsorted(found.starts, invalid[-1], side="right"))
            at = int(found.starts[record]) if record < len(found.starts) else end
        else:
            break
    return invalid


def _records_at(found: Scan, positions: Positions | list[int]) -> list[int]:
    records = np.unique(np.searchsorted(found.starts, positions, side="right") - 1)
    return [int(record) for record in records if record >= 0]


def _is_utf8(data: bytes | memoryview) -> bool:
    """Whether Arrow takes the bytes as UTF-8; checked in place, no copy is made."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pc.cast(pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)]), pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _split(
    data: bytes,
    found: Scan,
    kept: npt.NDArray[np.bool_],
    rewritten: dict[int, bytes],
    dialect: Dialect,
    names: Sequence[str],
) -> tuple[pa.Table, dict[int, int]]:
    """The kept records as columns, and the number of fields of those with a wrong one."""
    records = np.flatnonzero(kept)
    text, wrong = _read_csv(_buffer(data, found, kept, rewritten), dialect, names)
    wrong_width = {int(records[number - 1]): fields for number, fields in wrong.items()}
    if dialect.short_rows is ShortRows.PAD:
        short = {record: fields for record, fields in wrong_width.items() if fields < len(names)}
        if short:
            padding = {
                record: rewritten.get(record, data[found.starts[record] : found.ends[record]])
                + dialect.delimiter.encode() * (len(names) - fields)
                for record, fields in short.items()
            }
            return _split(data, found, kept, rewritten | padding, dialect, names)
    if text.num_rows + len(wrong_width) != len(records):
        raise RuleError(
            f"the CSV reader returned {text.num_rows + len(wrong_width)} records where {len(records)} were found "
            f"between bytes {found.starts[0]} and {found.ends[-1]} of a chunk; nothing of it was loaded.",
            hint="This is a bug in Sluice; please report it with the file's dialect.",
        )
    return text, wrong_width


def _buffer(data: bytes, found: Scan, kept: npt.NDArray[np.bool_], rewritten: dict[int, bytes]) -> bytes:
    """The kept records' bytes, some of them rewritten; the chunk's own buffer where all are kept as they are."""
    if kept.all() and not rewritten:
        return data
    as_they_are = kept.copy()
    as_they_are[list(rewritten)] = False
    # Stretches of consecutive records that are kept as they are: [first, last + 1) pairs.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], as_they_are, [False]]).astype(np.int8))).tolist()
    view = memoryview(data)
    following = np.append(found.starts[1:], len(data))
    parts: list[tuple[int, bytes | memoryview]] = [
        (first, view[int(found.starts[first]) : int(following[last - 1])])
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
    parts += [(record, text + b"\n") for record, text in rewritten.items() if kept[record]]
    parts.sort(key=lambda part: part[0])
    return b"".join(text for _, text in parts)


def _read_csv(data: bytes, dialect: Dialect, names: Sequence[str]) -> tuple[pa.Table, dict[int, int]]:
    """Sound records -> columns, and 1-based record number -> number of fields where that is wrong."""
    wrong: dict[int, int] = {}

    def skip(row: csv.InvalidRow) -> str:
        wrong[row.number] = row.actual_columns
        return "skip"

    if not data:
        return pa.table({name: pa.array([], pa.string()) for name in names}), wrong
    if data.startswith(codecs.BOM_UTF8):
        # Arrow drops a byte order mark at the start of any buffer (apache/arrow#4392);
        # the text's own is gone already, so this one belongs to a value.
        data = codecs.BOM_UTF8 + data
    if not data.endswith((b"\n", b"\r")):
        # Without a line end, Arrow 26 reads an empty last field behind a quoted one as '' instead of NULL.
        data += b"\n"
    table = csv.read_csv(
        pa.BufferReader(pa.py_buffer(data)),
        # One block, so that no record straddles two; one thread, or rows would have no numbers.
        csv.ReadOptions(column_names=list(names), block_size=len(data) + 1, use_threads=False),
        csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            newlines_in_values=dialect.quote is not None,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,  # checked already, record by record where need be
        ),
    )
    return table.combine_chunks(), wrong


def rewrite(record: bytes, dialect: Dialect) -> bytes:
    """A sound record with text quotes or escapes, written so that a plain CSV reader reads the same values."""
    quote = _plain_quote(dialect).encode()
    fields = []
    for value, quoted in split_record(record, dialect):
        if quoted or quote in value or dialect.delimiter.encode() in value or b"\n" in value or b"\r" in value:
            value = quote + value.replace(quote, quote * 2) + quote
        fields.append(value)
    return dialect.delimiter.encode().join(fields)


def _plain_quote(dialect: Dialect) -> str:
    """The quote a rewritten record is written with, also where the dialect has none."""
    return dialect.quote or ("'" if dialect.delimiter == '"' else '"')


def split_record(record: bytes, dialect: Dialect) -> list[tuple[bytes, bool]]:
    """One sound record -> (value, was quoted) a field, byte by byte: for the few that need it."""
    quote, escape = (dialect.quote or "").encode(), (dialect.escape or "").encode()
    delimiter = dialect.delimiter.encode()
    fields: list[tuple[bytes, bool]] = []
    value, quoted, inside, at = bytearray(), False, False, 0
    field_start = 0
    while at < len(record):
        byte = record[at : at + 1]
        if escape and byte == escape:
            value += record[at + 1 : at + 2]
            at += 2
            continue
        if quote and byte == quote and inside:
            if not escape and record[at + 1 : at + 2] == quote:
                value += quote
                at += 1
            else:
                inside = False
        elif quote and byte == quote and at == field_start:
            quoted = inside = True
        elif byte == delimiter and not inside:
            fields.append((bytes(value), quoted))
            value, quoted, field_start = bytearray(), False, at + 1
        else:
            value += byte
        at += 1
    fields.append((bytes(value), quoted))
    return fields
