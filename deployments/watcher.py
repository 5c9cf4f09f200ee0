"""The inbox watcher, for as long as the service runs: `python -m deployments.watcher`, begun by `make up`.

It looks every half second and is light (no Prefect in it). Any number of them may run, beside the scheduled flow
`watch-inbox`; each step is one that only one of them can take, or that comes to the same when two do.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading

from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings
from tasks.inbox import Watch

#: Seconds between two looks: a look at an inbox of 1,000 files takes some hundredths.
_INTERVAL = 0.5

#: Seconds between two looks after one that failed.
_PAUSE = 3.0


def main() -> int:
    """Watch until SIGTERM or Ctrl-C."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    log = logging.getLogger("sluice.inbox")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings.from_environment()
    watch = Watch(settings, PrefectApi.from_environment(settings.home), log)
    log.info("watching %s", settings.inbox)
    said = ""
    while not stop.is_set():
        problem = ""
        try:
            watch.scan()
        except (PrefectApiError, OSError) as error:
            problem = str(error)
        if problem != said:
            log.warning("%s", problem or "all is well again")
            said = problem
        stop.wait(_PAUSE if problem else _INTERVAL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
