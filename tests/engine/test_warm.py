"""Runs forked from the warm process, as the worker's job command asks for them: nobody can tell them from others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
import pytest

from deployments import run
from sluice.claim import table_lock
from sluice.database import connect, database_url
from sluice.model import TableName
from sluice.settings import Settings
from tests.engine.prefect_api import Api

ROOT = Path(__file__).parents[2]
T = TypeVar("T")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def until(question: Callable[[], T], what: str, seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what}: not after {seconds:.0f} s")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that they can be changed."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("sluice", "tasks", "flows", "deployments", "expectations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", folder)
    return folder


@dataclass
class Warm:
    """The warm process, and what a worker would give a run's process."""

    api: Api
    project: Path
    home: Path
    environ: dict[str, str]
    process: subprocess.Popen[bytes]
    started: list[subprocess.Popen[bytes]]

    @property
    def is_listening(self) -> bool:
        return (self.home / run.SOCKET).exists()

    def forks(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found

    def new_run(self, **parameters: Any) -> str:
        """A flow run of a deployment."""
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            deployment = client.create_deployment(
                flow_id=client.create_flow_from_name("import-file"),
                name="warm",
                entrypoint="flows.import_file.import_file",
                path=str(self.project),
            )
        wanted = {"source": str(ROOT / "samples/contacts.csv"), "dataset": "contacts", "force": True} | parameters
        return str(self.api.post(f"/deployments/{deployment}/create_flow_run", parameters=wanted)["id"])

    def start(self, flow_run_id: str) -> subprocess.Popen[bytes]:
        """What the worker does with the job command."""
        environ = self.environ | {"PREFECT__FLOW_RUN_ID": flow_run_id}
        command = [sys.executable, "-m", "deployments.run"]
        self.started.append(subprocess.Popen(command, env=environ, cwd=self.home))
        return self.started[-1]

    def state(self, flow_run_id: str) -> str:
        return str(self.api.get(f"/flow_runs/{flow_run_id}")["state_name"])


@pytest.fixture
def warm(home: Path, api: Api, project: Path) -> Iterator[Warm]:
    from prefect.settings import PREFECT_API_URL

    with closing(connect(database_url(Settings.from_environment()))):
        pass  # the database is there before the run is
    environ = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), run.FOLDER: str(home)}
    environ |= {"PYTHONPATH": str(project), "SLUICE_DATASETS": str(project / "expectations")}
    process = subprocess.Popen([sys.executable, "-m", "deployments.warm"], env=environ, cwd=project)
    found = Warm(api, project, home, environ, process, [])
    until(lambda: found.is_listening, "the warm process")
    yield found
    for one in (*found.started, process):
        one.kill()
        one.wait()


@pytest.fixture
def waiting(warm: Warm) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process, str]]:
    """A run that waits for its table: the process that stands for it, the fork, the run's id."""
    with (
        closing(connect(database_url(Settings.from_environment()))) as connection,
        table_lock(connection, TableName("public", "contacts"), wait=False),
    ):
        flow_run_id = warm.new_run(wait=True)
        stand_in = warm.start(flow_run_id)
        until(lambda: warm.state(flow_run_id) == "Running", "the run")
        # A signal while Prefect makes a task run ends the run as Failed; a run that waits is past that.
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: connection.execute(waits).fetchall(), "the run's wait for the table")
        (fork,) = warm.forks()
        yield stand_in, fork, flow_run_id


def test_a_run_is_forked_and_ends_as_any_other(warm: Warm) -> None:
    flow_run_id = warm.new_run()
    stand_in = warm.start(flow_run_id)
    until(warm.forks, "the fork", 5)
    assert stand_in.wait(60) == 0
    assert warm.state(flow_run_id) in ("Completed", "CompletedWithRejects")
    until(lambda: not warm.forks(), "the end of the fork", 10)


def test_a_run_sees_its_own_environment_and_not_the_warm_process(warm: Warm, tmp_path: Path) -> None:
    shutil.copytree(warm.project / "expectations" / "contacts", tmp_path / "others")
    warm.environ["SLUICE_DATASETS"] = str(tmp_path)
    flow_run_id = warm.new_run(dataset="others")
    assert warm.start(flow_run_id).wait(60) == 0
    assert warm.state(flow_run_id) in ("Completed", "CompletedWithRejects")


def test_who_kills_the_process_of_the_run_kills_the_fork(
    waiting: tuple[subprocess.Popen[bytes], psutil.Process, str], warm: Warm
) -> None:
    stand_in, fork, _ = waiting
    stand_in.kill()
    until(lambda: not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE, "the end of the fork", 5)
    assert warm.process.poll() is None


def test_a_fork_that_is_killed_ends_the_process_of_the_run_alike(
    waiting: tuple[subprocess.Popen[bytes], psutil.Process, str],
) -> None:
    stand_in, fork, _ = waiting
    fork.kill()
    assert stand_in.wait(5) == -signal.SIGKILL


def test_signals_reach_the_fork(waiting: tuple[subprocess.Popen[bytes], psutil.Process, str], warm: Warm) -> None:
    stand_in, _, flow_run_id = waiting
    stand_in.terminate()
    assert stand_in.wait(20) != 0
    assert not warm.forks()
    assert warm.state(flow_run_id) in ("Crashed", "Cancelled")


def test_forks_do_not_outlive_the_warm_process(
    waiting: tuple[subprocess.Popen[bytes], psutil.Process, str], warm: Warm
) -> None:
    stand_in, fork, _ = waiting
    warm.process.kill()
    assert stand_in.wait(5) == -signal.SIGKILL
    until(lambda: not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE, "the end of the fork", 5)


def test_told_to_stop_it_ends_its_forks(
    waiting: tuple[subprocess.Popen[bytes], psutil.Process, str], warm: Warm
) -> None:
    stand_in, fork, _ = waiting
    warm.process.terminate()
    assert warm.process.wait(15) == 0
    assert stand_in.wait(5) != 0
    assert not fork.is_running()
    assert not warm.is_listening


def test_changed_sources_are_seen(warm: Warm) -> None:
    path = warm.project / "tasks" / "publish.py"
    path.write_text(path.read_text() + f"\n# {uuid4()}\n")
    flow_run_id = warm.new_run()
    stand_in = warm.start(flow_run_id)
    until(lambda: warm.state(flow_run_id) == "Running", "the run")
    assert not warm.forks()
    assert stand_in.wait(60) == 0
    until(lambda: warm.is_listening, "the warm process, anew")
    flow_run_id = warm.new_run()
    stand_in = warm.start(flow_run_id)
    until(warm.forks, "a fork", 5)
    assert stand_in.wait(60) == 0


def test_without_a_warm_process_a_run_starts_cold(warm: Warm) -> None:
    del warm.environ[run.FOLDER]
    flow_run_id = warm.new_run()
    assert warm.start(flow_run_id).wait(60) == 0
    assert warm.state(flow_run_id) in ("Completed", "CompletedWithRejects")
    assert not warm.forks()
