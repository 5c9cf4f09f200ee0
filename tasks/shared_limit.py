"""A limit of rows a second over all imports together: Prefect's global concurrency limit `sluice-rows`, if there is
one with slot decay. `prefect gcl create sluice-rows --limit 50000 --slot-decay-per-second 50000` makes one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from sluice.importer import Progress

NAME = "sluice-rows"

#: Longest wait between two tries, in seconds: how fast a limit that was raised, or removed, is noticed.
_LONGEST = 2.0

#: Seconds an import waits to learn whether there is a limit.
_PATIENCE = 5.0

#: Seconds the limit is left alone after the server did not answer: the load goes on without it.
_TRUCE = 30.0


class SharedLimit:
    """Listens to an import's progress, and holds it up after a chunk until its rows fit the limit."""

    def __init__(self, first: Progress) -> None:
        self._seen = first.counts.records
        self._not_before = 0.0
        self._holds = False
        # Whether there is such a limit is asked while the first chunk is loaded: 0.3 s that nobody has to wait for.
        context = copy_context()
        self._asking = threading.Thread(target=context.run, args=(self._ask,), name="sluice-limit", daemon=True)
        self._asking.start()

    def _ask(self) -> None:
        with suppress(Exception), _client() as client:  # there is none, or no server that could tell
            limit = client.read_global_concurrency_limit_by_name(NAME)
            self._holds = limit.active and limit.slot_decay_per_second > 0

    def __call__(self, progress: Progress) -> None:
        rows, self._seen = progress.counts.records - self._seen, progress.counts.records
        self._asking.join(_PATIENCE)
        if not self._holds or rows <= 0 or time.monotonic() < self._not_before:
            return
        try:
            with _client() as client:
                _take(client, rows)
        except Exception as error:  # whatever it is, the load goes on
            self._not_before = time.monotonic() + _TRUCE
            get_run_logger().warning("No answer about the limit %s, so it does not hold for now: %s", NAME, error)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": 10.0}) as client,
    ):
        yield client


def _take(client: SyncPrefectClient, rows: int) -> None:
    limit = client.read_global_concurrency_limit_by_name(NAME)
    while rows > 0 and limit.active:
        piece = min(rows, limit.limit)  # more at once is refused
        try:
            client.increment_concurrency_slots([NAME], piece, "rate_limit").raise_for_status()
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.LOCKED:
                raise
            time.sleep(min(piece / limit.slot_decay_per_second, _LONGEST) * random.uniform(0.5, 1.0))
            limit = client.read_global_concurrency_limit_by_name(NAME)
        else:
            rows -= piece
