"""The whole service, as `make up` runs it: every part answers, survives a kill, tells people, and ends clean."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import psutil  # type: ignore[import-untyped]
import pytest

from deployments.processes import MARK
from deployments.runs import ACTIVE
from sluice.database import connect
from sluice.embedded import embedded_runs, embedded_url, stop_embedded
from sluice.prefect_api import PrefectApi, PrefectApiError, service_url

ROOT = Path(__file__).parents[2]
PASSWORD = "admin:not-shown-anywhere"
T = TypeVar("T")

pytestmark = pytest.mark.slow


def until(question: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.3)
    raise AssertionError(f"{what}: not after {seconds:.0f} s")


class WebReceiver:
    """Keeps the JSON of every POST."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *words: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{path}"

    def to(self, path: str, text: str) -> list[dict[str, Any]]:
        return [body for to, body in self.got if to == f"/{path}" and text in json.dumps(body)]


class MailReceiver:
    """As much SMTP as a client needs to leave a message."""

    def __init__(self) -> None:
        self.got: list[str] = []
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 test\r\n")
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        lines = list(iter(self.rfile.readline, b".\r\n"))
                        receiver.got.append(b"".join(lines).decode())
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                    if word == b"QUIT":
                        return

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server.server_address[1]}"


@dataclass
class Service:
    home: Path
    port: int
    environ: dict[str, str]
    process: subprocess.Popen[str]
    web: WebReceiver
    mail: MailReceiver
    said: list[str] = field(default_factory=list)

    @property
    def api(self) -> PrefectApi:
        return PrefectApi(f"http://127.0.0.1:{self.port}/api", PASSWORD)

    def start_run(self, key: str, **parameters: Any) -> str:
        deployment = self.api.get("/deployments/name/import-file/import-file")["id"]
        wanted = {"parameters": parameters, "idempotency_key": key}
        return str(self.api.post(f"/deployments/{deployment}/create_flow_run", wanted)["id"])

    def state(self, run: str) -> tuple[str, str]:
        state = self.api.get(f"/flow_runs/{run}")["state"]
        return state["type"], state["message"] or ""

    def end_of(self, run: str) -> tuple[str, str]:
        until(lambda: self.state(run)[0] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"), 120, "end of the run")
        return self.state(run)

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


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    # Not pytest's folder: each pytest that starts closes it to other users, PostgreSQL's among them where root tests.
    with TemporaryDirectory(prefix="sluice-up-", ignore_cleanup_errors=True) as folder:
        yield from _service(Path(folder).resolve())


def _service(home: Path) -> Iterator[Service]:
    web, mail = WebReceiver(), MailReceiver()
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "PREFECT_"))}
    environ = kept | {
        "SLUICE_HOME": str(home),
        "SLUICE_INBOX": str(home / "inbox"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "SLUICE_ALERT_WEBHOOK": web.url("hook"),
        "SLUICE_ALERT_SLACK": web.url("slack"),
        "SLUICE_ALERT_EMAIL": "ops@example.org",
        "SLUICE_ALERT_SMTP": mail.url,
        "SLUICE_ALERT_REJECT_PERCENT": "50",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.up"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    service = Service(home, port, environ, process, web, mail)
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
        web.server.shutdown()
        mail.server.shutdown()
        web.server.server_close()
        mail.server.server_close()


def test_it_is_ready_when_everything_answers(service: Service) -> None:
    assert service.words("ready: ").startswith(f"ready: http://127.0.0.1:{service.port} ")
    assert service_url(service.home) == service.api.url
    status = subprocess.run(
        [sys.executable, "-c", "from sluice.cli import main; main()", "status"],
        cwd=ROOT,
        env=service.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert status.returncode == 0, status.stdout + status.stderr
    for part in ("database", "server", "ui", "worker", "flows"):
        assert re.search(rf"^{part} +up ", status.stdout, re.MULTILINE), status.stdout
    assert PASSWORD not in status.stdout


def test_it_asks_for_the_password(service: Service) -> None:
    with pytest.raises(PrefectApiError) as refused:
        PrefectApi(service.api.url).post("/flow_runs/filter", {})
    assert refused.value.status == 401


def test_a_run_over_the_api_loads_its_file_once(service: Service) -> None:
    parameters = {"source": "samples/contacts.csv", "dataset": "contacts"}
    run = service.start_run("once", **parameters)
    assert service.start_run("once", **parameters) == run
    kind, message = service.end_of(run)
    assert kind == "COMPLETED", message
    with connect(embedded_url(service.home)) as connection:
        loaded = connection.execute("SELECT loaded FROM sluice.imports").fetchall()
        assert connection.execute("SELECT count(*) FROM public.contacts").fetchall() == loaded
    assert loaded[0][0] > 0


def test_nonsense_is_refused_before_a_run_starts(service: Service) -> None:
    with pytest.raises(PrefectApiError, match="mode") as refused:
        service.start_run("nonsense", source="samples/contacts.csv", dataset="contacts", mode="upsert")
    assert refused.value.status == 409


def test_a_failure_is_told_to_everybody(service: Service) -> None:
    kind, _ = service.end_of(service.start_run("missing", source="/nowhere/<!channel>.csv", dataset="contacts"))
    assert kind == "FAILED"
    until(lambda: service.web.to("hook", "Failed"), 30, "webhook")
    slack = until(lambda: service.web.to("slack", "Failed"), 30, "Slack")
    until(lambda: service.mail.got, 30, "e-mail")
    assert "<!channel>" not in slack[0]["text"]
    assert "Failed" in service.mail.got[0]
    assert "To: ops@example.org" in service.mail.got[0]


def test_many_rejects_are_told_few_are_not(service: Service) -> None:
    few, many = service.home / "few.csv", service.home / "many.csv"
    few.write_text("a,b\n" + "1,2\n" * 9 + "1\n")
    many.write_text("a,b\n" + "1,2\n" + "1\n" * 2)
    for path, table in ((few, "public.few"), (many, "public.many")):
        kind, message = service.end_of(service.start_run(table, source=str(path), table=table, all_text=True))
        assert kind == "COMPLETED", message
    told = until(lambda: service.web.to("hook", "% rejected"), 30, "webhook")
    assert [body["subject"].startswith("66.67 % rejected: ") for body in told] == [True]


def test_the_address_of_a_webhook_is_not_shown(service: Service) -> None:
    blocks = json.dumps(service.api.post("/block_documents/filter", {"limit": 50}))
    assert "sluice-webhook" in blocks
    assert service.web.url("hook") not in blocks
    assert service.mail.url not in blocks


def test_provisioning_again_changes_nothing(service: Service) -> None:
    def there() -> list[list[str]]:
        paths = ("/automations/filter", "/deployments/filter", "/v2/concurrency_limits/filter", "/work_pools/filter")
        return [sorted(one["id"] for one in service.api.post(path, {})) for path in paths]

    before = there()
    environ = service.environ | {"PREFECT_API_URL": service.api.url, "PREFECT_API_AUTH_STRING": PASSWORD}
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "deployments.provision"], cwd=ROOT, env=environ, check=True, capture_output=True
        )
    assert there() == before
    assert len(before[0]) == 3  # automations


def test_a_second_one_says_so_and_ends(service: Service) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "deployments.up"],
        cwd=ROOT,
        env=service.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"a service already runs on {service.home}: process {service.process.pid}" in second.stdout


@pytest.mark.parametrize(("name", "word"), [("worker", "worker"), ("server", "deployments.server")])
def test_a_killed_part_is_started_again(service: Service, name: str, word: str) -> None:
    killed = service.child(word)
    killed.kill()
    service.words(f"{name} ended (signal SIGKILL); starting it again in 1 s")
    service.words(f"{name} started again")

    def answers() -> bool:
        try:
            return bool(service.api.post("/work_pools/filter", {}))
        except PrefectApiError:
            return False

    until(answers, 90, "the API")
    assert service.child(word).pid != killed.pid
    kind, message = service.end_of(
        service.start_run(f"after-{name}", source="samples/contacts.csv", dataset="contacts", force=True)
    )
    assert kind == "COMPLETED", message


def test_nothing_is_left_behind(service: Service) -> None:
    big = service.home / "big.csv"
    with big.open("w") as file:
        file.write("id,a,b\n")
        file.writelines(f"{number},hello {number},world\n" for number in range(6_000_000))
    run = service.start_run("big", source=str(big), table="public.big", all_text=True)

    def has_rows() -> bool:
        with connect(embedded_url(service.home)) as connection:
            found = connection.execute("SELECT bytes_done > 0 FROM sluice.imports ORDER BY id DESC LIMIT 1").fetchone()
        return bool(found and found[0] and service.state(run)[0] == "RUNNING")

    until(has_rows, 60, "rows of the big file")
    assert len(service.processes()) > 3
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(90) == 0
    service.words("1 running imports cancelled")
    assert service.processes() == []
    assert not embedded_runs(service.home)
    assert service_url(service.home) is None
    with connect(embedded_url(service.home)) as connection:
        ends = connection.execute("SELECT DISTINCT status FROM sluice.imports").fetchall()
    assert "running" not in {end[0] for end in ends}
    assert _states(service.home).isdisjoint(ACTIVE)


def _states(home: Path) -> set[str]:
    import sqlite3

    with closing(sqlite3.connect(home / "prefect/prefect.db")) as connection:
        return {row[0] for row in connection.execute("SELECT DISTINCT state_type FROM flow_run")}
