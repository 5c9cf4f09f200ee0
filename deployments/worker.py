"""A worker on a host of its own: `python -m deployments.worker`.

What `make up` starts of a worker, with the same settings, for a Prefect server on another host (PREFECT_API_URL). It
runs in the foreground and writes to its own output, for systemd or a container to keep. SIGTERM or Ctrl-C: no further
run is taken up, the runs of this host are ended, say so to the server, and are begun again elsewhere or resumed.
"""

from __future__ import annotations

import os
import sys

import click

from deployments.environment import worker_place_of
from deployments.processes import Child, end_marked
from deployments.up import CANCEL_SECONDS, CannotStart, Service, only_one
from sluice.settings import Settings

#: In the environment of a flow run's process, and of none that serves many of them.
_RUN = "PREFECT__FLOW_RUN_ID"


def main() -> int:
    """Serve until told to stop; the exit status."""
    settings = Settings.from_environment()
    place = worker_place_of(settings, os.environ)
    try:
        if settings.database_url is None:
            raise CannotStart(
                "SLUICE_DATABASE_URL is not set. A worker on a host of its own needs the database that all hosts share."
            )
        with only_one(settings.home, place) as file:
            return Worker(settings, place, file).run()
    except CannotStart as error:
        click.echo(f"cannot start: {error}")
        return 1


class Worker(Service):
    """The worker, and the process that its runs are forked from."""

    def _child(self, name: str, module: str, *arguments: str) -> Child:
        child = super()._child(name, module, *arguments)
        child.log = None
        return child

    def _start(self) -> None:
        end_marked(self._place.mark)
        self._start_child(self._worker)
        self._start_child(self._child("warm", "deployments.warm"))
        self._wait(self._worker, self._worker_is_online)

    def _stop(self) -> None:
        """The worker without a word: told to end, it would kill its runs before they could say what became of them."""
        self._worker.kill()
        ended = end_marked(self._place.mark, CANCEL_SECONDS, having=_RUN)
        end_marked(self._place.mark)
        click.echo(f"stopped; {ended} processes of running imports were ended")


if __name__ == "__main__":
    sys.exit(main())
