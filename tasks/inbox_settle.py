"""Put the files of an ended run where they belong, by what the ledger knows of each, and say so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from sluice.database import connect, database_url
from sluice.history import Connection
from sluice.inbox import Run, archived_name, numbered
from sluice.inbox_ledger import Known, by_content
from sluice.migrate import ensure_ledger
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings


def event_of(event: str, dataset: str, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The event `sluice.inbox.<event>`, as Prefect takes it."""
    return {
        "event": f"sluice.inbox.{event}",
        "resource": {"prefect.resource.id": f"sluice.inbox.{dataset}", "sluice.dataset": dataset},
        "payload": {"file": name.encode("utf-8", "backslashreplace").decode(), **payload},
    }


def emit(api: PrefectApi, event: str, dataset: str, name: str, payload: Mapping[str, Any]) -> None:
    """Send it without Prefect; best effort."""
    told = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat()}
    try:
        api.post("/events", [told | event_of(event, dataset, name, payload)])
    except PrefectApiError:
        logging.getLogger(__name__).debug("event %s was not sent", event)


Tell = Callable[..., None]


class Dropped(Protocol):
    """A dropped file that is being imported: `sluice.inbox_files.TakenFile`, `sluice.inbox_remote.Object`."""

    @property
    def dataset(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def origin(self) -> str: ...
    def sha256(self) -> str: ...
    def archive(self, name: str) -> bool: ...
    def fail(self, name: str, why: str) -> bool: ...


F = TypeVar("F", bound=Dropped)


def settle_ended(
    settings: Settings,
    files: Iterable[F],
    run: Run,
    *,
    retry: bool,
    tell: Tell,
    known_of: Callable[[Connection, Iterable[F]], Mapping[str, Known]],
) -> list[F]:
    """Move the files of a run that has ended: by what the ledger knows of each, or else by what the run says.

    With `retry` those that are not imported yet stay. Returns the ones that stay.

    Args:
        known_of: asks the ledger; source -> what it knows.

    Raises:
        SluiceError: the ledger or the store does not answer. OSError: a file cannot be moved.
    """
    left, files = [], list(files)
    with closing(connect(database_url(settings))) as connection:
        ensure_ledger(connection)
        known = known_of(connection, files)
        for file in files:
            found = known.get(file.source)
            if found is not None and found.done:
                settle_imported(file, found.import_id, tell)
            elif retry:
                left.append(file)
            elif (before := _before(connection, file)) is not None:
                settle_imported(file, before, tell, before=True)
            else:
                settle_failed(file, found, run.message or f"The run ended as {run.name}.", tell)
    return left


def _before(connection: Connection, file: Dropped) -> int | None:
    try:
        return by_content(connection, file.sha256(), file.dataset)
    except OSError:
        return None


def settle_imported(file: Dropped, import_id: int, tell: Tell, *, before: bool = False) -> None:
    """Into the archive, the import's number in the name."""
    if file.archive(archived_name(file.name, import_id, before=before)):
        tell("archived", file.dataset, file.name, import_id=import_id)


def settle_failed(file: Dropped, known: Known | None, why: str, tell: Tell) -> None:
    """Beside a text that says why, for a person to see to."""
    name = file.name if known is None else numbered(file.name, known.import_id)
    if file.fail(name, _why(file, known, why)):
        tell("failed", file.dataset, file.name, why=why)


def _why(file: Dropped, known: Known | None, why: str) -> str:
    kept = f"\nImport #{known.import_id} keeps what it had committed: `sluice show {known.import_id}`." if known else ""
    return (
        f"{file.name}\n\n{why}\n{kept}\n"
        f"Dataset: {file.dataset}. {file.origin}\n"
        f"Move the file (mended or not) back there to have it imported again; rows that are in the table already are "
        f"not doubled.\n"
    )
