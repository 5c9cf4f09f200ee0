"""Settle everything before the first row, and claim the import."""

from __future__ import annotations

import getpass
from contextlib import ExitStack

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from sluice.importer import Import
from sluice.opening import opened
from sluice.request import Request
from sluice.settings import Settings
from tasks.progress import current_listener
from tasks.retries import RETRY_DELAYS, only_if_transient


@task(
    task_run_name="claim",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=only_if_transient,
)
def claim(request: Request, stack: ExitStack, resume: int | None = None) -> Import:
    """Read the file through once, take its table, write its row in the ledger. `stack` ends the import."""
    running = stack.enter_context(
        opened(
            request,
            Settings.from_environment(),
            on_progress=current_listener(),
            flow_run_id=str(flow_run.id) if flow_run.id else None,
            started_by=getpass.getuser(),
            resume=resume,
        )
    )
    resumed = f", attempt {running.claimed.attempt}" if running.claimed.resumed else ""
    get_run_logger().info("Import #%s into %s%s", running.import_id, running.recipe.dataset.table, resumed)
    return running
