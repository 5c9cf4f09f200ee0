"""Where the service is, and the environment its processes get."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments import run
from deployments.processes import MARK
from deployments.runs import POOL
from sluice.prefect_api import DEFAULT_PORT
from sluice.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]

#: Set unless the operator set them. Prefect reads prefect.toml in its working folder only, which for a flow run is a
#: temporary one, so that what a run needs is said here again.
_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_API_URL": "/api",  # as seen by the browser, through whatever proxy or port map
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # the zombie automation counts on it
    "PYTHONUNBUFFERED": "1",  # logs as they happen
}

#: Flow runs at once: an import uses a core, and 100 to 400 MB.
_LEAST_RUNS = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is.

    Attributes:
        host, port: what the server binds to.
        auth: `user:password` of UI and API, if they ask for one. Never shown.
        environ: of every child. May hold secrets; never shown.
        mark: the value of `_SLUICE_SERVICE` in `environ`.
    """

    project: Path
    logs: Path
    host: str
    port: int
    mark: str
    worker_name: str
    runs_at_once: int
    auth: str | None = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)

    @property
    def ui_url(self) -> str:
        """For browsers on this machine, and for our own clients."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.ui_url}/api"

    @property
    def worker_arguments(self) -> tuple[str, ...]:
        """Of `python -m prefect`. One name, so that a restart does not add a worker to those that are offline."""
        name = ("--name", self.worker_name, "--limit", str(self.runs_at_once))
        return ("worker", "start", "--pool", POOL, "--type", "process", "--install-policy", "never", *name)


def place_of(settings: Settings, told: Mapping[str, str]) -> Place:
    """From the environment `told`. A variable that is set to nothing counts as not set."""
    environ = {name: value for name, value in told.items() if value or not name.startswith(("PREFECT_", "SLUICE_"))}
    auth = environ.get("PREFECT_SERVER_API_AUTH_STRING")
    place = Place(
        project=PROJECT,
        logs=settings.home / "logs",
        host=environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1"),
        port=int(environ.get("PREFECT_SERVER_API_PORT", DEFAULT_PORT)),
        mark=str(settings.home),
        worker_name=socket.gethostname(),
        runs_at_once=int(environ.get("SLUICE_RUNS_AT_ONCE", max(_LEAST_RUNS, os.cpu_count() or 1))),
        auth=auth,
        environ=environ,
    )
    environ.update(_of_children(place, settings))
    for name, value in _DEFAULTS.items():
        environ.setdefault(name, value)
    environ.setdefault("PREFECT_HOME", str(settings.home / "prefect"))
    return place


def _of_children(place: Place, settings: Settings) -> dict[str, str]:
    """What a child must have, whatever the operator's shell says: this service, and absolute folders."""
    no_proxy = [place.environ.get("NO_PROXY") or place.environ.get("no_proxy") or "", "127.0.0.1", "localhost"]
    own = {
        MARK: place.mark,
        run.FOLDER: str(settings.home),
        # The job command begins with `python`, so that a deployment fits every host.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), place.environ.get("PATH", os.defpath)]),
        "PREFECT_API_URL": place.api_url,
        "PREFECT_SERVER_API_HOST": place.host,
        "PREFECT_SERVER_API_PORT": str(place.port),
        "SLUICE_HOME": str(settings.home),
        "SLUICE_INBOX": str(settings.inbox),
        "SLUICE_DATASETS": str(settings.datasets),
        "NO_PROXY": ",".join(filter(None, no_proxy)),
    }
    own["no_proxy"] = own["NO_PROXY"]
    if place.auth:
        own["PREFECT_API_AUTH_STRING"] = place.auth
    return own
