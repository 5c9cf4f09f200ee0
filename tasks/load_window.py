"""Load one window of chunks: some seconds of work, each chunk in its own transaction."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from sluice.importer import Import
from sluice.model import Chunk, Counts
from tasks.retries import RETRY_DELAYS, only_if_transient


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=only_if_transient,
)
def load_window(running: Import, window: tuple[Chunk, ...]) -> Counts:
    """Read, judge, route and load a window. Committed chunks are passed over, so a retry doubles nothing."""
    counts = running.load(window)
    get_run_logger().info(f"{name_of(window)}: {counts.records:,} records so far, {counts.rejected:,} rejected")
    return counts


def name_of(window: tuple[Chunk, ...]) -> str:
    """Which part of the file: its physical lines."""
    last = window[-1].first_line + window[-1].lines - 1
    return f"lines {window[0].first_line:,}-{last:,}"
