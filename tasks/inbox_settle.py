"""Put the files of an ended run where they belong, by what the ledger knows of each, and say so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sluice import inbox_files as files
from sluice.database import connect, database_url
from sluice.inbox import Run, archived_name, numbered
from sluice.inbox_files import Taken
from sluice.inbox_ledger import Known, by_content, by_source
from sluice.migrate import ensure_ledger
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings


def emit(api: PrefectApi, event: str, dataset: str, name: str, payload: Mapping[str, Any]) -> None:
    """An event `sluice.inbox.<event>`; best effort."""
    body = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": f"sluice.inbox.{event}",
        "resource": {"prefect.resource.id": f"sluice.inbox.{dataset}", "sluice.dataset": dataset},
        "payload": {"file": name.encode("utf-8", "backslashreplace").decode(), **payload},
    }
    try:
        api.post("/events", [body])
    except PrefectApiError:
        logging.getLogger(__name__).debug("event %s was not sent", event)


Tell = Callable[..., None]


def settle_ended(settings: Settings, claim: Taken, run: Run, *, retry: bool, tell: Tell) -> list[Path]:
    """Move the files of a run that has ended: by what the ledger knows of each, or else by what the run says.

    With `retry` those that are not imported yet stay. Returns the ones that stay.

    Raises:
        SluiceError: the ledger does not answer. OSError: a file cannot be moved.
    """
    left = []
    with closing(connect(database_url(settings))) as connection:
        ensure_ledger(connection)
        known = by_source(connection, [str(path) for path in claim.files])
        for path in claim.files:
            found = known.get(str(path))
            if found is not None and found.done:
                settle_imported(settings, claim, path, found.import_id, tell)
            elif retry:
                left.append(path)
            elif (before := _before(connection, path, claim.dataset)) is not None:
                settle_imported(settings, claim, path, before, tell, before=True)
            else:
                settle_failed(settings, claim, path, found, run.message or f"The run ended as {run.name}.", tell)
    return left


def _before(connection: Any, path: Path, dataset: str) -> int | None:
    try:
        return by_content(connection, path, dataset)
    except OSError:
        return None


def settle_imported(
    settings: Settings, claim: Taken, path: Path, import_id: int, tell: Tell, *, before: bool = False
) -> None:
    """Into the archive, the import's number in the name."""
    name = archived_name(path.name, import_id, before=before)
    if files.archive(path, settings.home, claim, name) is not None:
        tell("archived", claim.dataset, path.name, import_id=import_id)


def settle_failed(settings: Settings, claim: Taken, path: Path, known: Known | None, why: str, tell: Tell) -> None:
    """Beside a text that says why, for a person to see to."""
    name = path.name if known is None else numbered(path.name, known.import_id)
    if files.fail(path, settings.home, claim, name, _why(claim, path, known, why)) is not None:
        tell("failed", claim.dataset, path.name, why=why)


def _why(claim: Taken, path: Path, known: Known | None, why: str) -> str:
    kept = f"\nImport #{known.import_id} keeps what it had committed: `sluice show {known.import_id}`." if known else ""
    return (
        f"{path.name}\n\n{why}\n{kept}\n"
        f"Dataset: {claim.dataset}. Taken: {claim.key[:15]} UTC, out of {claim.folder.parents[1]}.\n"
        f"Move the file (mended or not) back there to have it imported again; rows that are in the table already are "
        f"not doubled.\n"
    )
