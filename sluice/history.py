"""Reading the ledger: which imports there were, how far they are, what they rejected. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from sluice.database import translated
from sluice.errors import UsageError
from sluice.model import Counts, SampleError, Status, TableName

Connection = psycopg.Connection[Any]

#: Rejected rows fetched at a time: with their errors about 1 kB each.
_FETCH = 1000


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One row of `sluice.imports`; `sluice.schema` says what each column means."""

    id: int
    dataset: str | None
    table_name: str
    source: str
    sha256: str
    size: int
    fingerprint: str
    force_no: int
    options: dict[str, Any]
    dialect: dict[str, Any]
    plan: dict[str, Any]
    status: str
    attempt: int
    records: int
    loaded: int
    updated: int
    unchanged: int
    skipped: int
    rejected: int
    blank_lines: int
    bytes_total: int
    bytes_done: int
    errors_by_category: dict[str, int]
    errors_by_rule: dict[str, int]
    warnings_by_rule: dict[str, int]
    suite_result: dict[str, Any] | None
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    flow_run_id: str | None
    started_by: str | None
    message: str

    @property
    def table(self) -> TableName:
        schema, _, name = self.table_name.partition(".")
        return TableName(schema, name)

    @property
    def counts(self) -> Counts:
        return Counts(*(getattr(self, name) for name in Counts.__slots__))


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A committed chunk; `byte_start` -1 holds the adjustments made at the end (see `docs/ledger.md`)."""

    byte_start: int
    byte_end: int
    first_line: int
    lines: int
    records: int
    loaded: int
    updated: int
    unchanged: int
    skipped: int
    rejected: int
    blank_lines: int
    seconds: float
    attempt: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class RuleErrors:
    """One line of the view `errors_by_rule`: how often a rule rejected, and the first example."""

    code: str
    category: str
    column: str | None
    errors: int
    rows: int
    first_line: int
    first_message: str
    first_value: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """All there is to say about one import, but for the rejected rows themselves."""

    row: ImportRow
    rules: tuple[RuleErrors, ...]
    chunks: tuple[ChunkRow, ...]
    open_rejects: int

    @property
    def rows_per_second(self) -> float:
        return self.row.records / self.row.seconds if self.row.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has committed; `seconds_left` is None until the first chunk of the attempt."""

    status: str
    bytes_done: int
    bytes_total: int
    chunks: int
    counts: Counts
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class RowError:
    """One reason why a row was rejected."""

    column: str | None
    code: str
    category: str
    message: str
    value: str | None


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A rejected row as the ledger keeps it, with all its reasons in the order they were found."""

    line: int
    byte_offset: int
    raw: bytes
    state: str
    errors: tuple[RowError, ...]


def _columns(row: type) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(row))


@translated()
def imports(connection: Connection, dataset: str | None = None, limit: int = 20) -> list[ImportRow]:
    """The newest imports first; of one dataset when named."""
    query = sql.SQL(
        "SELECT {} FROM sluice.imports WHERE %(dataset)s::text IS NULL OR dataset = %(dataset)s"
        " ORDER BY id DESC LIMIT %(limit)s"
    ).format(_columns(ImportRow))
    with connection.cursor(row_factory=class_row(ImportRow)) as cursor:
        return cursor.execute(query, {"dataset": dataset, "limit": limit}).fetchall()


@translated()
def get(connection: Connection, import_id: int) -> ImportRow:
    """One import. Raises UsageError when there is none of that number."""
    query = sql.SQL("SELECT {} FROM sluice.imports WHERE id = %s").format(_columns(ImportRow))
    with connection.cursor(row_factory=class_row(ImportRow)) as cursor:
        row = cursor.execute(query, [import_id]).fetchone()
    if row is None:
        raise UsageError(f"There is no import #{import_id}.", hint="`sluice imports` lists them.")
    return row


@translated()
def of_flow_run(connection: Connection, flow_run_id: str) -> ImportRow | None:
    """The import a run of Prefect began last, or took over."""
    query = sql.SQL("SELECT {} FROM sluice.imports WHERE flow_run_id = %s ORDER BY id DESC LIMIT 1").format(
        _columns(ImportRow)
    )
    with connection.cursor(row_factory=class_row(ImportRow)) as cursor:
        return cursor.execute(query, [flow_run_id]).fetchone()


@translated()
def show(connection: Connection, import_id: int) -> Details:
    """One import with its errors by rule, its chunks and how many rejected rows are still open.

    While it runs (or after it failed), its own row holds no counts yet: `progress` adds up its chunks.
    """
    row = get(connection, import_id)
    rules = sql.SQL(
        'SELECT {} FROM sluice.errors_by_rule WHERE import_id = %s ORDER BY errors DESC, code, "column"'
    ).format(_columns(RuleErrors))
    chunks = sql.SQL("SELECT {} FROM sluice.chunks WHERE import_id = %s ORDER BY byte_start").format(_columns(ChunkRow))
    with (
        connection.cursor(row_factory=class_row(RuleErrors)) as rule_cursor,
        connection.cursor(row_factory=class_row(ChunkRow)) as chunk_cursor,
    ):
        rule_rows = rule_cursor.execute(rules, [import_id]).fetchall()
        chunk_rows = chunk_cursor.execute(chunks, [import_id]).fetchall()
    found = connection.execute(
        "SELECT count(*) FROM sluice.rejected_rows WHERE import_id = %s AND state = 'open'", [import_id]
    ).fetchall()
    return Details(row, tuple(rule_rows), tuple(chunk_rows), found[0][0])


@translated()
def progress(connection: Connection, import_id: int) -> Progress:
    """How far an import has come, from its committed chunks; of a finished one, its final counts."""
    found = connection.execute(
        "SELECT status, bytes_done, bytes_total, chunks, records, loaded, updated, unchanged, skipped, rejected,"
        " seconds_left FROM sluice.import_progress WHERE id = %s",
        [import_id],
    ).fetchone()
    if found is None:
        row = get(connection, import_id)
        return Progress(row.status, row.bytes_done, row.bytes_total, 0, row.counts, 0.0)
    status, bytes_done, bytes_total, chunks, *counts, seconds_left = found
    return Progress(status, bytes_done, bytes_total, chunks, Counts(*counts), seconds_left)


@translated()
def samples(connection: Connection, import_id: int, limit: int = 10) -> tuple[SampleError, ...]:
    """The first errors of an import by line."""
    query = (
        'SELECT line, "column", code, message, value FROM sluice.row_errors WHERE import_id = %s ORDER BY line LIMIT %s'
    )
    return tuple(SampleError(*found) for found in connection.execute(query, [import_id, limit]).fetchall())


#: One row an error, in the order of both tables' indexes: half the time of an aggregate for each rejected row.
_REJECTED = """
SELECT r.line, r.byte_offset, r.raw, r.state, e."column", e.code, e.category, e.message, e.value
FROM sluice.rejected_rows AS r
LEFT JOIN sluice.row_errors AS e ON e.import_id = r.import_id AND e.line = r.line
WHERE r.import_id = %(id)s
  AND (%(state)s::text IS NULL OR r.state = %(state)s)
  AND (%(rule)s::text IS NULL AND %(category)s::text IS NULL OR EXISTS (
      SELECT FROM sluice.row_errors AS f
      WHERE f.import_id = r.import_id AND f.line = r.line
        AND (%(rule)s::text IS NULL OR f.code = %(rule)s)
        AND (%(category)s::text IS NULL OR f.category = %(category)s)))
ORDER BY r.line
"""


def rejected(
    connection: Connection,
    import_id: int,
    *,
    rule: str | None = None,
    category: str | None = None,
    state: str | None = None,
) -> Iterator[RejectedRecord]:
    """The rejected rows of an import by line, each with all its errors, read through a server-side cursor: memory
    does not depend on how many there are. `rule` and `category` choose rows with at least one such error, `state`
    open, replayed or discarded ones. The connection is in a transaction until the last row is taken.
    """
    get(connection, import_id)
    wanted = {"id": import_id, "rule": rule, "category": category, "state": state}
    with translated(), connection.transaction(), connection.cursor(name="sluice_rejected") as cursor:
        cursor.itersize = _FETCH
        found = cursor.execute(_REJECTED, wanted, binary=True)
        for (line, byte_offset, raw, row_state), rows in groupby(found, key=lambda row: row[:4]):
            errors = tuple(RowError(*row[4:]) for row in rows if row[5] is not None)
            yield RejectedRecord(line, byte_offset, raw, row_state, errors)


def is_complete(status: str) -> bool:
    """Whether an import of this status has every record of its file in its place."""
    return status in (Status.COMPLETED, Status.COMPLETED_WITH_REJECTS)
