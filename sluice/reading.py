"""One way to read every format: what `sluice.parse` and `sluice.records` do for CSV, by the dialect's format."""

from __future__ import annotations

from collections.abc import Sequence

from sluice import parse as csv
from sluice import records
from sluice.json_parse import parse_json
from sluice.json_records import scan_array
from sluice.model import Chunk, Dialect, Format
from sluice.parse import Parsed, Read
from sluice.records import RECORD_LIMIT, Scan


def parse(
    chunk: Chunk, read: Read, text_size: int, dialect: Dialect, names: Sequence[str], *, limit: int = RECORD_LIMIT
) -> Parsed:
    """A chunk's bytes -> text columns and refused records; see `sluice.parse.parse`."""
    if dialect.format is Format.CSV:
        return csv.parse(chunk, read, text_size, dialect, names, limit=limit)
    return parse_json(chunk, read, dialect, names, limit=limit)


def scan(buffer: bytes, dialect: Dialect, *, final: bool, limit: int = RECORD_LIMIT) -> Scan:
    """Cut a buffer into records; see `sluice.records.scan`. A line of NDJSON is a record as one of CSV without
    quotes is."""
    if dialect.format is Format.JSON:
        return scan_array(buffer, dialect, final=final, limit=limit)
    return records.scan(buffer, dialect, final=final, limit=limit)
