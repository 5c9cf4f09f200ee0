"""The whole service, as `make up` runs it, with free ports and a folder of its own; and what tests ask of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import psutil  # type: ignore[import-untyped]

from deployments.processes import MARK
from sluice.database import connect
from sluice.embedded import embedded_url, stop_embedded
from sluice.prefect_api import PrefectApi, PrefectApiError

ROOT = Path(__file__).parents[2]
PASSWORD = "admin:not-shown-anywhere"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
T = TypeVar("T")


def until(question: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first true answer. A server that is busy, or is being started again, is asked once more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(PrefectApiError):
            if answer := question():
                return answer
        time.sleep(0.3)
    raise AssertionError(f"{what}: not after {seconds:.0f} s")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Service:
    """A service that runs, or ran."""

    home: Path
    port: int
    environ: dict[str, str]
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def api(self) -> PrefectApi:
        return PrefectApi(f"http://127.0.0.1:{self.port}/api", PASSWORD)

    # Runs -------------------------------------------------------------------------------------------------------

    def start_run(self, key: str, **parameters: Any) -> str:
        deployment = self.api.get("/deployments/name/import-file/import-file")["id"]
        wanted = {"parameters": parameters, "idempotency_key": key}
        return str(self.api.post(f"/deployments/{deployment}/create_flow_run", wanted)["id"])

    def state(self, run: str) -> tuple[str, str]:
        state = self.api.get(f"/flow_runs/{run}")["state"]
        return state["type"], state["message"] or ""

    def end_of(self, run: str, seconds: float = 120) -> tuple[str, str]:
        def end() -> tuple[str, str] | None:
            state = self.state(run)
            return state if state[0] in ENDED else None

        return until(end, seconds, "end of the run")

    def cancel(self, run: str) -> None:
        """What the button does."""
        answer = self.api.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        assert answer["status"] == "ACCEPT", answer

    def retry(self, run: str) -> None:
        """What the button does."""
        details = {"scheduled_time": datetime.now(UTC).isoformat()}
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details}
        answer = self.api.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})
        assert answer["status"] == "ACCEPT", answer

    # Tables and files -------------------------------------------------------------------------------------------

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with connect(embedded_url(self.home)) as connection:
            return connection.execute(query.encode()).fetchall()

    def drop(self, dataset: str, name: str, text: str) -> Path:
        """Put a file into the inbox, as a careful sender does."""
        folder = self.home / "inbox" / dataset
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.part"
        part.write_text(text)
        return part.rename(folder / name)

    def archived(self, dataset: str) -> list[str]:
        """The names of the archived files, with their imports' numbers."""
        return sorted(path.name for path in (self.home / "archive" / dataset).glob("*/*"))

    def failed(self, dataset: str) -> list[str]:
        return sorted(path.name for path in (self.home / "failed" / dataset).glob("*"))

    # Processes --------------------------------------------------------------------------------------------------

    def words(self, text: str, seconds: float = 60) -> str:
        return until(lambda: next((line for line in self.said if text in line), ""), seconds, text)

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to the service, by its mark in the environment or its folder."""
        found = []
        for process in psutil.process_iter():
            try:
                is_database = process.name() == "postgres" and str(self.home) in " ".join(process.cmdline())
                if is_database or process.environ().get(MARK) == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def child(self, word: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if word in " ".join(child.cmdline()))

    def process_of(self, run: str) -> psutil.Process:
        """The process that the worker started for a flow run; there may be more below it."""
        return process_of(run)


def process_of(run: str) -> psutil.Process:
    """The eldest process with a flow run in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run.replace("-", ""):
                found.append(process)
        except psutil.Error:
            continue
    assert found, f"no process of run {run}"
    return min(found, key=lambda process: process.create_time())


@contextmanager
def running_service(told: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Start one, with `told` in its environment, and wait until it is ready."""
    # Not pytest's folder: each pytest that starts closes it to other users, PostgreSQL's among them where root tests.
    with TemporaryDirectory(prefix="sluice-up-", ignore_cleanup_errors=True) as folder:
        yield from _service(Path(folder).resolve(), told or {})


def _service(home: Path, told: Mapping[str, str]) -> Iterator[Service]:
    port = free_port()
    environ = {
        **environment_of_others(home),
        "SLUICE_HOME": str(home),
        "SLUICE_INBOX": str(home / "inbox"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        **told,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.up"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    service = Service(home, port, environ, process)
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: service.said.extend(process.stdout), daemon=True)  # type: ignore[arg-type]
    reader.start()
    try:
        service.words("ready: ", 240)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(10)
        process.stdout.close()
        for left in service.processes():
            left.kill()
        stop_embedded(home)


def environment_of_others(folder: Path) -> dict[str, str]:
    """The environment without what would lead to another service. Temporary files go into the folder: Prefect leaves
    some of each worker and run that is killed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "PREFECT_"))}
    return kept | {"TMPDIR": str(folder)}
