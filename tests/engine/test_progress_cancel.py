"""A run in a process of its own, as a worker starts it: cancelled, killed, and tried again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from sluice.database import connect, database_url
from sluice.settings import Settings
from tests.engine.prefect_api import Api

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

#: Three chunks of 8 MiB.
RECORDS = 240_000


def wait_until(what: str, holds: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.2)
    return pytest.fail(f"{what} did not come in {seconds} s")


def sql(query: str) -> list[tuple[Any, ...]]:
    with connect(database_url(Settings.from_environment())) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "big.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{'x' * 80}\n" for number in range(RECORDS))
    return path


@pytest.fixture
def start(home: Path, api: Api, big: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """`start(flow_run_id)`: execute a run the way a process worker does."""
    from prefect.settings import PREFECT_API_URL

    sql("SELECT 1")  # the database is there before the run is
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    environment |= {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
    started: list[subprocess.Popen[bytes]] = []

    def execute(flow_run_id: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", flow_run_id]
        started.append(subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True))
        return started[-1]

    yield execute
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def flow_run_id(api: Api, big: Path) -> str:
    """A run that takes some 5 s a chunk."""
    from prefect.client.orchestration import get_client

    from flows.import_file import import_file

    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            flow_id=client.create_flow_from_name("import-file"),
            name="cancel",
            entrypoint="flows.import_file.import_file",
            path=str(ROOT),
            parameter_openapi_schema=import_file.parameters.model_dump(),
        )
    parameters = {"source": str(big), "table": "public.big", "all_text": True, "max_rows_per_second": 18_000}
    return str(api.post(f"/deployments/{deployment}/create_flow_run", parameters=parameters)["id"])


def chunks() -> int:
    try:
        return int(sql("SELECT count(*) FROM sluice.chunks WHERE byte_start >= 0")[0][0])
    except Exception:  # the ledger is not there yet
        return 0


def state_of(api: Api, flow_run_id: str) -> str:
    return str(api.get(f"/flow_runs/{flow_run_id}")["state_name"])


def retry(api: Api, flow_run_id: str) -> None:
    """What the button does."""
    details = {"scheduled_time": datetime.now(UTC).isoformat()}
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details}
    api.post(f"/flow_runs/{flow_run_id}/set_state", state=state, force=True)


def finish(api: Api, flow_run_id: str, start: Callable[[str], Any]) -> None:
    """The same run again: it goes on where it stopped, and every row is there once."""
    retry(api, flow_run_id)
    start(flow_run_id)
    assert wait_until("the end", lambda: finished(api, flow_run_id)) == "Completed"
    assert sql("SELECT id, status, records, attempt >= 2 FROM sluice.imports") == [(1, "completed", RECORDS, True)]
    assert sql("SELECT count(*), count(DISTINCT _line) FROM public.big") == [(RECORDS, RECORDS)]
    assert sql("SELECT count(DISTINCT attempt) FROM sluice.chunks WHERE byte_start >= 0") == [(2,)]


def finished(api: Api, flow_run_id: str) -> str | None:
    run = api.get(f"/flow_runs/{flow_run_id}")
    return run["state_name"] if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def test_cancelled_in_seconds_and_resumed(api: Api, flow_run_id: str, start: Callable[[str], Any]) -> None:
    start(flow_run_id)
    wait_until("the first chunk", lambda: chunks() == 1)
    begun = time.monotonic()
    api.post(f"/flow_runs/{flow_run_id}/set_state", state={"type": "CANCELLING"})
    wait_until("the ledger's word", lambda: sql("SELECT status FROM sluice.imports") == [("cancelled",)], 20)
    assert time.monotonic() - begun < 15
    wait_until("Cancelled", lambda: state_of(api, flow_run_id) == "Cancelled", 40)
    assert chunks() == 1
    rows = sql("SELECT sum(loaded) FROM sluice.chunks")
    assert sql("SELECT count(*) FROM public.big") == rows
    assert api.get(f"/flow_runs/{flow_run_id}")["name"] == "public.big <- big.csv"
    assert api.artifacts(flow_run_id)["import-1-json"]["data"]["status"] == "cancelled"
    finish(api, flow_run_id, start)


def test_killed_is_crashed_and_resumed(api: Api, flow_run_id: str, start: Callable[[str], Any]) -> None:
    runner = start(flow_run_id)
    wait_until("the first chunk", lambda: chunks() == 1)
    children = psutil.Process(runner.pid).children(recursive=True)
    assert children
    for child in children:
        child.kill()
    assert wait_until("the end", lambda: finished(api, flow_run_id)) == "Crashed"
    assert sql("SELECT status FROM sluice.imports") == [("running",)]
    finish(api, flow_run_id, start)


def test_a_run_that_had_completed_says_so_when_tried_again(
    api: Api, flow_run_id: str, start: Callable[[str], Any]
) -> None:
    api.post(f"/flow_runs/{flow_run_id}/set_state", state={"type": "RUNNING"}, force=True)
    from sluice.opening import opened
    from sluice.request import Request

    parameters = api.get(f"/flow_runs/{flow_run_id}")["parameters"]
    request = Request(parameters["source"], table=parameters["table"], all_text=True)
    with opened(request, Settings.from_environment(), flow_run_id=flow_run_id) as running:
        for window in running.windows:
            running.load(window)
        running.finish()
    api.post(f"/flow_runs/{flow_run_id}/set_state", state={"type": "CRASHED"}, force=True)
    retry(api, flow_run_id)
    start(flow_run_id)
    assert wait_until("the end", lambda: finished(api, flow_run_id)) == "Completed"
    assert sql("SELECT id, attempt FROM sluice.imports") == [(1, 1)]
