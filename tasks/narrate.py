"""What a run of `import-file` tells Prefect, from its beginning to its end, whatever the end is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import flow_run

from sluice.errors import SluiceError
from sluice.importer import Import, Progress
from sluice.location import locate
from sluice.markdown import plain, shortened
from sluice.model import Report
from sluice.reporting import report_of_nothing
from sluice.request import Request
from tasks.events import import_ended, import_started
from tasks.live import HURRY, PATIENCE, LiveRun
from tasks.results import artifacts_of, artifacts_of_dry_run
from tasks.shared_limit import SharedLimit

#: Characters of a file's or table's name in the name of a run: Prefect's pages have room for some sixty, and what
#: is done in percent comes at the end.
_SHORT = 40


def run_name() -> str:
    """`customers <- customers-2026-11.csv`, of the parameters of the run that begins."""
    parameters = flow_run.parameters
    return _name(str(parameters.get("dataset") or parameters.get("table")), str(parameters["source"]))


def _name(into: str, source: str) -> str:
    return f"{shortened(plain(into), _SHORT)} <- {shortened(plain(_file_name(source)), _SHORT)}"


def _file_name(source: str) -> str:
    """Its last part, without what an address may hold of credentials."""
    with suppress(SluiceError):
        return PurePath(locate(source).shown).name
    return "?"


class Narrator:
    """Made by `narrated`. A dry run is narrated, too, but is no event."""

    def __init__(self, request: Request) -> None:
        self._request = request
        name = _name(request.dataset or request.table or "", request.source)
        self._live = LiveRun(UUID(str(flow_run.id)), name, flow_run.tags, request.dataset)
        self._limit: SharedLimit | None = None
        self._over = False

    def begin(self, running: Import) -> None:
        """The import is claimed: it has a number, and a table."""
        first = running.progress
        about: dict[str, Any] = {
            "dataset": self._request.dataset or "",
            "table": str(running.plan.into),
            "source": plain(_file_name(self._request.source)),
        }
        if not self._request.dry_run:
            import_started(first, about)
        self._live.begin(first, about, with_events=not self._request.dry_run)
        self._limit = SharedLimit(first)

    def progress(self, progress: Progress) -> None:
        """A chunk was committed. Waits here for the limit that all imports share."""
        self._live.progress(progress)
        if self._limit is not None:
            self._limit(progress)

    def completed(self, report: Report) -> None:
        """All of it is in its place."""
        if self._request.dry_run:
            self._end(None, artifacts_of_dry_run(report), PATIENCE)
        else:
            assert report.import_id is not None
            self._end(report, artifacts_of(report.import_id)[1], PATIENCE)

    def failed(self, error: BaseException) -> None:
        """It ended early: of itself, or because somebody stopped it."""
        patience = PATIENCE if isinstance(error, Exception) else HURRY
        report: Report | None = None
        artifacts: list[ArtifactCreate] = []
        if self._live.import_id is not None and not self._request.dry_run:
            report, artifacts = artifacts_of(self._live.import_id)
        if report is None and not self._request.dry_run:
            report = report_of_nothing(self._request.source, self._request.dataset, str(error))
        self._end(report, artifacts, patience)

    def _end(self, report: Report | None, artifacts: list[ArtifactCreate], patience: float) -> None:
        if self._over:
            return
        self._over = True
        if report is not None:
            import_ended(report)
        self._live.end(artifacts, patience)


@contextmanager
def narrated(request: Request) -> Iterator[Narrator]:
    """Narrate the import that runs in the block; what leaves it as an exception is told as a failure."""
    narrator = Narrator(request)
    try:
        yield narrator
    except BaseException as error:
        narrator.failed(error)
        raise
