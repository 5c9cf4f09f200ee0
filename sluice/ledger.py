"""The ledger: one row an import, one row a committed chunk, in the target's own database.

Every chunk's transaction begins with `fence`, which holds the import's row in share mode, so that a resume, a
cancel or an undo waits for it or shuts it out, and ends with `record_chunk`. The functions of `claim`, `history`
and `rejects` are offered here too: to the rest of Sluice the ledger is one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from sluice.claim import Claim, Claimed, DoneChunk, claim, resume, table_lock
from sluice.codes import category_of
from sluice.database import translated
from sluice.errors import IdentityMismatch, ImportCancelled, Superseded
from sluice.history import Connection, ImportRow, get, imports, is_complete, progress, rejected, samples, show
from sluice.migrate import ensure_ledger
from sluice.model import Chunk, Counts, Status
from sluice.rejects import save_rejects, save_unique_values
from sluice.storable import optional_json, storable, storable_json

__all__ = [
    "ADJUSTMENT",
    "Claim",
    "Claimed",
    "DoneChunk",
    "Totals",
    "cancel",
    "claim",
    "ensure_ledger",
    "fail",
    "fence",
    "finish",
    "get",
    "imports",
    "progress",
    "record_chunk",
    "rejected",
    "rejected_before",
    "resume",
    "samples",
    "save_rejects",
    "save_unique_values",
    "show",
    "table_lock",
    "totals",
]

#: The row of `chunks` that corrects the sums at the end of an import: rows moved to the rejects by a uniqueness
#: rule (loaded -1, rejected +1), the counts of a final publish. Its counts may be negative; they add up.
ADJUSTMENT = Chunk(index=-1, byte_start=-1, byte_end=-1, first_line=0, lines=0)

_NAMES = sql.SQL(", ").join(map(sql.Identifier, Counts.__slots__))

#: Two objects of counts, added key by key.
_ADDED_OBJECTS = sql.SQL("""(
    SELECT coalesce(jsonb_object_agg(key, n), '{{}}') FROM (
        SELECT key, sum(value::bigint) AS n FROM (
            SELECT * FROM jsonb_each_text(c.{0}) UNION ALL SELECT * FROM jsonb_each_text(excluded.{0})
        ) AS pairs GROUP BY key
    ) AS sums)""")


@dataclass(frozen=True, slots=True)
class Totals:
    """The sum of an import's chunks."""

    counts: Counts
    errors_by_rule: dict[str, int]
    errors_by_category: dict[str, int]
    warnings_by_rule: dict[str, int]


@translated()
def fence(connection: Connection, import_id: int, attempt: int) -> None:
    """Make sure this attempt is still the live one, until the transaction ends. First statement of every chunk's
    transaction. Concurrent chunks share the lock; nothing in a chunk's transaction may update the import's row.

    Raises:
        ImportCancelled: it was cancelled. Superseded: it was resumed by another process, ended, or undone.
    """
    held = connection.execute(
        "SELECT FROM sluice.imports WHERE id = %s AND attempt = %s AND status = 'running' FOR SHARE",
        [import_id, attempt],
    )
    if held.rowcount == 0:
        raise _shut_out(connection, import_id, attempt)


def _shut_out(connection: Connection, import_id: int, attempt: int) -> ImportCancelled | Superseded:
    row = get(connection, import_id)
    if row.status == Status.CANCELLED:
        return ImportCancelled(
            f"Import #{import_id} was cancelled; what it had committed is kept.",
            hint="`sluice resume` continues it.",
        )
    return Superseded(
        f"Attempt {attempt} of import #{import_id} is over: it is {row.status} now, at attempt {row.attempt}."
    )


@translated()
def record_chunk(
    connection: Connection,
    import_id: int,
    attempt: int,
    chunk: Chunk,
    counts: Counts,
    errors: Mapping[str, int],
    warnings: Mapping[str, int],
    metrics: Mapping[str, Any] | None,
    seconds: float,
) -> None:
    """Write a chunk's ledger row, in the transaction that loads its rows. `errors` and `warnings` are counts by
    code. `ADJUSTMENT` may be recorded several times; its counts are added up.

    Raises:
        Superseded: the chunk is committed already, by another task of this import.
    """
    values = {name: getattr(counts, name) for name in Counts.__slots__}
    values |= {"byte_start": chunk.byte_start, "byte_end": chunk.byte_end, "first_line": chunk.first_line}
    values |= {"id": import_id, "attempt": attempt, "lines": chunk.lines, "seconds": seconds}
    values |= {"errors": storable_json(errors), "warnings": storable_json(warnings)}
    values["metrics"] = optional_json(metrics)
    written = connection.execute(_RECORD_CHUNK, values)
    if written.rowcount == 0:
        raise Superseded(f"The chunk at byte {chunk.byte_start:,} of import #{import_id} is committed already.")


_RECORD_CHUNK = sql.SQL("""
INSERT INTO sluice.chunks AS c (import_id, byte_start, byte_end, first_line, lines, {names},
                                errors, warnings, metrics, seconds, attempt)
VALUES (%(id)s, %(byte_start)s, %(byte_end)s, %(first_line)s, %(lines)s, {values},
        %(errors)s, %(warnings)s, %(metrics)s, %(seconds)s, %(attempt)s)
ON CONFLICT (import_id, byte_start) DO UPDATE SET
    {added}, errors = {errors}, warnings = {warnings},
    metrics = coalesce(excluded.metrics, c.metrics), seconds = c.seconds + excluded.seconds,
    attempt = excluded.attempt, committed_at = excluded.committed_at
WHERE c.byte_start = {adjustment}
""").format(
    names=_NAMES,
    values=sql.SQL(", ").join(map(sql.Placeholder, Counts.__slots__)),
    added=sql.SQL(", ").join(
        sql.SQL("{0} = c.{0} + excluded.{0}").format(sql.Identifier(name)) for name in Counts.__slots__
    ),
    errors=_ADDED_OBJECTS.format(sql.Identifier("errors")),
    warnings=_ADDED_OBJECTS.format(sql.Identifier("warnings")),
    adjustment=sql.Literal(ADJUSTMENT.byte_start),
)


@translated()
def rejected_before(connection: Connection, import_id: int, chunk: Chunk) -> int:
    """How many rows were rejected in the committed chunks before this one."""
    found = connection.execute(
        "SELECT coalesce(sum(rejected), 0)::bigint FROM sluice.chunks WHERE import_id = %s AND byte_start < %s",
        [import_id, chunk.byte_start],
    )
    return int(found.fetchall()[0][0])


@translated()
def totals(connection: Connection, import_id: int) -> Totals:
    """The sum over an import's committed chunks, adjustments included."""
    counts = Counts(*connection.execute(_SUMS, [import_id]).fetchall()[0])
    by_rule: dict[str, dict[str, int]] = {"errors": {}, "warnings": {}}
    for kind, code, number in connection.execute(_BY_RULE, [import_id, import_id]).fetchall():
        by_rule[kind][code] = int(number)
    by_category: dict[str, int] = {}
    for code, number in by_rule["errors"].items():
        category = str(category_of(code))
        by_category[category] = by_category.get(category, 0) + number
    return Totals(counts, by_rule["errors"], by_category, by_rule["warnings"])


_SUMS = sql.SQL("SELECT {} FROM sluice.chunks WHERE import_id = %s").format(
    sql.SQL(", ").join(
        sql.SQL("coalesce(sum({}), 0)::bigint").format(sql.Identifier(name)) for name in Counts.__slots__
    )
)

_BY_RULE = """
SELECT 'errors', key, sum(value::bigint) FROM sluice.chunks, jsonb_each_text(errors)
WHERE import_id = %s GROUP BY key HAVING sum(value::bigint) <> 0
UNION ALL
SELECT 'warnings', key, sum(value::bigint) FROM sluice.chunks, jsonb_each_text(warnings)
WHERE import_id = %s GROUP BY key HAVING sum(value::bigint) <> 0
ORDER BY 1, 3 DESC, 2
"""


@translated()
def finish(
    connection: Connection,
    import_id: int,
    attempt: int,
    status: Status,
    message: str,
    suite_result: Mapping[str, Any] | None = None,
) -> ImportRow:
    """End an import: add up its chunks, check the identity, store the totals, drop its working rows.

    Raises:
        IdentityMismatch: the counts do not add up, or the error table does not hold what was counted.
        ImportCancelled, Superseded: as `fence`.
    """
    with connection.transaction():
        _hold(connection, import_id, attempt)
        summed = totals(connection, import_id)
        _check_identity(connection, import_id, summed)
        _store(connection, import_id, status, message, summed, suite_result)
        connection.execute("DELETE FROM sluice.touched_keys WHERE import_id = %s", [import_id])
        connection.execute("DELETE FROM sluice.unique_values WHERE import_id = %s", [import_id])
        return get(connection, import_id)


@translated()
def fail(connection: Connection, import_id: int, attempt: int, status: Status, message: str) -> ImportRow:
    """End an attempt that did not reach the end (`failed` or `cancelled`); counts are those committed so far, and
    its working rows stay for a resume. Raises as `fence` when the import is in other hands already."""
    with connection.transaction():
        _hold(connection, import_id, attempt)
        _store(connection, import_id, status, message, totals(connection, import_id), None)
        return get(connection, import_id)


@translated()
def cancel(connection: Connection, import_id: int, message: str = "Cancelled.") -> bool:
    """Cancel an import from outside its process; False when it is not running. Waits for chunks that are being
    committed; every later one is shut out by `fence`."""
    with connection.transaction():
        connection.execute("SELECT FROM sluice.imports WHERE id = %s FOR UPDATE", [import_id])
        row = get(connection, import_id)
        if row.status != Status.RUNNING:
            return False
        fail(connection, import_id, row.attempt, Status.CANCELLED, message)
        return True


def _hold(connection: Connection, import_id: int, attempt: int) -> None:
    """Lock the import's row; from here on no chunk of it can commit, so sums are final."""
    held = connection.execute(
        "SELECT FROM sluice.imports WHERE id = %s AND attempt = %s AND status = 'running' FOR UPDATE",
        [import_id, attempt],
    )
    if held.rowcount == 0:
        raise _shut_out(connection, import_id, attempt)


def _check_identity(connection: Connection, import_id: int, summed: Totals) -> None:
    counts = summed.counts
    if not counts.balanced:
        raise IdentityMismatch(
            f"Import #{import_id} does not add up: {counts.records:,} records are not {counts.loaded:,} loaded + "
            f"{counts.updated:,} updated + {counts.unchanged:,} unchanged + {counts.skipped:,} skipped + "
            f"{counts.rejected:,} rejected.",
            hint="This is a bug in Sluice; nothing of the import was published as complete. Please report it.",
        )
    kept, explained = connection.execute(
        """
        SELECT count(*), count(*) FILTER (WHERE EXISTS (
            SELECT FROM sluice.row_errors AS e WHERE e.import_id = r.import_id AND e.line = r.line))
        FROM sluice.rejected_rows AS r WHERE import_id = %s
        """,
        [import_id],
    ).fetchall()[0]
    if not kept == explained == counts.rejected:
        raise IdentityMismatch(
            f"Import #{import_id} counted {counts.rejected:,} rejected rows, but the error table holds {kept:,}, "
            f"{explained:,} of them with a reason.",
            hint="This is a bug in Sluice; please report it.",
        )


def _store(
    connection: Connection,
    import_id: int,
    status: Status,
    message: str,
    summed: Totals,
    suite_result: Mapping[str, Any] | None,
) -> None:
    values: dict[str, Any] = {name: getattr(summed.counts, name) for name in Counts.__slots__}
    values |= {"id": import_id, "status": str(status), "message": storable(message)}
    values |= {"complete": is_complete(status), "cancelled": status == Status.CANCELLED}
    values |= {"rules": storable_json(summed.errors_by_rule), "categories": storable_json(summed.errors_by_category)}
    values |= {"warnings": storable_json(summed.warnings_by_rule)}
    values["suite_result"] = optional_json(suite_result)
    connection.execute(_STORE, values)


#: Time is that of all attempts, read off the chunks: an attempt that was killed has no other trace. The first one
#: began with the claim, a later one with its first chunk; each lasted until its last commit, this one until now.
_STORE = sql.SQL("""
WITH spans AS (
    SELECT c.attempt, min(c.committed_at - make_interval(secs => c.seconds)) AS began, max(c.committed_at) AS ended
    FROM sluice.chunks AS c WHERE c.import_id = %(id)s GROUP BY c.attempt
    UNION ALL
    SELECT 1, i.started_at, i.started_at FROM sluice.imports AS i WHERE i.id = %(id)s
), attempts AS (
    SELECT attempt, min(began) AS began, max(ended) AS ended FROM spans GROUP BY attempt
)
UPDATE sluice.imports AS i SET
    status = %(status)s, message = %(message)s, attempt = i.attempt + %(cancelled)s::int,
    {counts},
    errors_by_rule = %(rules)s, errors_by_category = %(categories)s, warnings_by_rule = %(warnings)s,
    suite_result = coalesce(%(suite_result)s, i.suite_result), finished_at = clock_timestamp(),
    first_pass = CASE WHEN %(complete)s THEN NULL ELSE i.first_pass END,
    bytes_done = CASE WHEN %(complete)s THEN i.bytes_total ELSE (
        SELECT coalesce(sum(byte_end - byte_start), 0) FROM sluice.chunks WHERE import_id = %(id)s) END,
    seconds = (SELECT sum(extract(epoch FROM
        CASE WHEN a.attempt = i.attempt THEN clock_timestamp() ELSE a.ended END - a.began)) FROM attempts AS a)
WHERE i.id = %(id)s
""").format(
    counts=sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in Counts.__slots__
    )
)
