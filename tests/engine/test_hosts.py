"""Server, watcher and two workers as on hosts of their own: what they share is the database and an object store.

Each host has the project in a folder of its own, a SLUICE_HOME of its own, and nothing but addresses of the others. The
store speaks S3. Prefect's own database is the system's PostgreSQL where there is one, as on the page docs/hosts.md.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from deployments.processes import MARK
from deployments.provision import RATE_LIMIT
from sluice.database import connect
from sluice.embedded import embedded_url, stop_embedded
from sluice.prefect_api import PrefectApi, PrefectApiError
from tests.engine.service import PASSWORD, ROOT, environment_of_others, free_port, process_of, until
from tests.engine.system_postgres import Missing, system_postgres

pytestmark = pytest.mark.slow

BIG_ROWS = 500_000


@dataclass
class Host:
    """The project in a folder of its own, and the processes that were started there."""

    name: str
    folder: Path
    environ: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.folder / "srv" / self.name

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def install(self) -> None:
        for name in ("deployments", "expectations", "flows", "sluice", "tasks"):
            shutil.copytree(ROOT / name, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("prefect.toml", "prefect.yaml", "pyproject.toml"):
            shutil.copy(ROOT / name, self.project)
        self.home.mkdir()

    def start(self, module: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module], cwd=self.project, env=self.environ, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def alive(self) -> list[psutil.Process]:
        """Everything that runs there."""
        return [one for one in psutil.process_iter() if _home_of(one) == str(self.home)]

    def lose_power(self) -> None:
        while alive := self.alive():
            for process in alive:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(alive, timeout=5)
        for one in self.processes:
            one.wait()


def _home_of(process: psutil.Process) -> str | None:
    try:
        environ = process.environ()
    except psutil.Error:
        return None
    home: str | None = environ.get(MARK) or environ.get("SLUICE_HOME")
    return home if process.name() != "postgres" else None


@dataclass
class Network:
    server: Host
    workers: list[Host]
    api: PrefectApi
    data: str
    store: Any
    prefect_database: str | None
    why_not: str

    def put(self, path: str, text: str) -> None:
        self.store.pipe_file(path, text.encode())

    def objects(self, prefix: str) -> list[str]:
        self.store.invalidate_cache()
        return sorted(path.removeprefix(prefix) for path in self.store.find(prefix))

    def import_file(self, **parameters: Any) -> str:
        deployment = self.api.get("/deployments/name/import-file/import-file")["id"]
        return str(self.api.post(f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def limit_rows(self, a_second: int | None) -> None:
        """Slow all imports down together, or no longer: how long one takes is not left to how fast the machine is."""
        rate = {"limit": a_second, "slot_decay_per_second": a_second} if a_second else {}
        self.api.patch(f"/v2/concurrency_limits/{RATE_LIMIT}", {"active": a_second is not None, **rate})

    def state(self, run: str) -> str:
        return str(self.api.get(f"/flow_runs/{run}")["state_type"])

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with closing(connect(self.data)) as connection:
            return connection.execute(query.encode()).fetchall()

    def loads(self, source: str) -> str:
        """The run of an import that has committed some of its rows, and not all; empty where there is none."""
        found = self.sql(
            "SELECT flow_run_id FROM sluice.imports i JOIN sluice.chunks c ON c.import_id = i.id"
            f" WHERE source LIKE '%{source}' AND status = 'running'"
            " GROUP BY flow_run_id, bytes_total HAVING max(byte_end) < bytes_total"
        )
        return str(found[0][0]) if found else ""

    def host_of(self, run: str) -> Host:
        process = process_of(run)
        host = next(host for host in self.workers if str(host.home) == _home_of(process))
        assert Path(process.cwd()) == host.project.resolve()
        return host


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    # Not pytest's folder: each pytest that starts closes it to other users, PostgreSQL's among them where root tests.
    top = Path(tempfile.mkdtemp(prefix="sluice-hosts-")).resolve()
    top.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, top, ignore_errors=True)
        prefect_database, why_not = None, ""
        try:
            prefect_database = stack.enter_context(system_postgres())
        except Missing as missing:
            why_not = str(missing)
        data = embedded_url(top / "data")
        stack.callback(stop_embedded, top / "data")
        store = stack.enter_context(closing(_Store(top)))
        port = free_port()
        told = {
            **environment_of_others(top),
            **store.environ,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_API_AUTH_STRING": PASSWORD,
            "SLUICE_DATABASE_URL": data,
            "SLUICE_INBOX_URI": "s3://files/inbox",
        }
        hosts = []
        for name in ("server", "one", "two"):
            host = Host(name, top / name, told | {"SLUICE_HOME": str(top / name / "home")})
            host.install()
            stack.callback(host.lose_power)
            hosts.append(host)
        server, *workers = hosts
        server.environ |= {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_API_AUTH_STRING": PASSWORD}
        if prefect_database is not None:
            server.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = prefect_database
        network = Network(
            server,
            workers,
            PrefectApi(f"http://127.0.0.1:{port}/api", PASSWORD),
            data,
            store.client(),
            prefect_database,
            why_not,
        )
        _start(network)
        yield network


class _Store:
    """An S3 server on this machine."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        with (folder / "store.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.environ = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "not-shown-anywhere",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        import s3fs  # type: ignore[import-untyped]

        client = s3fs.S3FileSystem(
            key=self.environ["AWS_ACCESS_KEY_ID"],
            secret=self.environ["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=self.environ["AWS_ENDPOINT_URL_S3"],
        )

        def answers() -> bool:
            try:
                client.mkdir("files")
            except OSError:
                return False
            return True

        until(answers, 30, "the object store")
        return client

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _start(network: Network) -> None:
    """The commands of docs/hosts.md."""
    network.server.start("deployments.server")

    def answers() -> bool:
        try:
            network.api.get("/health")
        except PrefectApiError:
            return False
        return True

    until(answers, 120, f"the server; its log ends: {network.server.log[-2000:]}")
    provision = network.server.start("deployments.provision")
    assert provision.wait(120) == 0, network.server.log[-2000:]
    for host in network.workers:
        host.start("deployments.worker")
    network.server.start("deployments.watcher")
    for host in network.workers:
        until(lambda host=host: "ready: " in host.log, 120, f"worker {host.name}")  # type: ignore[misc]


def contacts(*numbers: int) -> str:
    return "name,email,company\n" + "".join(f"N {number},{number}@x.org,C\n" for number in numbers)


def people(*numbers: int) -> str:
    return "name,email,age,department\n" + "".join(f"N {number},{number}@x.org,40,D\n" for number in numbers)


def leads(rows: int) -> str:
    return "company_name,contact_email,notes\n" + "".join(
        f"Company {number},{number}@example.org,a note on it\n" for number in range(rows)
    )


def test_deployments_hold_no_folder_of_the_host_that_made_them(network: Network) -> None:
    for deployment in network.api.post("/deployments/filter", {}):
        assert deployment["pull_steps"] == []
        assert deployment["path"] is None
        assert str(network.server.folder) not in str(deployment)


def test_every_file_is_imported_once_though_a_host_dies(network: Network) -> None:
    network.put("files/elsewhere/table.csv", "a,b\n" + "1,2\n" * 1000)
    by_api = [
        network.import_file(source="s3://files/elsewhere/table.csv", table=f"public.t{number}") for number in range(4)
    ]
    until(lambda: {network.state(one) for one in by_api} == {"COMPLETED"}, 120, "the imports over the API")
    network.limit_rows(50_000)
    network.put("files/inbox/leads/big.csv", leads(BIG_ROWS))
    run = until(lambda: network.loads("big.csv"), 90, "rows of the big file")
    lost = network.host_of(run)
    lost.lose_power()
    network.limit_rows(None)
    assert network.state(run) == "RUNNING"
    # While it is away: many small ones, and one that was there before.
    for number in range(5):
        network.put(f"files/inbox/contacts/{number}.csv", contacts(*range(10 * number, 10 * number + 10)))
        network.put(f"files/inbox/people/{number} ü.csv", people(number))
    network.put("files/inbox/contacts/again.csv", contacts(*range(10)))
    # What the automation does when a run was silent for two minutes.
    crashed = {"type": "CRASHED", "message": "No sign of life."}
    network.api.post(f"/flow_runs/{run}/set_state", {"state": crashed, "force": True})
    until(lambda: not network.objects("files/inbox/"), 120, "an empty inbox")

    for number in range(4):
        assert network.sql(f"SELECT count(*) FROM public.t{number}") == [(1000,)]
    assert network.sql("SELECT count(*), count(DISTINCT contact_email) FROM public.leads") == [(BIG_ROWS, BIG_ROWS)]
    assert network.sql("SELECT count(*), count(DISTINCT email) FROM public.contacts") == [(50, 50)]
    assert network.sql("SELECT count(*) FROM public.people") == [(5,)]
    dropped = network.sql(
        "SELECT status, attempt, records, loaded FROM sluice.imports WHERE source LIKE '%/inbox/%' ORDER BY records"
    )
    assert dropped == [
        *[("completed", 1, 1, 1)] * 5,
        *[("completed", 1, 10, 10)] * 5,
        ("completed", 2, *[BIG_ROWS] * 2),
    ]
    assert len(network.objects("files/archive/")) == 12
    assert len([name for name in network.objects("files/archive/") if "already-imported-as-" in name]) == 1
    assert network.objects("files/failed/") == []
    for host in network.workers:
        assert "submitted to infrastructure" in host.log, f"{host.name} took no part"
    assert "not-shown-anywhere" not in network.server.log + "".join(host.log for host in network.workers)

    lost.start("deployments.worker")  # the host is back
    until(lambda: lost.log.count("ready: ") == 2, 60, "the worker of the host that died")


def test_a_worker_that_is_stopped_says_what_becomes_of_its_runs(network: Network) -> None:
    network.put("files/elsewhere/slow.csv", "a,b\n" + "1,2\n" * 3_000_000)
    run = network.import_file(
        source="s3://files/elsewhere/slow.csv", table="public.slow", all_text=True, max_rows_per_second=200_000
    )
    until(lambda: network.loads("slow.csv"), 60, "rows of the slow file")
    host = network.host_of(run)
    launcher = host.processes[-1]
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(60) == 0
    assert host.alive() == []
    assert network.state(run) == "CRASHED"
    assert network.sql("SELECT status FROM sluice.imports WHERE source LIKE '%slow.csv'") != [("running",)]
    again = network.import_file(source="s3://files/elsewhere/slow.csv", table="public.slow", all_text=True)
    until(lambda: network.state(again) == "COMPLETED", 60, "the same import on the other host")
    assert network.sql("SELECT count(*) FROM public.slow") == [(3_000_000,)]


def test_prefect_keeps_its_data_in_a_postgresql_of_the_operators(network: Network) -> None:
    if network.prefect_database is None:
        pytest.skip(network.why_not)
    with closing(psycopg.connect(network.prefect_database)) as connection:
        found = connection.execute("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'").fetchone()
    assert found is not None
    assert found[0] > 0
    assert not (network.server.home / "prefect" / "prefect.db").exists()


def test_a_worker_without_the_shared_database_does_not_start() -> None:
    with tempfile.TemporaryDirectory() as home:
        environ = {**environment_of_others(Path(home)), "SLUICE_HOME": home}
        ended = subprocess.run(
            [sys.executable, "-m", "deployments.worker"], cwd=ROOT, env=environ, capture_output=True, text=True
        )
    assert ended.returncode == 1
    assert "SLUICE_DATABASE_URL is not set" in ended.stdout
