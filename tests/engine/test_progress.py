"""What a run of `import-file` shows while it goes and when it ends, read over the REST API as a client would."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sluice import opening
from sluice.chunks import Cutter
from sluice.database import connect, database_url
from sluice.embedded import stop_embedded
from sluice.importer import Progress
from sluice.settings import Settings
from tests.engine.prefect_api import Api

ROOT = Path(__file__).parents[2]
CUSTOMERS = str(ROOT / "samples/customers.csv")

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """A SLUICE_HOME with a database for all tests of the module: one takes seconds to make."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    yield folder
    stop_embedded(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(server: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That database, empty."""
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(server))
    monkeypatch.setenv("SLUICE_DATASETS", str(ROOT / "expectations"))
    with connect(database_url(Settings.from_environment())) as connection:
        connection.execute("DROP SCHEMA IF EXISTS sluice CASCADE")
        connection.execute("DROP TABLE IF EXISTS public.customers, public.contacts")
    return server


def run(**parameters: Any) -> Any:
    from flows.import_file import import_file

    return import_file(**parameters, return_state=True)


def flow_run(api: Api, state: Any) -> Any:
    return api.get(f"/flow_runs/{state.state_details.flow_run_id}")


def test_the_end_of_an_import_is_all_there(home: Path, api: Api) -> None:
    state = run(source=CUSTOMERS, dataset="customers")
    report = state.result()
    shown = flow_run(api, state)
    assert shown["name"] == "customers <- customers.csv"
    assert shown["tags"] == ["customers"]
    assert shown["labels"]["sluice.import_id"] == report.import_id
    assert shown["state"]["message"] == report.message

    artifacts = api.artifacts(shown["id"])
    assert set(artifacts) == {f"import-1-{name}" for name in ("progress", "report", "errors", "json")}
    assert artifacts["import-1-progress"]["data"] == 100
    assert artifacts["import-1-json"]["data"] == report.to_dict()
    errors = json.loads(artifacts["import-1-errors"]["data"])
    assert sum(row["errors"] for row in errors) == sum(report.errors_by_rule.values())
    assert errors == sorted(errors, key=lambda row: -row["errors"])
    assert set(errors[0]) == {"code", "category", "column", "errors", "rows", "first line", "example", "message"}
    page = artifacts["import-1-report"]["data"]
    assert f"| 10,000 | {report.loaded:,} | 0 | 0 | 0 | {report.rejected:,} |" in page
    assert "`sluice rejects 1 --output rejects.csv`" in page
    for code, count in report.errors_by_rule.items():
        assert f"| `{code}` | {count:,} | `█" in page


def test_events_tell_the_story(home: Path, api: Api) -> None:
    state = run(source=str(ROOT / "samples/contacts.csv"), dataset="contacts")
    report = state.result()
    mine = api.events(state.state_details.flow_run_id, at_least=3)
    assert {event["resource"]["prefect.resource.id"] for event in mine} == {f"sluice.import.{report.import_id}"}
    assert [event["event"].removeprefix("sluice.import.") for event in mine] == ["started", "completed", "rejected"]
    payload = mine[-1]["payload"]
    assert (payload["records"], payload["rejected"], payload["reject_percent"]) == (200, 4, 2.0)
    assert (payload["dataset"], payload["table"], payload["source"]) == ("contacts", "public.contacts", "contacts.csv")
    assert mine[-1]["resource"]["sluice.reject-percent"] == "2"


def test_an_import_that_fails_half_way_shows_why(home: Path, api: Api) -> None:
    state = run(source=CUSTOMERS, dataset="customers", max_rejects="10")
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert "205 rows were rejected; allowed are 10" in state.message
    shown = flow_run(api, state)
    assert shown["name"] == "customers <- customers.csv"
    artifacts = api.artifacts(shown["id"])
    assert artifacts["import-1-json"]["data"]["status"] == "failed"
    assert "`sluice resume 1`" in artifacts["import-1-report"]["data"]
    assert json.loads(artifacts["import-1-errors"]["data"])
    kinds = {event["event"] for event in api.events(shown["id"], at_least=3)}
    assert "sluice.import.failed" in kinds
    assert "sluice.import.completed" not in kinds


def test_an_import_that_never_began_is_an_event_without_a_number(home: Path, api: Api, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as nothing:
        Thread(target=nothing.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{nothing.server_port}"
        state = run(source=f"http://user:secret@{address}/none.csv?sig=secret", dataset="customers")
        nothing.shutdown()
    assert state.type.value == "FAILED"
    shown = flow_run(api, state)
    assert "secret" not in shown["name"]
    assert shown["tags"] == ["customers"]
    assert api.artifacts(shown["id"]) == {}
    events = api.events(shown["id"])
    assert [event["event"] for event in events] == ["sluice.import.failed"]
    assert events[0]["resource"]["prefect.resource.id"] == "sluice.import.none"
    assert "secret" not in json.dumps(events)


def test_a_dry_run_leaves_a_page_and_no_event(home: Path, api: Api) -> None:
    state = run(source=CUSTOMERS, dataset="customers", dry_run=True)
    artifacts = api.artifacts(str(state.state_details.flow_run_id))
    assert "(dry run)" in artifacts["dry-run-report"]["data"]
    assert "import-1-json" not in artifacts
    time.sleep(1)
    assert not api.events(state.state_details.flow_run_id, at_least=0)


def test_hostile_text_is_shown_as_text(home: Path, api: Api, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>|[x](javascript:alert(1))`\x1b[31m\u202e" + "A" * 5000
    path = tmp_path / f"a|b <i>`x`{'long' * 20}.csv"
    path.write_text(f'name,email,company\n"x","{evil}","c"\n', encoding="utf-8")
    state = run(source=str(path), dataset="contacts")
    assert state.result().rejected == 1
    shown = flow_run(api, state)
    artifacts = api.artifacts(shown["id"])
    page, description = artifacts["import-1-report"]["data"], artifacts["import-1-report"]["description"]
    for text in (page, description):
        assert not re.search(r"(?<!\\)<[a-z/]|(?<!\\)\](?=\()|\x1b|\u202e|A{300}", text)
    for row in json.loads(artifacts["import-1-errors"]["data"]):
        assert not re.search(r"<[a-z/]|\]\(|\x1b|\u202e|A{300}", json.dumps(row, ensure_ascii=False))
    (sample,) = [line for line in page.splitlines() if line.startswith("| 2 |")]
    assert len(re.findall(r"(?<!\\)\|", sample)) == 5
    assert shown["name"] == "contacts <- a|b <i>`x`longlonglo…onglonglonglong.csv"


def test_the_run_is_renamed_as_it_goes(home: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import live
    from tasks.progress import listening

    monkeypatch.setattr(opening, "Cutter", partial(Cutter, chunk_bytes=400_000))
    monkeypatch.setattr(live, "EVERY", 0.2)
    seen: list[tuple[str, float, str]] = []

    def look(progress: Progress) -> None:
        time.sleep(2.0)  # the thread has its say
        found = api.post("/flow_runs/filter", sort="START_TIME_DESC", limit=1)[0]
        artifact = api.artifacts(found["id"])[f"import-{progress.import_id}-progress"]
        seen.append((found["name"], artifact["data"], artifact["description"]))

    with listening(look):
        state = run(source=CUSTOMERS, dataset="customers")
    assert state.name == "CompletedWithRejects"
    assert len(seen) >= 4
    assert all(re.fullmatch(r"customers <- customers\.csv · \d+ %", name) for name, _, _ in seen)
    percents = [percent for _, percent, _ in seen]
    assert percents == sorted(percents)
    assert percents[1] > 0
    assert re.search(r"\*\*\d+ %\*\* · [\d,]+ records · \d+ rejected · [\d,]+ a second · \d+ s left", seen[2][2])
    assert flow_run(api, state)["name"] == "customers <- customers.csv"
    kinds = [event["event"] for event in api.events(state.state_details.flow_run_id, at_least=4)]
    assert "sluice.import.progress" in kinds


def test_rows_a_second_are_limited(home: Path) -> None:
    report = run(source=str(ROOT / "samples/contacts.csv"), dataset="contacts", max_rows_per_second=100).result()
    assert report.records == 200
    assert 2.0 <= report.seconds < 20


def test_a_limit_that_all_imports_share_holds(home: Path, api: Api) -> None:
    made = api.post("/v2/concurrency_limits/", name="sluice-rows", limit=100, slot_decay_per_second=50, active=True)
    try:
        begun = time.monotonic()
        state = run(source=str(ROOT / "samples/contacts.csv"), dataset="contacts")
        assert state.name == "CompletedWithRejects"
        assert time.monotonic() - begun >= 2.0  # 100 at once, 100 more at 50 a second
    finally:
        api.delete(f"/v2/concurrency_limits/{made['id']}")
