"""The watcher, for as long as the service runs: `python -m deployments.watcher`, begun by `make up`.

It looks at the inbox every half second, and for imports that have lost their process, and is light (no Prefect in it).
Any number of them may run, beside the scheduled flow `watch-inbox`; each step is one that only one of them can take,
or that comes to the same when two do.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable

from sluice.errors import SluiceError
from sluice.inbox_remote import LOOK_SECONDS, RemoteInbox
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings
from tasks.inbox import Watch
from tasks.inbox_store import StoreWatch
from tasks.lost import LostImports

#: Seconds between two looks: a look at an inbox of 1,000 files takes some hundredths.
_INTERVAL = 0.5

#: Seconds between two looks after one that failed.
_PAUSE = 3.0

#: Seconds between two looks for imports without a process: each connects to the database.
_LOST_INTERVAL = 3.0

_LOG = logging.getLogger("sluice.inbox")


def main() -> int:
    """Watch until SIGTERM or Ctrl-C."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # says every step by which it makes the ledger
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings.from_environment()
    api = PrefectApi.from_environment(settings.home)
    watch, lost = Watch(settings, api, _LOG), LostImports(settings, api, _LOG)
    threading.Thread(target=_again_and_again, args=(lost.look, _LOST_INTERVAL, stop), daemon=True).start()
    _LOG.info("watching %s", settings.inbox)
    remote = RemoteInbox.from_environment()
    if remote is not None:  # in a thread, so that a slow store holds up no local file
        _LOG.info("watching %s", remote.uri)
        store = StoreWatch(settings, watch.api, _LOG, remote)
        threading.Thread(target=_again_and_again, args=(store.scan, LOOK_SECONDS, stop), daemon=True).start()
    _again_and_again(watch.scan, _INTERVAL, stop)
    return 0


def _again_and_again(look: Callable[[], object], interval: float, stop: threading.Event) -> None:
    """Look until told to stop. What goes wrong is said once; all there is to know is outside of this process."""
    said = ""
    while not stop.is_set():
        problem = ""
        try:
            look()
        except (PrefectApiError, SluiceError, OSError) as error:
            problem = str(error)
        if problem != said:
            _LOG.warning("%s", problem or "all is well again")
            said = problem
        stop.wait(max(interval, _PAUSE) if problem else interval)


if __name__ == "__main__":
    sys.exit(main())
