"""The last step: judge the file as a whole, make staged rows visible, close the import."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from sluice.importer import Import
from sluice.model import Report
from tasks.retries import RETRY_DELAYS, only_if_transient


@task(
    task_run_name="publish",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=only_if_transient,
)
def publish(running: Import) -> Report:
    """One transaction: all of it holds, or none."""
    return running.finish()
