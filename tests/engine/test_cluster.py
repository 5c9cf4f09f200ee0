"""Windows on a Dask cluster of separate processes: the tables are those of one process, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from samples.make import write_customers
from sluice.database import connect, database_url
from sluice.run import import_file as import_with_engine
from sluice.settings import Settings

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def sql(query: str) -> list[tuple[Any, ...]]:
    with closing(connect(database_url(Settings.from_environment()))) as connection:
        return connection.execute(query.encode()).fetchall()


def state_of(table: str) -> list[list[tuple[Any, ...]]]:
    columns = "SELECT * FROM sluice.{} WHERE import_id = (SELECT max(id) FROM sluice.imports) ORDER BY line"
    return [
        sql(f"SELECT to_jsonb(t) - '_import_id' FROM {table} t ORDER BY _line"),
        sql(f"SELECT line, raw FROM ({columns.format('rejected_rows')}) r"),
        sql(f'SELECT line, "column", code, message FROM ({columns.format("row_errors")}) r ORDER BY 1, 2, 3'),
        sql("SELECT records, loaded, rejected FROM sluice.imports ORDER BY id DESC LIMIT 1"),
        sql("SELECT byte_start, records, rejected FROM sluice.chunks WHERE import_id ="
            " (SELECT max(id) FROM sluice.imports) ORDER BY 1"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cluster") / "customers.csv"
    write_customers(path, None, rows=150_000, bad=0.01, seed=3)  # some four chunks
    return path


@pytest.fixture
def scheduler(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A scheduler and two workers, each a process of its own."""
    from dask.distributed import Client

    sql("SELECT 1")  # the database is there before the workers are
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    program += ["--no-dashboard", "--scheduler-file", str(home / "scheduler.json")]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen(program, env=environ, cwd=ROOT, stderr=subprocess.DEVNULL)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(home / "scheduler.json")]
    worker += ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1"]
    started += [subprocess.Popen(worker, env=environ, cwd=home, stderr=subprocess.DEVNULL) for _ in range(2)]
    deadline = time.monotonic() + 60
    while not (home / "scheduler.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    client_of: Any = Client  # without types
    with client_of(scheduler_file=str(home / "scheduler.json")) as client:
        client.wait_for_workers(2, timeout=60)
        address = client.scheduler.address
    yield address
    for process in started:
        process.kill()
        process.wait()


def run_flow(address: str, source: Path, home: Path, *, kill: bool) -> str:
    """The flow in a process of its own, as the environment tells it; the state's name."""
    program = (
        "import sys; from flows.import_file import import_file\n"
        "state = import_file(source=sys.argv[1], dataset='customers', workers=2, return_state=True)\n"
        "print(state.name, state.message)"
    )
    from prefect.settings import PREFECT_API_URL

    environ = os.environ | {"SLUICE_CLUSTER": "dask", "SLUICE_CLUSTER_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    environ |= {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(source)], env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        if kill:
            kill_a_worker_that_loads()
        said, _ = process.communicate(timeout=180)
    return said


def kill_a_worker_that_loads() -> None:
    """One of the two, as soon as the first chunk is committed."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if sql("SELECT FROM sluice.chunks"):
                break
        except Exception:  # there is no ledger yet
            time.sleep(0.05)
    for process in psutil.Process().children():
        if "distributed.cli.dask_worker" in process.cmdline():
            process.send_signal(signal.SIGKILL)
            return


@pytest.mark.parametrize("kill", [False, True])
def test_two_workers_leave_the_tables_of_one(home: Path, scheduler: str, customers: Path, kill: bool) -> None:
    assert run_flow(scheduler, customers, home, kill=kill).startswith("CompletedWithRejects")
    found = state_of("public.customers")
    with closing(connect(database_url(Settings.from_environment()))) as connection:
        connection.execute("DROP TABLE public.customers")
    import_with_engine(str(customers), dataset="customers", force=True)
    assert found == state_of("public.customers")
