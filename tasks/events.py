"""Events for Prefect's automations: `sluice.import.started`, `progress`, `completed`, `rejected`, `failed`.

The resource is `sluice.import.<id>` (`none` where the import failed before it had a number); Prefect relates the
flow run, its deployment and its tags by itself. An event that cannot be sent is lost: it never fails an import.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePath
from typing import Any

from prefect.events import emit_event

from sluice.importer import Progress
from sluice.markdown import plain
from sluice.model import Counts, Report, Status


def import_started(progress: Progress, about: dict[str, Any]) -> None:
    """Claimed: from here on it has a number."""
    _emit("started", progress.import_id, about, {**_progress(progress), **_counts(progress.counts)})


def import_progressed(progress: Progress, about: dict[str, Any]) -> None:
    """Every few seconds while it runs."""
    _emit("progress", progress.import_id, about, {**_progress(progress), **_counts(progress.counts)})


def import_ended(report: Report) -> None:
    """`completed` or `failed` (a cancelled one is a failed one with its own status), and `rejected` besides when
    rows were."""
    about = {"dataset": report.dataset or "", "table": report.table, "source": plain(PurePath(report.source).name)}
    payload = {
        "status": str(report.status),
        **_counts(Counts(*(getattr(report, name) for name in Counts.__slots__ if name != "blank_lines"))),
        "errors_by_category": {str(key): count for key, count in report.errors_by_category.items()},
        "seconds": report.seconds,
        "rows_per_second": report.rows_per_second,
        "message": plain(report.message, 1000),
    }
    completed = report.status in (Status.COMPLETED, Status.COMPLETED_WITH_REJECTS)
    _emit("completed" if completed else "failed", report.import_id, about, payload)
    if report.rejected:
        _emit("rejected", report.import_id, about, payload)


def _progress(progress: Progress) -> dict[str, Any]:
    return {"bytes_done": progress.bytes_done, "bytes_total": progress.bytes_total}


def _counts(counts: Counts) -> dict[str, Any]:
    names = [name for name in Counts.__slots__ if name != "blank_lines"]
    percent = round(100 * counts.rejected / counts.records, 2) if counts.records else 0.0
    return {name: getattr(counts, name) for name in names} | {"reject_percent": percent}


def _emit(kind: str, import_id: int | None, about: dict[str, Any], payload: dict[str, Any]) -> None:
    resource = {
        "prefect.resource.id": f"sluice.import.{import_id if import_id is not None else 'none'}",
        "prefect.resource.name": f"{about['dataset'] or about['table']} <- {about['source']}",
        "sluice.dataset": str(about["dataset"]),
        "sluice.table": str(about["table"]),
        # Whole percents, so that an automation can list the values it is for: triggers compare texts, not numbers.
        "sluice.reject-percent": str(int(payload["reject_percent"])),
    }
    with suppress(Exception):
        emit_event(f"sluice.import.{kind}", resource, payload={"import_id": import_id, **about, **payload})
