"""The workplace of a benchmark: a folder with the files, a PostgreSQL, a Prefect server when one is needed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg import sql

from sluice.database import connect
from sluice.dataset import load_dataset
from sluice.embedded import embedded_url, stop_embedded
from sluice.migrate import ensure_ledger
from sluice.model import Dataset
from sluice.target import create_table
from tests.bench import measure
from tests.bench.contenders import CONTENDERS, ROOT, Contender, Task
from tests.bench.data import Data, File, write
from tests.bench.datasets import write_datasets
from tests.bench.peers.job import Job
from tests.bench.scenarios import Entry, Scenario

#: Seconds a Prefect server may take to answer, and to stop.
_PREFECT_SECONDS = 120.0


class WrongResult(measure.BenchError):
    """A contender ended well, but the rows are not there."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run of an entry. `seconds` is what Sluice's report says: from the claim to the last commit."""

    run: measure.Run
    rows: int
    seconds: float | None

    @property
    def each(self) -> float:
        """Wall microseconds a row."""
        return self.run.wall / self.rows * 1e6


@contextmanager
def session(folder: Path) -> Iterator[Session]:
    """A session in a folder, which stays; the server that runs on it is stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o755)  # started by root, PostgreSQL runs as another user
    home = folder / "home"
    write_datasets(folder / "expectations")
    try:
        yield Session(folder, embedded_url(home))
    finally:
        stop_embedded(home)


class Session:
    """Runs entries. Files are made when they are first needed."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.home, self.datasets = folder / "home", folder / "expectations"
        self.postgres = int((self.home / "postgres" / "postmaster.pid").read_text().split()[0])
        self._files: dict[Data, File] = {}
        self._prefect: tuple[str, int] | None = None
        with connect(url) as connection:
            ensure_ledger(connection)

    def scenario(self, scenario: Scenario, say: Callable[[str], object]) -> list[list[Result]]:
        """Every entry in turn, as often as the scenario says; results by entry. None of those that are missing.

        Raises:
            CommandFailed, WrongResult: a contender did not do its work.
        """
        found: list[list[Result]] = [[] for _ in scenario.entries]
        here = [at for at, entry in enumerate(scenario.entries) if not CONTENDERS[entry.contender].missing]
        for at in here:
            self.file(_data(scenario.entries[at]))
        with self._prefect_server(any(CONTENDERS[scenario.entries[at].contender].prefect for at in here)):
            for turn in range(scenario.runs):
                for at in here:
                    result = self.entry(scenario.entries[at])
                    found[at].append(result)
                    turns = f"{turn + 1}/{scenario.runs}"
                    say(f"{scenario.name} {turns} {scenario.entries[at].name}: {result.run.wall:.1f} s")
        return found

    def entry(self, entry: Entry) -> Result:
        """One run into a table made anew."""
        contender, file = CONTENDERS[entry.contender], self.file(_data(entry))
        task = self.task(file, entry.dataset)
        self.prepare(entry.dataset)
        run = measure.run(
            contender.command(task),
            env=self.environment(),
            cwd=ROOT,
            ok=contender.ok,
            postgres=self.postgres,
            prefect=self._prefect[1] if self._prefect else None,
        )
        seconds = self._check(contender, file, task, run)
        return Result(run, file.rows, seconds)

    def file(self, data: Data) -> File:
        """The file, made if it is not there yet."""
        if data not in self._files:
            self._files[data] = write(data, self.folder / data.name)
        return self._files[data]

    def task(self, file: File, dataset: str) -> Task:
        """An import of the file."""
        known = self.dataset(dataset)
        columns = {column.name: str(column.type.name) for column in known.columns}
        suite = str(self.datasets / dataset / "suite.json")
        job = Job(str(file.path), self.url, known.table.schema, known.table.name, columns, suite)
        path = self.folder / "job.json"
        job.save(path)
        return Task(job, path, dataset)

    def dataset(self, name: str) -> Dataset:
        return load_dataset(name, self.datasets)

    def prepare(self, dataset: str) -> None:
        """The dataset's table as new, the ledger empty, nothing left for PostgreSQL to write."""
        known = self.dataset(dataset)
        with connect(self.url) as connection:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_identifier(known)))
            create_table(connection, known)
            ledger = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'sluice' AND tablename <> 'alembic_version'"
            ).fetchall()
            tables = sql.SQL(", ").join(sql.Identifier("sluice", name) for (name,) in ledger)
            connection.execute(sql.SQL("TRUNCATE {}").format(tables))
            connection.execute("CHECKPOINT")

    def environment(self) -> dict[str, str]:
        """This process's, without what it says about Sluice, Prefect and PostgreSQL, pointed at this workplace."""
        told = ("SLUICE_", "PREFECT_", "PG", "DLT_")
        own = {
            "SLUICE_HOME": str(self.home),
            "SLUICE_DATASETS": str(self.datasets),
            "SLUICE_DATABASE_URL": self.url,
            "DO_NOT_TRACK": "1",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        if self._prefect:
            own["PREFECT_API_URL"] = self._prefect[0]
        return {name: value for name, value in os.environ.items() if not name.startswith(told)} | own

    def _check(self, contender: Contender, file: File, task: Task, run: measure.Run) -> float | None:
        """Whether the rows are there and the bad ones are not. The seconds of Sluice's report, if there is one."""
        with connect(self.url) as connection:
            query = sql.SQL("SELECT count(*) FROM {}").format(_identifier(self.dataset(task.dataset)))
            (count,) = connection.execute(query).fetchone() or (0,)
        if count != file.rows - file.bad:
            raise WrongResult(
                f"{contender.name} loaded {count:,} of {file.rows - file.bad:,} good rows of {file.path}."
            )
        if not run.output.startswith("{"):
            return None
        report = json.loads(run.output)
        if report["rejected"] != file.bad:
            raise WrongResult(f"{contender.name} rejected {report['rejected']:,} rows, not {file.bad:,}: {file.path}.")
        return float(report["seconds"])

    @contextmanager
    def _prefect_server(self, wanted: bool) -> Iterator[None]:
        """A Prefect server for as long as the block takes, with the settings of prefect.toml, as `make up` has it."""
        if not wanted:
            yield
            return
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}/api"
        env = self.environment() | {
            "PREFECT_API_URL": url,
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_HOME": str(self.folder / "prefect"),
        }
        with (self.folder / "prefect.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "deployments.server"], env=env, cwd=ROOT, stdout=log, stderr=log
            )
        try:
            _wait_for(f"{url}/health", process)
            self._prefect = url, process.pid
            yield
        finally:
            self._prefect = None
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PREFECT_SECONDS)
            process.kill()
            process.wait()
            shutil.rmtree(self.folder / "prefect", ignore_errors=True)


def _data(entry: Entry) -> Data:
    """The file an entry gets: without bad rows where its contender would stop at the first one."""
    return replace(entry.data, bad=0) if CONTENDERS[entry.contender].clean else entry.data


def _identifier(dataset: Dataset) -> sql.Identifier:
    return sql.Identifier(dataset.table.schema, dataset.table.name)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PREFECT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise measure.CommandFailed("The Prefect server does not answer; its log says why.")
