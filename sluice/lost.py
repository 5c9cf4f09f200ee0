"""Imports that have lost their process: `running` in the ledger, while nobody holds their table.

A process that is killed leaves its row as it was. Somebody else has to write down that it failed, and must not do so
to one that lives: it may have lost the database for a moment, and hold its table again in the next. So either whoever
ran the process says that it is over, or the table has been free for longer than any attempt to get it back takes.
"""

from __future__ import annotations

from sluice.claim import held_by_another
from sluice.database import translated
from sluice.history import Connection, ImportRow, get
from sluice.ledger import fail
from sluice.model import Status

#: Seconds after which an import whose table is free has no process, whatever anybody says. One that lost its connection
#: asks for the table again after 2, 10 and 60 seconds at the latest (`tasks.retries`), and waits 10 for an answer.
FREE_SECONDS = 150.0


def verdict(run_state: str | None, free_seconds: float) -> Status | None:
    """How an import whose table is free has ended; None where it may still live.

    Args:
        run_state: the type of the state its flow run ended in; None for one that is under way, or that nobody knows.
        free_seconds: how long its table has been free, as far as that was seen.
    """
    if run_state == "CANCELLED":
        return Status.CANCELLED
    if run_state is not None or free_seconds >= FREE_SECONDS:
        return Status.FAILED
    return None


@translated()
def silent_imports(connection: Connection) -> list[ImportRow]:
    """The imports that are `running` while nobody holds their table, the oldest first."""
    running = connection.execute("SELECT id FROM sluice.imports WHERE status = 'running' ORDER BY id").fetchall()
    rows = [get(connection, import_id) for (import_id,) in running]
    return [row for row in rows if row.status == Status.RUNNING and not held_by_another(connection, row.table)]


@translated()
def end_silent(connection: Connection, silent: ImportRow, status: Status) -> bool:
    """Write down that it ended; False where it has been taken over, or has ended by itself, since it was looked at.

    Its row is locked while its table is looked at. Who takes over an import takes the table first and then the row:
    either that is seen here, or the import is found ended there, and gone on with.
    """
    with connection.transaction():
        connection.execute("SELECT FROM sluice.imports WHERE id = %s FOR UPDATE", [silent.id])
        row = get(connection, silent.id)
        if (row.attempt, row.status) != (silent.attempt, Status.RUNNING) or held_by_another(connection, row.table):
            return False
        message = f"Its process is gone. What it had committed is kept; `sluice resume {row.id}` continues it."
        fail(connection, row.id, row.attempt, status, message)
        return True
