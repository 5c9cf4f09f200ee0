"""Look at the inbox for some seconds: for schedules, where the watcher process of `make up` does not run."""

from __future__ import annotations

import time
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL
from prefect.states import Completed

from flows.form import asked
from sluice.inbox_remote import LOOK_SECONDS, RemoteInbox
from sluice.prefect_api import PrefectApi
from sluice.settings import Settings
from tasks.inbox import Watch
from tasks.inbox_store import StoreWatch
from tasks.lost import LostImports

_INTERVAL = 0.5


def prefect_api() -> PrefectApi:
    """The server this run belongs to."""
    auth: str | None = PREFECT_API_AUTH_STRING.value()  # the text itself, although the setting is a secret
    return PrefectApi(str(PREFECT_API_URL.value()).rstrip("/"), auth or None)


@flow(name="watch-inbox", persist_result=False)
def watch_inbox(
    seconds: Annotated[
        float, asked("Seconds", "How long to look; the run ends early when nothing is left.", ge=0, le=3600)
    ] = 20.0,
) -> State[Any]:
    """Begin an import for every complete file under the inbox, and move those away that have ended.

    It may run beside the watcher process and beside itself: a file is taken by one of them only.
    """
    settings = Settings.from_environment()
    watch = Watch(settings, prefect_api(), get_run_logger())
    LostImports(settings, prefect_api(), get_run_logger()).look()
    remote = RemoteInbox.from_environment()
    store = None if remote is None else StoreWatch(settings, watch.api, watch.log, remote)
    in_store, look_at = 0, 0.0
    deadline = time.monotonic() + seconds
    while True:
        if store is not None and time.monotonic() >= look_at:
            in_store, look_at = store.scan(), time.monotonic() + LOOK_SECONDS
        left = watch.scan() + in_store
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(_INTERVAL)
    return Completed(message=f"{left:,} files are waiting or being imported." if left else "The inbox is empty.")
