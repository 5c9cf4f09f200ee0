"""Two watchers and two workers side by side, killed at random under a stream of files: no file lost, none twice.

By hand, for five minutes: SLUICE_CHAOS_SECONDS=300 pytest tests/engine/test_chaos.py -s
Not in the whole suite: even 40 seconds of it need three minutes more to settle.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from deployments.environment import Place, place_of
from deployments.processes import MARK, end_marked
from sluice.database import connect
from sluice.embedded import embedded_url, stop_embedded
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings
from tests.engine.service import ENDED, ROOT, environment_of_others, free_port, until
from tests.engine.stream import DATASETS, Stream, check, make_datasets

SECONDS = float(os.environ.get("SLUICE_CHAOS_SECONDS", "0"))
SEED = int(os.environ.get("SLUICE_CHAOS_SEED", 1))

#: Seconds everything may take to settle afterwards: a run without a process is found after two minutes, a claim that
#: lost its watcher while it was made after one.
SETTLE_SECONDS = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SECONDS, reason="minutes: run it by hand, with SLUICE_CHAOS_SECONDS=40 or more"),
]


@dataclass
class Crowd:
    """The parts of a service without its launcher, any number of each; what is killed is started again at once."""

    home: Path
    place: Place
    commands: dict[str, list[str]]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def api(self) -> PrefectApi:
        return PrefectApi(self.place.api_url)

    def start(self, name: str) -> None:
        with (self.place.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *self.commands[name]],
                cwd=ROOT,
                env=dict(self.place.environ),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        self.kills[name] += 1
        self.processes[name].kill()
        self.processes[name].wait()
        self.start(name)

    def kill_a_run(self, pick: random.Random) -> None:
        """The process of a flow run as the worker sees it, or the one that does the work for it."""
        found = [process for process in psutil.process_iter() if self._is_run(process)]
        with suppress(psutil.Error):
            found += psutil.Process(self.processes["warm"].pid).children()
        if found:
            self.kills["run"] += 1
            with suppress(psutil.Error):
                pick.choice(found).kill()

    def _is_run(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            environ = process.environ()
            return environ.get(MARK) == str(self.home) and bool(environ.get("PREFECT__FLOW_RUN_ID"))
        return False

    def answers(self) -> bool:
        with suppress(PrefectApiError):
            self.api.get("/health")
            return True
        return False

    def runs(self, *states: str) -> list[dict[str, Any]]:
        wanted = {"state": {"type": {"any_": list(states)}}}
        asked = {"flow_runs": wanted, "limit": 200}
        found: list[dict[str, Any]] = self.api.post("/flow_runs/filter", asked, timeout=60)  # a busy server is slow
        return found


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with TemporaryDirectory(prefix="sluice-chaos-", ignore_cleanup_errors=True) as folder, _crowd(Path(folder)) as one:
        yield one


@contextmanager
def _crowd(home: Path) -> Iterator[Crowd]:
    home = home.resolve()
    told = {
        **environment_of_others(home),
        "SLUICE_HOME": str(home),
        "SLUICE_INBOX": str(home / "inbox"),
        "SLUICE_DATASETS": str(home / "datasets"),
        "PREFECT_SERVER_API_PORT": str(free_port()),
    }
    place = place_of(Settings.from_environment(told), told)
    commands = {"server": ["deployments.server"], "warm": ["deployments.warm"]}
    for number in ("1", "2"):
        commands[f"watcher{number}"] = ["deployments.watcher"]
        named = replace(place, worker_name=f"worker{number}")
        commands[f"worker{number}"] = ["prefect", *named.worker_arguments]
    crowd = Crowd(home, place, commands)
    place.logs.mkdir(parents=True)
    shutil.copytree(ROOT / "expectations", home / "datasets")  # a deployment of prefect.yaml names one of them
    make_datasets(home / "datasets")
    for dataset in DATASETS:
        (home / "inbox" / dataset).mkdir(parents=True)
    try:
        crowd.start("server")
        embedded_url(home)
        until(crowd.answers, 120, "the server")
        subprocess.run([sys.executable, "-m", "deployments.provision"], cwd=ROOT, env=dict(place.environ), check=True)
        for name in commands:
            if name != "server":
                crowd.start(name)
        yield crowd
    finally:
        end_marked(place.mark)
        for process in crowd.processes.values():
            process.wait()
        stop_embedded(home)


def test_processes_killed_at_random_lose_no_file_and_take_none_twice(crowd: Crowd) -> None:
    print(f"\nSLUICE_CHAOS_SECONDS={SECONDS:.0f} SLUICE_CHAOS_SEED={SEED}")  # noqa: T201
    pick = random.Random(SEED)
    stream = Stream(crowd.home / "inbox", random.Random(SEED + 1))
    victims = [name for name in crowd.commands if name != "server"]
    begun = time.monotonic()
    next_drop, next_kill = begun, begun + 5
    while (now := time.monotonic()) < begun + SECONDS:
        if now >= next_drop:
            stream.drop_some()
            next_drop = now + pick.uniform(0.3, 1.7)
        if now >= next_kill:
            if pick.random() < 0.25:
                crowd.kill_a_run(pick)
            else:
                crowd.kill(pick.choice(victims))
            next_kill = now + pick.uniform(1, 6)
        time.sleep(0.05)
    left: list[str] = []
    try:
        until(lambda: is_settled(crowd, left), SETTLE_SECONDS, f"seed {SEED}: settled")
    except AssertionError as late:
        late.add_note(", ".join(left))
        raise
    with connect(embedded_url(crowd.home)) as connection:
        said = check(stream, crowd.home, connection)
    states = Counter(run["state_type"] for run in crowd.runs(*ENDED))
    settled = time.monotonic() - begun - SECONDS
    print(f"{said}; killed: {dict(crowd.kills)}; runs: {dict(states)}; settled after {settled:.0f} s")  # noqa: T201


def is_settled(crowd: Crowd, left: list[str]) -> bool:
    """Whether all is at its end; what is not goes into `left`, in words."""
    waiting = [path for path in (crowd.home / "inbox").rglob("*") if path.is_file() and not path.name.startswith(".")]
    runs = crowd.runs("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")
    with connect(embedded_url(crowd.home)) as connection:
        imports = connection.execute("SELECT id FROM sluice.imports WHERE status = 'running'").fetchall()
    left[:] = [f"{len(waiting)} files"] if waiting else []
    left += [f"run {run['name']} {run['state_name']}" for run in runs]
    left += [f"import #{import_id}" for (import_id,) in imports]
    return not left
