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
from sluice.prefect_api import DEFAULT_PORT, PrefectApi
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
        host, port: what the server binds to, where it is started here.
        api_url: of the server, here or on another host; ends in `/api`.
        auth: `user:password` of UI and API, if they ask for one. Never shown.
        environ: of every child. May hold secrets; never shown.
        mark: the value of `_SLUICE_SERVICE` in `environ`.
    """

    project: Path
    logs: Path
    host: str
    port: int
    api_url: str
    mark: str
    worker_name: str
    runs_at_once: int
    auth: str | None = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)

    @property
    def ui_url(self) -> str:
        """For browsers on this machine."""
        return self.api_url.removesuffix("/api")

    @property
    def worker_arguments(self) -> tuple[str, ...]:
        """Of `python -m prefect`. One name, so that a restart does not add a worker to those that are offline."""
        name = ("--name", self.worker_name, "--limit", str(self.runs_at_once))
        return ("worker", "start", "--pool", POOL, "--type", "process", "--install-policy", "never", *name)


def place_of(settings: Settings, told: Mapping[str, str]) -> Place:
    """The service on this machine, from the environment `told`."""
    environ = environ_of(settings, told)
    host = environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
    port = int(environ.get("PREFECT_SERVER_API_PORT", DEFAULT_PORT))
    environ |= {"PREFECT_SERVER_API_HOST": host, "PREFECT_SERVER_API_PORT": str(port)}
    return _place(
        settings, environ, host, port, PrefectApi(_own_api(host, port), environ.get("PREFECT_SERVER_API_AUTH_STRING"))
    )


def worker_place_of(settings: Settings, told: Mapping[str, str]) -> Place:
    """A worker's host, whose server is that of `PREFECT_API_URL`."""
    environ = environ_of(settings, told)
    return _place(settings, environ, "127.0.0.1", DEFAULT_PORT, PrefectApi.from_environment(environ=environ))


def environ_of(settings: Settings, told: Mapping[str, str]) -> dict[str, str]:
    """What every part of the service gets, started by `make up` or by itself: absolute folders, our own defaults.

    A variable that is set to nothing counts as not set.
    """
    environ = {name: value for name, value in told.items() if value or not name.startswith(("PREFECT_", "SLUICE_"))}
    environ["SLUICE_HOME"] = str(settings.home)
    environ["SLUICE_INBOX"] = str(settings.inbox)
    environ["SLUICE_DATASETS"] = str(settings.datasets)
    for name, value in _DEFAULTS.items():
        environ.setdefault(name, value)
    environ.setdefault("PREFECT_HOME", str(settings.home / "prefect"))
    return environ


def enter() -> Settings:
    """Make this process a part of the service: its environment, and the folder in which Prefect reads prefect.toml."""
    settings = Settings.from_environment()
    environ = environ_of(settings, os.environ)
    os.environ.clear()
    os.environ.update(environ)
    Path(environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    os.chdir(PROJECT)
    return settings


def _own_api(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/api" if ":" in host else f"http://{host}:{port}/api"


def _place(settings: Settings, environ: dict[str, str], host: str, port: int, api: PrefectApi) -> Place:
    no_proxy = [environ.get("NO_PROXY") or environ.get("no_proxy") or "", "127.0.0.1", "localhost"]
    environ[MARK] = environ[run.FOLDER] = str(settings.home)
    # The job command begins with `python`, so that a deployment fits every host.
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    environ["PREFECT_API_URL"] = api.url
    environ["NO_PROXY"] = environ["no_proxy"] = ",".join(filter(None, no_proxy))
    if api.auth:
        environ["PREFECT_API_AUTH_STRING"] = api.auth
    return Place(
        project=PROJECT,
        logs=settings.home / "logs",
        host=host,
        port=port,
        api_url=api.url,
        mark=str(settings.home),
        worker_name=socket.gethostname(),
        runs_at_once=int(environ.get("SLUICE_RUNS_AT_ONCE", max(_LEAST_RUNS, os.cpu_count() or 1))),
        auth=api.auth,
        environ=environ,
    )
