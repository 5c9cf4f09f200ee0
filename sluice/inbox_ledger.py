"""What the ledger knows of dropped files: the last word on whether one was imported, and as what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.database import translated
from sluice.history import Connection, is_complete
from sluice.model import Status
from sluice.storable import storable


@dataclass(frozen=True, slots=True)
class Known:
    """An import of a file. `done`: every record of it is in its place (or was, and the import was undone since)."""

    import_id: int
    done: bool
    message: str


@translated()
def by_source(connection: Connection, sources: Iterable[str], run: str | None = None) -> dict[str, Known]:
    """The latest import of each source, by the path or address it was imported from.

    Args:
        run: only those of this flow run; an address may name another file by now.
    """
    stored = {storable(source): source for source in sources}
    found = connection.execute(
        "SELECT DISTINCT ON (source) source, id, status, message FROM sluice.imports WHERE source = ANY(%s)"
        " AND (flow_run_id = %s OR %s::text IS NULL) ORDER BY source, id DESC",
        [list(stored), run, run],
    ).fetchall()
    return {
        stored[source]: Known(import_id, is_complete(status) or status == Status.UNDONE, message)
        for source, import_id, status, message in found
    }


@translated()
def by_content(connection: Connection, sha256: str, dataset: str) -> int | None:
    """The complete import of this very content into a dataset, from wherever it came."""
    found = connection.execute(
        "SELECT id FROM sluice.imports WHERE sha256 = %s AND dataset = %s AND status = ANY(%s)"
        " ORDER BY id DESC LIMIT 1",
        [sha256, dataset, [Status.COMPLETED, Status.COMPLETED_WITH_REJECTS]],
    ).fetchone()
    return None if found is None else int(found[0])
