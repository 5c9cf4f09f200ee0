"""A whole import in one call, with the engine alone: no run is recorded in Prefect."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from sluice import history
from sluice.database import connect
from sluice.database import database_url as url_of
from sluice.importer import OnProgress
from sluice.migrate import ensure_ledger
from sluice.model import Report
from sluice.opening import opened
from sluice.request import Request, request_of
from sluice.settings import Settings


def import_file(
    source: str,
    *,
    dataset: str | None = None,
    table: str | None = None,
    database_url: str | None = None,
    progress: OnProgress | None = None,
    **options: Any,
) -> Report:
    """Import one file with the engine alone; no run is recorded in Prefect.

    Args:
        source: path or URI.
        dataset, table: exactly one of the two.
        database_url: where not SLUICE_DATABASE_URL (or the embedded server) is meant.
        progress: called after every chunk.
        options: as on the command line, with underscores: `all_text=True`, `skip_lines=2`, `max_rejects="10%"`.

    Raises:
        SluiceError: see `sluice.errors`.
    """
    request = request_of(source, dataset=dataset, table=table, **options)
    settings = Settings.from_environment()
    if database_url is not None:
        settings = replace(settings, database_url=database_url)
    return run(request, settings, on_progress=progress)


def run(
    request: Request,
    settings: Settings,
    *,
    on_progress: OnProgress | None = None,
    started_by: str | None = None,
    resume: int | None = None,
) -> Report:
    """All of an import in this process."""
    with opened(request, settings, on_progress=on_progress, started_by=started_by, resume=resume) as running:
        for window in running.windows:
            running.load(window)
        return running.finish()


def request_to_resume(settings: Settings, import_id: int) -> Request:
    """The request an import was begun with. Raises UsageError when there is none of that number."""
    with closing(connect(url_of(settings))) as connection:
        ensure_ledger(connection)
        return Request.from_dict(history.get(connection, import_id).options)
