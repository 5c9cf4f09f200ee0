"""Settle everything before the first row, and claim the import."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import Task

from sluice import history
from sluice.database import connect, database_url
from sluice.errors import SluiceError, TableBusy
from sluice.importer import Import
from sluice.migrate import ensure_ledger
from sluice.model import Report
from sluice.opening import opened
from sluice.reporting import report_of
from sluice.request import Request
from sluice.settings import Settings, user_name
from tasks.progress import current_listener
from tasks.retries import RETRY_DELAYS, only_if_transient


def _may_pass(task_: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what may pass; in a run that is tried again, a table that is busy, too: the process that was killed may
    have left a statement that is still running, and with it the lock."""
    if _is_retried() and isinstance(state.result(raise_on_failure=False), TableBusy):
        return True
    return only_if_transient(task_, run, state)


def _is_retried() -> bool:
    return (flow_run.run_count or 1) > 1


def report_of_earlier_attempt() -> Report | None:
    """Of a run that is tried again after it had completed its import (and was killed before it could say so)."""
    if not _is_retried():
        return None
    with suppress(SluiceError), closing(connect(database_url(Settings.from_environment()))) as connection:
        ensure_ledger(connection)
        row = history.of_flow_run(connection, str(flow_run.id))
        if row is not None and history.is_complete(row.status):
            return report_of(connection, row.id)
    return None


@task(
    task_run_name="claim",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_may_pass,
)
def claim(request: Request, stack: ExitStack, resume: int | None = None) -> Import:
    """Read the file through once, take its table, write its row in the ledger. `stack` ends the import."""
    running = stack.enter_context(
        opened(
            request,
            Settings.from_environment(),
            on_progress=current_listener(),
            flow_run_id=str(flow_run.id) if flow_run.id else None,
            started_by=user_name(),
            resume=resume,
        )
    )
    resumed = f", attempt {running.claimed.attempt}" if running.claimed.resumed else ""
    get_run_logger().info("Import #%s into %s%s", running.import_id, running.recipe.dataset.table, resumed)
    return running
