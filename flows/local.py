"""Run the flow `import-file` in this process, for the command line."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from sluice.importer import OnProgress
from sluice.model import Report
from sluice.request import Request
from sluice.settings import Settings


def run_import_file(request: Request, on_progress: OnProgress, resume: int | None = None) -> Report:
    """Run it against the Prefect server of the environment, or a temporary one where none answers.

    Raises:
        SluiceError: the import failed.
    """
    _settle_environment()
    from flows.import_file import import_file
    from tasks.progress import listening

    with _reachable_server(), listening(on_progress):
        state: Any = import_file(**_parameters(request), resume=resume or 0, return_state=True)
    result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    report: Report = result
    return report


def _parameters(request: Request) -> dict[str, Any]:
    """The request as the form takes it, which has no way to tell "no quote" from "not told" but the word."""
    told = request.to_dict()
    if "null" in told:
        told["null"] = list(told["null"])
    if told.get("quote") == "":
        told["quote"] = "none"
    return told


def _settle_environment() -> None:
    """Before Prefect is imported: its data under SLUICE_HOME unless told otherwise, no telemetry, a quiet console."""
    home = Settings.from_environment().home / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # bar, report and message say it better


@contextmanager
def _reachable_server() -> Iterator[None]:
    """A temporary server, which stores runs in the same place, if the configured one does not answer.

    Prefect has read its settings by now, from prefect.toml too, so a variable of the environment would come too late;
    and an empty address is one to Prefect's events, which would try to reach it.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    address = urlsplit(PREFECT_API_URL.value() or "")
    if address.hostname is not None and _answers(address.hostname, address.port or 443):
        yield
        return
    with temporary_settings({PREFECT_API_URL: None, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True}):
        yield


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False
