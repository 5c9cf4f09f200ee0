"""Verdicts -> good rows and rejects. Pure: decides where every record of a chunk goes, touches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sluice.model import Chunk

#: The columns of `Routed.errors`, those of the ledger's `row_errors` without the import's id.
ERRORS_SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("column", pa.string()),
        ("code", pa.string()),
        ("category", pa.string()),
        ("message", pa.string()),
        ("value", pa.string()),
    ]
)

#: The columns of `Routed.unique_values`, those of the ledger's table without the import's id.
UNIQUE_SCHEMA = pa.schema(
    [
        ("rule", pa.int32()),
        ("line", pa.int64()),
        ("byte_offset", pa.int64()),
        ("byte_length", pa.int64()),
        ("value", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A record on its way to the error table: the physical line it starts on (1-based), where its bytes start
    in the decompressed text, and those bytes as they stand in the source, without the line end."""

    line: int
    byte_offset: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Routed:
    """A chunk, sorted. `records == good.num_rows + len(rejected)`.

    Attributes:
        good: the typed rows to load, columns named as the target's (and in that order), without lineage.
        lines: int64, the physical line of each good row, ascending.
        rejected: ascending by line, at most one a line.
        errors: one row an error (`ERRORS_SCHEMA`), ascending by line; at least one for every rejected row.
        warnings: loaded rows that break a rule of severity warning or info, by code.
        good_row: position in `good` -> what its `RejectedRow` would be, for rows the database refuses.
        unique_values: `UNIQUE_SCHEMA`, every cast row's value under the suite's uniqueness rules, rejected rows
            included, because Great Expectations counts those too; None without such rules.
        metrics: this chunk's share of the suite's result, JSON values; None without a suite.
    """

    chunk: Chunk
    records: int
    good: pa.Table
    lines: pa.Int64Array
    rejected: list[RejectedRow]
    errors: pa.Table
    good_row: Callable[[int], RejectedRow]
    warnings: Mapping[str, int] = field(default_factory=dict)
    blank_lines: int = 0
    unique_values: pa.Table | None = None
    metrics: Mapping[str, Any] | None = None
