"""What the service promises of imports under way: cancelled, killed, tried again, its server gone, all end once.

One service for all tests, as `make up` runs it. Runs are started, cancelled and tried again over REST, as the UI does.

By hand, how long a thousand files take: SLUICE_MANY_FILES=1000 pytest tests/engine/test_service.py -s -k many
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.engine.service import ROOT, Service, running_service, until

pytestmark = pytest.mark.slow

#: Three chunks of 8 MiB; one line in a thousand has a field too many.
RECORDS, BAD = 240_000, 240

#: Slow enough for a chunk to take some five seconds.
SLOWLY = 18_000

#: Files dropped at once, 20 rows each.
MANY = int(os.environ.get("SLUICE_MANY_FILES", "150"))

#: Seconds from the last sign of life to Crashed, and from being taken up without ever beginning: two minutes and three,
#: and what Prefect takes to look and to act.
ZOMBIE_SECONDS, STILLBORN_SECONDS = 150, 210


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service({"SLUICE_RUNS_AT_ONCE": "4"}) as running:
        yield running


@dataclass
class Big:
    """A file that takes some 15 seconds to load, and its table."""

    service: Service
    path: Path
    table: str

    def start(self, key: str, **parameters: Any) -> str:
        told = {"table": self.table, "max_rows_per_second": SLOWLY} | parameters
        return self.service.start_run(f"{self.table} {key}", source=str(self.path), **told)

    def start_and_load_a_chunk(self) -> str:
        run = self.start("first")
        until(lambda: self.chunks() == 1, 60, "the first chunk")
        return run

    def chunks(self) -> int:
        query = "SELECT count(*) FROM sluice.chunks JOIN sluice.imports ON id = import_id WHERE byte_start >= 0"
        return int(self.service.sql(f"{query} AND table_name = '{self.table}'")[0][0])

    def imports(self) -> list[tuple[Any, ...]]:
        """Number, status, attempt, and whether the rows in the table are those the ledger knows of."""
        return self.service.sql(
            f"SELECT i.id, status, attempt, (SELECT count(*) FROM {self.table} WHERE _import_id = i.id) ="
            " (SELECT sum(loaded) FROM sluice.chunks WHERE import_id = i.id)"
            f" FROM sluice.imports AS i WHERE table_name = '{self.table}' ORDER BY i.id"
        )

    def status(self) -> str:
        return str(self.imports()[-1][1])

    def check_all_is_there(self) -> None:
        """One import, each row in its place, once."""
        assert self.service.sql(
            f"SELECT status, records, loaded, rejected FROM sluice.imports WHERE table_name = '{self.table}'"
        ) == [("completed_with_rejects", RECORDS, RECORDS - BAD, BAD)]
        loaded = RECORDS - BAD
        assert self.service.sql(
            f"SELECT count(*), count(DISTINCT id), sum(id), count(DISTINCT _line) FROM {self.table}"
        ) == [(loaded, loaded, sum(range(RECORDS)) - sum(range(0, RECORDS, 1000)), loaded)]
        assert self.service.sql(
            "SELECT count(*), count(DISTINCT line), bool_and((line - 2) % 1000 = 0) FROM sluice.rejected_rows"
            f" JOIN sluice.imports ON id = import_id WHERE table_name = '{self.table}'"
        ) == [(BAD, BAD, True)]


@pytest.fixture
def big(service: Service, request: pytest.FixtureRequest) -> Big:
    """Of the test's own, so that no test has to wait for another's table."""
    return make_big(service, re.sub(r"\W+", "_", request.node.name).strip("_")[-40:])


def make_big(service: Service, name: str) -> Big:
    path = service.home / f"{name}.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{n},{'x' * 80}{',surplus' if n % 1000 == 0 else ''}\n" for n in range(RECORDS))
    return Big(service, path, f"public.{name}")


def sluice(service: Service, *words: str) -> Any:
    """What a command of the command line prints as JSON."""
    command = [sys.executable, "-c", "from sluice.cli import main; main()", *words, "--json"]
    return json.loads(subprocess.run(command, cwd=ROOT, env=service.environ, stdout=subprocess.PIPE, check=True).stdout)


# Two runs whose processes are gone while nobody is there to tell: the first test makes them, the last one looks, so
# that the two minutes pass in between.


@dataclass
class Zombies:
    """A run killed together with its worker, and one whose worker was killed before it had started a process."""

    big: Big
    running: str
    pending: str
    killed: float


@pytest.fixture(scope="module")
def zombies(service: Service) -> Zombies:
    big = make_big(service, "zombie")
    run = big.start_and_load_a_chunk()
    worker, process = service.child("worker"), service.process_of(run)
    worker.kill()
    process.kill()
    killed = time.time()
    deployment = service.api.get("/deployments/name/import-file/import-file")["id"]
    wanted = {"parameters": {"source": "samples/people.csv", "dataset": "people"}, "state": {"type": "PENDING"}}
    pending = service.api.post(f"/deployments/{deployment}/create_flow_run", wanted)["id"]
    service.words("worker started again")
    return Zombies(big, run, str(pending), killed)


def test_a_worker_stopped_hard_leaves_its_runs_as_they_were(service: Service, zombies: Zombies) -> None:
    assert [service.state(one)[0] for one in (zombies.running, zombies.pending)] == ["RUNNING", "PENDING"]
    assert zombies.big.imports() == [(1, "running", 1, True)]


def test_dropped_files_are_imported_refused_or_reported(service: Service) -> None:
    service.drop("contacts", "good.csv", "name,email,company\n" + "".join(f"N,{n}@x.org,C\n" for n in range(10)))
    service.drop("contacts", "bad rows.csv", "name,email,company\nN,a@y.org,C\nN,no-address,C\nN,b@y.org,C,surplus\n")
    service.drop("contacts", "bad header.csv", "name,telephone\nN,1\n")
    service.drop("costumers", "stranger.csv", "name\nN\n")
    until(lambda: len(service.archived("contacts")) == 2 and len(service.failed("contacts")) == 2, 60, "the files")
    assert sorted(name.partition("-")[2] for name in service.archived("contacts")) == ["bad rows.csv", "good.csv"]
    assert service.failed("contacts") == ["bad header.csv", "bad header.csv.why.txt"]
    ledger = "SELECT status, records, loaded, rejected FROM sluice.imports WHERE dataset = 'contacts' ORDER BY records"
    assert service.sql(ledger) == [("completed_with_rejects", 3, 1, 2), ("completed", 10, 10, 0)]
    assert service.sql("SELECT count(*), count(DISTINCT email) FROM public.contacts") == [(11, 11)]
    until((service.home / "inbox" / "costumers.is-no-dataset.txt").exists, 30, "a word on the folder")
    assert (service.home / "inbox" / "costumers" / "stranger.csv").exists()


def test_cancelled_in_seconds_and_tried_again(service: Service, big: Big) -> None:
    run = big.start_and_load_a_chunk()
    begun = time.monotonic()
    service.cancel(run)
    until(lambda: big.status() == "cancelled", 20, "the ledger's word")
    stopped = time.monotonic() - begun
    until(lambda: service.state(run)[0] == "CANCELLED", 40, "Cancelled")
    assert stopped < 10
    assert big.chunks() == 1
    ((import_id, *rest),) = big.imports()
    assert rest == ["cancelled", 2, True]
    asked = {"flow_run_id": {"any_": [run]}, "key": {"any_": [f"import-{import_id}-json"]}}
    (report,) = service.api.post("/artifacts/filter", {"artifacts": asked})
    assert report["data"]["status"] == "cancelled"
    assert "%" not in service.api.get(f"/flow_runs/{run}")["name"]
    service.retry(run)
    assert service.end_of(run)[0] == "COMPLETED"
    big.check_all_is_there()


def stand_in(service: Service, run: str) -> psutil.Process:
    return service.process_of(run)


def fork(service: Service, run: str) -> psutil.Process:
    """The only one of the warm process at the time; a fork's environment is not to be seen from outside."""
    (found,) = service.child("deployments.warm").children()
    return found


@pytest.mark.parametrize("find", [stand_in, fork])
def test_a_killed_process_is_crashed_its_import_failed_and_resumed(
    service: Service, big: Big, find: Callable[[Service, str], psutil.Process]
) -> None:
    run = big.start_and_load_a_chunk()
    find(service, run).kill()
    assert service.end_of(run, 15)[0] == "CRASHED"
    until(lambda: big.status() == "failed", 15, "the ledger's word")
    ((import_id, _, attempt, exact),) = big.imports()
    assert (attempt, exact) == (1, True)
    shown = sluice(service, "show", str(import_id))
    assert (shown["status"], shown["loaded"] > 0) == ("failed", True)
    assert f"`sluice resume {import_id}` continues it" in shown["message"]
    assert service.end_of(big.start("again", max_rows_per_second=0))[0] == "COMPLETED"
    big.check_all_is_there()


def test_the_server_may_be_killed_in_mid_run(service: Service, big: Big) -> None:
    run = big.start_and_load_a_chunk()
    service.child("deployments.server").kill()
    service.words("server ended (signal SIGKILL)")
    until(lambda: big.status() == "completed_with_rejects", 60, "the import")
    assert big.imports()[0][2] == 1
    big.check_all_is_there()
    assert service.end_of(run, 90)[0] == "COMPLETED"


def test_a_second_import_into_a_table_is_refused_or_waits(service: Service, big: Big) -> None:
    first = big.start("first")
    until(lambda: service.sql(f"SELECT FROM sluice.imports WHERE flow_run_id = '{first}'"), 60, "its claim")
    other = service.home / "other.csv"
    other.write_text("id,text\n-1,other\n")
    refused, waiting = (
        service.start_run(f"second {wait}", source=str(other), table=big.table, wait=wait) for wait in (False, True)
    )
    kind, message = service.end_of(refused)
    assert kind == "FAILED"
    assert f"is writing to {big.table}" in message
    assert [service.end_of(run)[0] for run in (first, waiting)] == ["COMPLETED", "COMPLETED"]
    assert service.sql(f"SELECT text FROM {big.table} WHERE id = -1") == [("other",)]
    assert service.sql(
        "SELECT second.started_at > first.finished_at FROM sluice.imports AS first, sluice.imports AS second"
        f" WHERE first.flow_run_id = '{first}' AND second.flow_run_id = '{waiting}'"
    ) == [(True,)]


def test_many_files_dropped_at_once_are_imported_once(service: Service) -> None:
    header = "name,email,age,department\n"
    begun = time.monotonic()
    for file in range(MANY):
        rows = "".join(f"N,{file}-{n}@many.org,{n},D\n" for n in range(20))
        service.drop("people", f"{file}.csv", header + rows)
    dropped = time.monotonic()
    until(lambda: len(service.archived("people")) == MANY, 60 + MANY, "the files")
    took = time.monotonic() - dropped
    said = f"dropped in {dropped - begun:.1f} s, archived after {took:.1f} s, {MANY / took:.1f} a second"
    print(f"\n{MANY} files: {said}")  # noqa: T201
    many = "FROM sluice.imports WHERE dataset = 'people'"
    assert service.sql(f"SELECT status, count(*), count(DISTINCT sha256), sum(loaded) {many} GROUP BY status") == [
        ("completed", MANY, MANY, 20 * MANY)
    ]
    assert service.sql("SELECT count(*), count(DISTINCT email) FROM public.people") == [(20 * MANY, 20 * MANY)]
    names = sorted(name.partition("-")[2] for name in service.archived("people"))
    assert names == sorted(f"{file}.csv" for file in range(MANY))
    asked = {"tags": {"all_": ["inbox", "people"]}}

    def states() -> set[str]:
        return {run["state_type"] for run in service.api.post("/flow_runs/filter", {"flow_runs": asked})}

    until(lambda: states() == {"COMPLETED"}, 30, "the ends of the runs")


def test_runs_without_a_process_are_crashed_and_may_be_resumed(service: Service, zombies: Zombies) -> None:
    for run, said, seconds in (
        (zombies.running, "No sign of life", ZOMBIE_SECONDS),
        (zombies.pending, "it has not begun", STILLBORN_SECONDS),
    ):
        kind, message = service.end_of(run, seconds)
        assert kind == "CRASHED"
        assert said in message
        crashed = datetime.fromisoformat(service.api.get(f"/flow_runs/{run}")["state"]["timestamp"])
        assert 60 < crashed.timestamp() - zombies.killed < seconds
    until(lambda: zombies.big.status() == "failed", 15, "the ledger's word")
    assert service.end_of(zombies.big.start("again", max_rows_per_second=0))[0] == "COMPLETED"
    zombies.big.check_all_is_there()


def test_it_ends_with_nothing_left(service: Service) -> None:
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(90) == 0
    assert service.processes() == []
