"""The whole service, as `make up` runs it: every part answers, survives a kill, tells people, and ends clean."""

from __future__ import annotations

import json
import re
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployments.runs import ACTIVE
from sluice.database import connect
from sluice.embedded import embedded_runs, embedded_url
from sluice.prefect_api import PrefectApi, PrefectApiError, service_url
from tests.engine.service import PASSWORD, ROOT, Service, running_service, until

pytestmark = pytest.mark.slow


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


@pytest.fixture(scope="module")
def web() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def mail() -> Iterator[MailReceiver]:
    receiver = MailReceiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def service(web: WebReceiver, mail: MailReceiver) -> Iterator[Service]:
    told = {
        "SLUICE_ALERT_WEBHOOK": web.url("hook"),
        "SLUICE_ALERT_SLACK": web.url("slack"),
        "SLUICE_ALERT_EMAIL": "ops@example.org",
        "SLUICE_ALERT_SMTP": mail.url,
        "SLUICE_ALERT_REJECT_PERCENT": "50",
    }
    with running_service(told) as running:
        yield running


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


def test_small_files_dropped_together_are_imported_under_a_password(service: Service) -> None:
    for number in range(3):
        service.drop("people", f"{number}.csv", f"name,email,age,department\nN,{number}@example.org,40,D\n")
    until(lambda: len(service.archived("people")) == 3, 60, "three archived files")
    assert service.failed("people") == []


def test_nonsense_is_refused_before_a_run_starts(service: Service) -> None:
    with pytest.raises(PrefectApiError, match="mode") as refused:
        service.start_run("nonsense", source="samples/contacts.csv", dataset="contacts", mode="upsert")
    assert refused.value.status == 409


def test_a_failure_is_told_to_everybody(service: Service, web: WebReceiver, mail: MailReceiver) -> None:
    kind, _ = service.end_of(service.start_run("missing", source="/nowhere/<!channel>.csv", dataset="contacts"))
    assert kind == "FAILED"
    until(lambda: web.to("hook", "Failed"), 30, "webhook")
    slack = until(lambda: web.to("slack", "Failed"), 30, "Slack")
    until(lambda: mail.got, 30, "e-mail")
    assert "<!channel>" not in slack[0]["text"]
    assert "Failed" in mail.got[0]
    assert "To: ops@example.org" in mail.got[0]


def test_many_rejects_are_told_few_are_not(service: Service, web: WebReceiver) -> None:
    few, many = service.home / "few.csv", service.home / "many.csv"
    few.write_text("a,b\n" + "1,2\n" * 9 + "1\n")
    many.write_text("a,b\n" + "1,2\n" + "1\n" * 2)
    for path, table in ((few, "public.few"), (many, "public.many")):
        kind, message = service.end_of(service.start_run(table, source=str(path), table=table, all_text=True))
        assert kind == "COMPLETED", message
    told = until(lambda: web.to("hook", "% rejected"), 30, "webhook")
    assert [body["subject"].startswith("66.67 % rejected: ") for body in told] == [True]


def test_the_address_of_a_webhook_is_not_shown(service: Service, web: WebReceiver, mail: MailReceiver) -> None:
    blocks = json.dumps(service.api.post("/block_documents/filter", {"limit": 50}))
    assert "sluice-webhook" in blocks
    assert web.url("hook") not in blocks
    assert mail.url not in blocks


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
    assert len(before[0]) == 4  # automations


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
    with closing(sqlite3.connect(home / "prefect/prefect.db")) as connection:
        return {row[0] for row in connection.execute("SELECT DISTINCT state_type FROM flow_run")}
