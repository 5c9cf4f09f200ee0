"""The server goes away in the middle: the load does not notice, and the news are told when it is back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from sluice.importer import Progress
from sluice.model import Counts
from tests.engine.prefect_api import Api

pytestmark = pytest.mark.usefixtures("prefect_server")

ABOUT = {"dataset": "d", "table": "public.t", "source": "f.csv"}


class Relay:
    """Passes connections on to the server, or refuses them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def cut(self) -> None:
        """Down, with all that was open."""
        self.up = False
        for connection in self._open:
            connection.close()
        self._open.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    address = urlsplit(str(PREFECT_API_URL.value()))
    assert address.hostname
    assert address.port
    relay = Relay(address.hostname, address.port)
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{relay.port}/api"}):
        yield relay
    relay.close()


@pytest.fixture
def flow_run_id(api: Api) -> UUID:
    flow = api.post("/flows/", name="outage")
    return UUID(api.post("/flow_runs/", flow_id=flow["id"], name="d <- f.csv")["id"])


def news(percent: int) -> Progress:
    return Progress(77, percent, 100, Counts(records=percent, loaded=percent))


def wait_for_name(api: Api, flow_run_id: UUID, name: str) -> None:
    for _ in range(100):
        if api.get(f"/flow_runs/{flow_run_id}")["name"] == name:
            return
        time.sleep(0.2)
    pytest.fail(f"the run was never named {name}")


def test_news_wait_for_the_server(relay: Relay, flow_run_id: UUID, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import live

    monkeypatch.setattr(live, "EVERY", 0.2)
    run = live.LiveRun(flow_run_id, "d <- f.csv", [], "d")
    run.begin(news(0), ABOUT, with_events=False)
    run.progress(news(10))
    wait_for_name(api, flow_run_id, "d <- f.csv · 10 %")

    relay.cut()
    slowest = 0.0
    for percent in range(11, 60):
        begun = time.perf_counter()
        run.progress(news(percent))
        slowest = max(slowest, time.perf_counter() - begun)
        time.sleep(0.02)
    assert slowest < 0.05
    assert api.get(f"/flow_runs/{flow_run_id}")["name"] == "d <- f.csv · 10 %"

    relay.up = True
    wait_for_name(api, flow_run_id, "d <- f.csv · 59 %")
    run.progress(news(100))
    run.end([])
    assert api.get(f"/flow_runs/{flow_run_id}")["name"] == "d <- f.csv"
    assert api.artifacts(str(flow_run_id))["import-77-progress"]["data"] == 100


def test_a_server_that_stays_away_holds_up_the_end_only_so_long(relay: Relay, flow_run_id: UUID) -> None:
    from prefect.client.schemas.actions import ArtifactCreate

    from tasks import live

    relay.cut()
    run = live.LiveRun(flow_run_id, "d <- f.csv", [], "d")
    run.begin(news(0), ABOUT, with_events=False)
    run.progress(news(100))
    begun = time.monotonic()
    run.end([ArtifactCreate(key="import-77-report", type="markdown", data="x")], patience=2.0)
    assert time.monotonic() - begun < 4


def test_what_the_server_refuses_does_not_keep_the_rest_back(flow_run_id: UUID, api: Api) -> None:
    from prefect.client.schemas.actions import ArtifactCreate

    from tasks import live

    run = live.LiveRun(flow_run_id, "d <- f.csv", [], "d")
    run.begin(news(0), ABOUT, with_events=False)
    bad = ArtifactCreate.model_construct(key="Not A Key", type="markdown", data="x")
    run.end([bad, ArtifactCreate(key="import-77-report", type="markdown", data="kept")])
    assert api.artifacts(str(flow_run_id))["import-77-report"]["data"] == "kept"
