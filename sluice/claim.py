"""Who may write to an import: the claim of a content, the lock of a table, the attempt's number.

A content is claimed by a unique index; a table is held by a session lock, which the server releases when the
process dies. So an import that is `running` while nobody holds its table has lost its process, and may be resumed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from sluice.database import translated
from sluice.errors import AlreadyImported, TableBusy, UsageError
from sluice.history import Connection, ImportRow, get, is_complete
from sluice.migrate import LOCK_CLASS
from sluice.model import Status, TableName
from sluice.storable import optional_json, storable, storable_json


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be imported. `fingerprint` covers content, target and every option that changes the outcome;
    `options`, `dialect`, `plan` and `first_pass` (`sluice.first_pass`) are JSON values; `bytes_total` is the size of
    the text in UTF-8."""

    dataset: str | None
    table: TableName
    source: str
    sha256: str
    size: int
    fingerprint: str
    options: Mapping[str, Any]
    dialect: Mapping[str, Any]
    plan: Mapping[str, Any]
    bytes_total: int
    flow_run_id: str | None = None
    started_by: str | None = None
    force: bool = False
    first_pass: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DoneChunk:
    """A chunk that is committed: nothing in its range of bytes is to be loaded again."""

    byte_start: int
    byte_end: int
    first_line: int
    lines: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """The right to write to an import. `attempt` is its fencing number.

    `row` is the import as stored: on a resume its dialect and plan are those of the first attempt, and hold.
    `done` are the committed chunks, ascending; none on a first attempt.
    """

    import_id: int
    attempt: int
    resumed: bool
    done: tuple[DoneChunk, ...]
    row: ImportRow


@contextmanager
def table_lock(connection: Connection, table: TableName, *, wait: bool) -> Iterator[None]:
    """Hold a target table for one import. It belongs to the session: a process that dies lets go of it.

    Take it before `claim` or `resume`, on a connection that is in no transaction.

    Raises:
        TableBusy: somebody else holds it and `wait` is False.
    """
    key = _lock_key(table)
    with translated():
        if wait:
            connection.execute("SELECT pg_advisory_lock(%s, %s)", key)
        elif not connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchall()[0][0]:
            raise _busy(connection, table)
    try:
        yield
    finally:
        # Of a lost connection the server lets go by itself; what the block had committed stays committed.
        with suppress(psycopg.OperationalError):
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)


@translated()
def claim(connection: Connection, wanted: Claim) -> Claimed:
    """Begin an import, or go on with one of the same content that did not reach its end. Hold the table's lock.

    With `force`, content that is in the table already is imported once more, under the next `force_no`; but an
    unfinished import is always resumed first, so that a forced import killed and started again loads once.

    Raises:
        AlreadyImported: this content is in the table.
        TableBusy: an import of it is running in a live process.
    """
    with connection.transaction():
        while True:
            holder = _holder(connection, wanted)
            if holder is not None and not is_complete(holder.status):
                return _take_over(connection, holder, wanted)
            if holder is not None and not wanted.force:
                raise _already_imported(holder)
            force_no = 0 if holder is None else holder.force_no + 1
            if (import_id := _insert(connection, wanted, force_no)) is not None:
                return Claimed(import_id, 1, False, (), get(connection, import_id))
            # Somebody else was faster by a moment: the unique index refused. Look again at who it is.


@translated()
def refuse_repetition(connection: Connection, wanted: Claim) -> None:
    """A look ahead of `claim`, which has the last word, for the caller that has costly things to do before it.

    Raises:
        AlreadyImported: this content is in the table.
        UsageError: an import of this file into this table is unfinished, and was begun in another way: rows of it
            may be in the table, and an import beside it would double them.
    """
    holder = _holder(connection, wanted)
    if holder is not None:
        if is_complete(holder.status):
            raise _already_imported(holder)
        return
    if held_by_another(connection, wanted.table):
        return  # whatever runs there will be met at the lock
    # A killed process leaves `running` and no totals, so the chunks are asked. What an atomic import staged is not in
    # the table, so nothing would be doubled.
    unfinished = connection.execute(
        "SELECT id FROM sluice.imports AS i WHERE table_name = %s AND sha256 = %s AND plan->>'commit' <> 'atomic'"
        " AND status IN ('running', 'failed', 'cancelled') AND EXISTS ("
        "SELECT FROM sluice.chunks WHERE import_id = i.id AND loaded + updated > 0) ORDER BY id DESC LIMIT 1",
        [str(wanted.table), wanted.sha256],
    ).fetchone()
    if unfinished is not None:
        raise UsageError(
            f"Import #{unfinished[0]} of this very file into {wanted.table} ended half-way, and was begun with other "
            "options or another definition of the dataset.",
            hint=f"Continue it (`sluice resume {unfinished[0]}`), or use --force to import it beside that.",
        )


@translated()
def resume(connection: Connection, import_id: int) -> Claimed:
    """Go on with an import by its number. Hold its table's lock (`get` names the table).

    Raises:
        UsageError: there is none, or it is complete, or undone.
        TableBusy: it is running in a live process.
    """
    with connection.transaction():
        connection.execute("SELECT FROM sluice.imports WHERE id = %s FOR UPDATE", [import_id])
        row = get(connection, import_id)
        if is_complete(row.status):
            raise UsageError(f"Import #{import_id} is complete; there is nothing to resume.")
        if row.status == Status.UNDONE:
            raise UsageError(f"Import #{import_id} was undone.", hint="Import its file again.")
        return _take_over(connection, row, None)


def _holder(connection: Connection, wanted: Claim) -> ImportRow | None:
    """The import that stands for this content: without force a complete one before an unfinished one, with force
    the latest. Its row is locked until the claim is decided."""
    found = connection.execute(
        "SELECT id, status FROM sluice.imports WHERE fingerprint = %s AND status <> 'undone'"
        " ORDER BY force_no DESC FOR UPDATE",
        [wanted.fingerprint],
    ).fetchall()
    if not found:
        return None
    complete = [import_id for import_id, status in found if is_complete(status)]
    return get(connection, complete[0] if complete and not wanted.force else found[0][0])


def _insert(connection: Connection, wanted: Claim, force_no: int) -> int | None:
    values = {
        "dataset": wanted.dataset,
        "table_name": str(wanted.table),
        "source": storable(wanted.source),
        "sha256": wanted.sha256,
        "size": wanted.size,
        "fingerprint": wanted.fingerprint,
        "force_no": force_no,
        "options": storable_json(wanted.options),
        "dialect": storable_json(wanted.dialect),
        "plan": storable_json(wanted.plan),
        "bytes_total": wanted.bytes_total,
        "flow_run_id": wanted.flow_run_id,
        "started_by": wanted.started_by,
        "first_pass": optional_json(wanted.first_pass),
    }
    found = connection.execute(
        """
        INSERT INTO sluice.imports (dataset, table_name, source, sha256, size, fingerprint, force_no,
                                    options, dialect, plan, bytes_total, flow_run_id, started_by, first_pass)
        VALUES (%(dataset)s, %(table_name)s, %(source)s, %(sha256)s, %(size)s, %(fingerprint)s, %(force_no)s,
                %(options)s, %(dialect)s, %(plan)s, %(bytes_total)s, %(flow_run_id)s, %(started_by)s, %(first_pass)s)
        ON CONFLICT (fingerprint, force_no) WHERE status <> 'undone' DO NOTHING
        RETURNING id
        """,
        values,
    ).fetchone()
    return found[0] if found is not None else None


def _take_over(connection: Connection, row: ImportRow, wanted: Claim | None) -> Claimed:
    """One attempt more. Options and originator are the new caller's (a raised limit, another flow run)."""
    if row.status == Status.RUNNING and held_by_another(connection, row.table):
        raise _busy(connection, row.table)
    values = {
        "id": row.id,
        "options": storable_json(wanted.options if wanted is not None else row.options),
        "flow_run_id": wanted.flow_run_id if wanted is not None else row.flow_run_id,
        "started_by": wanted.started_by if wanted is not None else row.started_by,
        "first_pass": optional_json(wanted.first_pass) if wanted is not None else None,
    }
    connection.execute(
        "UPDATE sluice.imports SET status = 'running', attempt = attempt + 1, finished_at = NULL, message = '',"
        " options = %(options)s, flow_run_id = %(flow_run_id)s, started_by = %(started_by)s,"
        " first_pass = coalesce(%(first_pass)s, first_pass) WHERE id = %(id)s",
        values,
    )
    taken = get(connection, row.id)
    return Claimed(row.id, taken.attempt, True, done_chunks(connection, row.id), taken)


def done_chunks(connection: Connection, import_id: int) -> tuple[DoneChunk, ...]:
    """The committed chunks of an import, ascending."""
    done = connection.execute(
        "SELECT byte_start, byte_end, first_line, lines FROM sluice.chunks"
        " WHERE import_id = %s AND byte_start >= 0 ORDER BY byte_start",
        [import_id],
    )
    return tuple(DoneChunk(*chunk) for chunk in done)


def _already_imported(row: ImportRow) -> AlreadyImported:
    when = row.finished_at or row.started_at
    written = row.loaded + row.updated
    return AlreadyImported(
        f"This file was already imported into {row.table_name} as #{row.id} on {when:%Y-%m-%d %H:%M} UTC: "
        f"{row.records:,} records, {written:,} rows written, {row.rejected:,} rejected.",
        import_id=row.id,
        hint="Use --force to import it again.",
    )


def _lock_key(table: TableName) -> tuple[int, int]:
    digest = hashlib.sha256(json.dumps([table.schema, table.name]).encode()).digest()
    return LOCK_CLASS, int.from_bytes(digest[:4], "big") & 0x7FFFFFFF | 1  # 0 is the migrations' lock


@translated()
def held_by_another(connection: Connection, table: TableName) -> bool:
    """Whether another session holds the table for an import."""
    query = """
        SELECT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND classid = %s::oid AND objid = %s::oid AND objsubid = 2 AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND pid <> pg_backend_pid())
    """
    return bool(connection.execute(query, _lock_key(table)).fetchall()[0][0])


def _busy(connection: Connection, table: TableName) -> TableBusy:
    found = connection.execute(
        "SELECT id, source FROM sluice.imports WHERE table_name = %s AND status = 'running' ORDER BY id DESC LIMIT 1",
        [str(table)],
    ).fetchone()
    who = f"import #{found[0]} of {found[1]}" if found is not None else "another import"
    return TableBusy(f"{who[0].upper()}{who[1:]} is writing to {table}.", hint="Wait until it ends, or cancel it.")
