"""A chunk's bytes -> text columns, for JSON: members go to the column their key names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import pyarrow as pa

from sluice.json_records import scan_array
from sluice.json_values import Members, Unfit, members_of
from sluice.model import BadLine, Chunk, Dialect, Format
from sluice.names import normalise_header
from sluice.parse import Parsed, Read
from sluice.records import RECORD_LIMIT, Scan, scan

_BLANKS = b" \t\r\n"


def parse_json(
    chunk: Chunk, read: Read, dialect: Dialect, names: Sequence[str], *, limit: int = RECORD_LIMIT
) -> Parsed:
    """Read a chunk of JSON objects; see `sluice.parse.parse`.

    null and a missing member are NULL. What has a key that `names` lack goes to `Parsed.surplus`.
    """
    if chunk.oversize:
        return _oversize(chunk, read, dialect, names, limit)
    data = read(chunk.byte_start, chunk.byte_end)
    if dialect.format is Format.JSON:
        found = scan_array(data, dialect, final=True, limit=limit)
    else:
        found = scan(data, dialect, final=True, limit=limit)
    return _Reader(chunk, data, found, dialect, names, limit).read()


class Keys:
    """Which column a key names: compared as headers are. Keys are looked at once, however often they come."""

    def __init__(self, names: Sequence[str]) -> None:
        self._columns = {normalise_header(name): at for at, name in enumerate(names)}
        self._columns.pop("", None)
        self._known: dict[str, int | None] = {}

    def place(self, members: Members, row: list[str | None]) -> list[tuple[str, str | None]]:
        """Put the values where they belong; the members that belong nowhere.

        Raises:
            Unfit: two keys name the same column.
        """
        surplus: list[tuple[str, str | None]] = []
        filled = set()
        for key, value in members:
            try:
                column = self._known[key]
            except KeyError:
                column = self._columns.get(normalise_header(key))
                if len(self._known) < 10_000:  # a key a record is data, not a header
                    self._known[key] = column
            if column is None:
                surplus.append((key, value))
            else:
                row[column] = value
                filled.add(column)
        if len(filled) + len(surplus) < len(members):
            _refuse_twice([key for key, _ in members])
        return surplus


def _refuse_twice(keys: Sequence[str]) -> NoReturn:
    seen: dict[str, str] = {}
    for key in keys:
        if (other := seen.setdefault(normalise_header(key), key)) is not key:
            raise Unfit(f"the keys {other!r} and {key!r} name the same column")
    raise AssertionError(keys)


class _Reader:
    """One chunk being read, record by record: JSON's own decoder does the work of each."""

    def __init__(
        self, chunk: Chunk, data: bytes, found: Scan, dialect: Dialect, names: Sequence[str], limit: int
    ) -> None:
        self.chunk, self.data, self.found, self.dialect = chunk, data, found, dialect
        self.names, self.limit = names, limit
        self.rows: list[list[str | None]] = []
        self.kept: list[int] = []
        self.bad: list[BadLine] = []
        self.surplus: dict[int, str] = {}
        self.blank = 0

    def read(self) -> Parsed:
        keys, width, data = Keys(self.names), len(self.names), self.data
        starts, ends = self.found.starts.tolist(), self.found.ends.tolist()
        for record, (start, end) in enumerate(zip(starts, ends, strict=True)):
            raw = data[start:end]
            if record in self.found.bad:
                self._reject(record, raw[: self.limit], "json.too_long", too_long(self.limit))
                continue
            try:
                text = raw.decode().strip(" \t\r\n")
                if not text:
                    self.blank += 1
                    continue
                row: list[str | None] = [None] * width
                surplus = keys.place(members_of(text), row)
            except UnicodeDecodeError:
                self._reject(record, raw, "json.encoding", f"the bytes are not valid {self.dialect.encoding}")
            except Unfit as error:
                self._reject(record, raw, "json.invalid", f"the record is no JSON object that can be read: {error}")
            else:
                if surplus:
                    self.surplus[len(self.rows)] = json.dumps(dict(surplus), ensure_ascii=False)
                self.rows.append(row)
                self.kept.append(record)
        return self._parsed()

    def _reject(self, record: int, raw: bytes, code: str, message: str) -> None:
        line = self.chunk.first_line + int(self.found.first_lines[record])
        self.bad.append(BadLine(line, self.chunk.byte_start + int(self.found.starts[record]), raw, code, message))

    def _parsed(self) -> Parsed:
        kept = np.array(self.kept, np.int64)
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.names)
        surplus = None
        if self.surplus:
            surplus = pa.array([self.surplus.get(row) for row in range(len(self.rows))], pa.string())
        return Parsed(
            text=pa.table([pa.array(column, pa.string()) for column in columns], names=list(self.names)),
            lines=self.chunk.first_line + self.found.first_lines[kept],
            starts=self.chunk.byte_start + self.found.starts[kept],
            ends=self.chunk.byte_start + self.found.ends[kept],
            bad=self.bad,
            records=len(self.found.starts) - self.blank,
            blank_lines=self.blank,
            chunk=self.chunk,
            data=self.data,
            surplus=surplus,
        )


def too_long(limit: int) -> str:
    """The message of `json.too_long`."""
    return (
        f"the record is longer than {limit:,} bytes; most often something in it was never closed, and then all up to "
        "the next line that begins a record is part of it"
    )


def _oversize(chunk: Chunk, read: Read, dialect: Dialect, names: Sequence[str], limit: int) -> Parsed:
    """A record longer than any may be: refused; of its bytes the first `limit` are kept."""
    raw = read(chunk.byte_start, min(chunk.byte_start + 2 * limit, chunk.byte_end))
    # What may stand between two elements of an array is no part of them.
    record = raw.lstrip(b",]}" + _BLANKS) if dialect.format is Format.JSON else raw
    before = raw[: len(raw) - len(record)]
    line = chunk.first_line + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
    none = np.empty(0, np.int64)
    bad = BadLine(line, chunk.byte_start + len(before), record[:limit], "json.too_long", too_long(limit))
    empty = pa.table({name: pa.array([], pa.string()) for name in names})
    return Parsed(empty, none, none, none, [bad], 1, 0, chunk, b"")
