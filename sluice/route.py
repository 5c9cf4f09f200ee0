"""Verdicts -> good rows and rejects. Pure: decides where every record of a chunk goes, touches nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluice.codes import category_of
from sluice.model import BadLine, Chunk, Severity, Violation
from sluice.parse import Parsed
from sluice.records import Positions

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
    """A chunk, sorted. `records == len(good) + len(rejected)`.

    Attributes:
        table: the typed rows, good and bad, columns named as the target's (and in that order), without lineage.
        lines: the physical line of each of them, ascending.
        good: the positions in `table` of the rows to load, ascending.
        rejected: ascending by line, at most one a line.
        errors: one row an error (`ERRORS_SCHEMA`), ascending by line; at least one for every rejected row.
        warnings: loaded rows that break a rule of severity warning or info, by code.
        as_reject: position in `table` -> what its `RejectedRow` would be, for rows the database refuses.
        unique_values: `UNIQUE_SCHEMA`, every cast row's value under the suite's uniqueness rules, rejected rows
            included, because Great Expectations counts those too; None without such rules.
        metrics: this chunk's share of the suite's result, JSON values; None without a suite.
    """

    chunk: Chunk
    records: int
    table: pa.Table
    lines: Positions
    good: Positions
    rejected: list[RejectedRow]
    errors: pa.Table
    as_reject: Callable[[int], RejectedRow]
    warnings: Mapping[str, int] = field(default_factory=dict)
    blank_lines: int = 0
    unique_values: pa.Table | None = None
    metrics: Mapping[str, Any] | None = None

    def only_good(self, table: pa.Table) -> pa.Table:
        """Of a table with as many rows as `table` those to load."""
        return table if len(self.good) == table.num_rows else table.take(pa.array(self.good))


def route(
    parsed: Parsed,
    table: pa.Table,
    violations: Sequence[Violation],
    *,
    source_bytes: Callable[[bytes], bytes] = bytes,
    unique: Iterable[tuple[int, npt.NDArray[np.int64], pa.Array]] = (),
    metrics: Mapping[str, Any] | None = None,
) -> Routed:
    """Sort a chunk's records into good rows and rejects.

    Args:
        parsed: the chunk as read; its refused lines are rejects already.
        table: the typed rows, as many as `parsed.text` has.
        violations: of types and rules; a critical one rejects its rows, another counts those that load.
        source_bytes: a record's UTF-8 text -> its bytes in the source's own encoding.
        unique: per uniqueness rule its index, row positions and values.
        metrics: passed through.
    """
    good = np.ones(table.num_rows, bool)
    for violation in violations:
        if violation.severity is Severity.CRITICAL:
            good[violation.rows] = False

    def reject(row: int) -> RejectedRow:
        return RejectedRow(int(parsed.lines[row]), int(parsed.starts[row]), source_bytes(parsed.raw(row)))

    rejected = [RejectedRow(bad.line, bad.byte_offset, source_bytes(bad.raw)) for bad in parsed.bad]
    rejected += [reject(int(row)) for row in np.flatnonzero(~good)]
    rejected.sort(key=lambda row: row.line)
    critical = [v for v in violations if v.severity is Severity.CRITICAL]
    warnings = {v.code: int(np.count_nonzero(good[v.rows])) for v in violations if v.severity is not Severity.CRITICAL}
    return Routed(
        chunk=parsed.chunk,
        records=parsed.records,
        table=table,
        lines=parsed.lines,
        good=np.flatnonzero(good),
        rejected=rejected,
        errors=errors_table(parsed.bad, critical, parsed.lines),
        as_reject=reject,
        warnings={code: count for code, count in warnings.items() if count},
        blank_lines=parsed.blank_lines,
        unique_values=_unique_table(parsed, unique),
        metrics=metrics,
    )


def errors_table(bad: Sequence[BadLine], violations: Sequence[Violation], lines: npt.NDArray[np.int64]) -> pa.Table:
    """One row an error, ascending by line; `lines` tells the physical line of the violations' row positions."""
    tables = [_violation_table(violation, lines) for violation in violations if len(violation.rows)]
    if bad:
        columns = [
            [line.line for line in bad],
            [line.column for line in bad],
            [line.code for line in bad],
            [str(category_of(line.code)) for line in bad],
            [line.message for line in bad],
            [None] * len(bad),
        ]
        tables.append(
            pa.table([pa.array(c, f.type) for c, f in zip(columns, ERRORS_SCHEMA, strict=True)], ERRORS_SCHEMA)
        )
    if not tables:
        return ERRORS_SCHEMA.empty_table()
    joined = pa.concat_tables(tables)
    return joined.take(np.argsort(joined["line"].to_numpy(), kind="stable"))


def _violation_table(violation: Violation, lines: npt.NDArray[np.int64]) -> pa.Table:
    size = len(violation.rows)
    constants = (violation.column, violation.code, str(category_of(violation.code)), violation.message)
    return pa.table(
        [
            pa.array(lines[violation.rows]),
            *(pa.repeat(pa.scalar(constant, pa.string()), size) for constant in constants),
            pa.array(violation.values, pa.string()),
        ],
        ERRORS_SCHEMA,
    )


def _unique_table(parsed: Parsed, unique: Iterable[tuple[int, npt.NDArray[np.int64], pa.Array]]) -> pa.Table | None:
    tables = [
        pa.table(
            [
                pa.repeat(pa.scalar(rule, pa.int32()), len(rows)),
                pa.array(parsed.lines[rows]),
                pa.array(parsed.starts[rows]),
                pa.array(parsed.ends[rows] - parsed.starts[rows]),
                values.cast(pa.string()),
            ],
            UNIQUE_SCHEMA,
        )
        for rule, rows, values in unique
    ]
    return pa.concat_tables(tables) if tables else None


def count_codes(errors: pa.Table) -> dict[str, int]:
    """Errors by code. A row that breaks two rules counts under both."""
    return dict(Counter(errors["code"].to_pylist()))
