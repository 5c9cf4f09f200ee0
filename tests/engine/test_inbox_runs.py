"""Dropped files on a real Prefect server and a real database: each file once, whatever happens in between.

Runs that a watcher began are executed in this process, by the engine a worker's process would start.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluice import inbox_files as files
from sluice.inbox import IMPORTING, TRIES, UNAVAILABLE, Attempt
from sluice.prefect_api import PrefectApi
from sluice.run import import_file as import_with_engine
from sluice.settings import Settings
from tasks.inbox import SERVICE_STOPS, Watch
from tests.engine.dropped import emails, end, execute, runs, sql

ROOT = Path(__file__).parents[2]
LOG = logging.getLogger("test")

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def inbox(home: Path, deployed: PrefectApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLUICE_INBOX", str(home / "inbox"))
    (home / "inbox" / "contacts").mkdir(parents=True)
    yield home / "inbox"
    for run in runs(deployed, "SCHEDULED", "PENDING", "RUNNING"):  # none is left for the next test to execute
        deployed.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})


def watcher(api: PrefectApi) -> Watch:
    return Watch(Settings.from_environment(), api, LOG)


def drop(inbox: Path, name: str, *emails: str, dataset: str = "contacts", header: str = "name,email,company") -> Path:
    """A file that was written a minute ago."""
    path = inbox / dataset / name
    path.write_text("\n".join([header, *(f"N,{email},C" for email in emails)]) + "\n")
    os.utime(path, (time.time() - 60,) * 2)
    return path


def begin(api: PrefectApi) -> Watch:
    """Two looks: the first one only sees."""
    watch = watcher(api)
    watch.scan()
    watch.scan()
    return watch


def archived(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "archive").rglob("*") if path.is_file())


def failed(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "failed").rglob("*") if path.is_file())


def claims(inbox: Path) -> list[files.Taken]:
    return list(files.claims(inbox / "contacts"))


def test_a_dropped_file_is_imported_and_archived_under_its_number(
    home: Path, inbox: Path, deployed: PrefectApi
) -> None:
    drop(inbox, "november.csv", "a@x.org", "b@x.org")
    watch = begin(deployed)
    assert not (inbox / "contacts" / "november.csv").exists()
    (run,) = execute(deployed)
    assert (run["state_type"], run["name"]) == ("COMPLETED", "contacts <- november.csv")
    assert set(run["tags"]) >= {"inbox", "contacts"}
    watch.scan()
    assert emails() == ["a@x.org", "b@x.org"]
    assert archived(home) == ["1-november.csv"]
    assert claims(inbox) == []
    assert watch.scan() == 0


def test_a_file_is_not_taken_before_it_is_complete(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    drop(inbox, "a.csv.part", "a@x.org")
    path = drop(inbox, "b.csv", "b@x.org")
    with path.open("a") as writing:
        begin(deployed)
        assert claims(inbox) == []
        writing.write("N,c@x.org,C\n")
    begin(deployed)
    assert claims(inbox) == []  # written to a moment ago
    (inbox / "contacts" / "b.csv.done").touch()
    watch = watcher(deployed)
    watch.scan()  # its mark saves the wait
    execute(deployed)
    watch.scan()
    assert emails() == ["b@x.org", "c@x.org"]
    assert sorted(os.listdir(inbox / "contacts")) == [IMPORTING, "a.csv.part"]


def test_marks_can_be_required(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    (inbox / "contacts" / ".require-done").touch()
    drop(inbox, "a.csv", "a@x.org")
    begin(deployed)
    assert claims(inbox) == []
    (inbox / "contacts" / "a.csv.done").touch()
    begin(deployed)
    assert len(claims(inbox)) == 1


def test_the_same_content_again_says_so(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    for name in ("a.csv", "again.csv"):
        drop(inbox, name, "a@x.org")
        watch = begin(deployed)
        execute(deployed)
        watch.scan()
    assert archived(home) == ["1-a.csv", "already-imported-as-1-again.csv"]
    assert sql("SELECT count(*) FROM sluice.imports") == [(1,)]


def test_a_failed_file_lies_beside_its_reason_and_may_come_back(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    drop(inbox, "bad.csv", "a@x.org", header="name,telephone,company")
    watch = begin(deployed)
    execute(deployed)
    watch.scan()
    assert failed(home) == ["bad.csv", "bad.csv.why.txt"]
    assert "email" in (home / "failed/contacts/bad.csv.why.txt").read_text()
    assert claims(inbox) == []
    (home / "failed/contacts/bad.csv").unlink()
    drop(inbox, "bad.csv", "a@x.org")
    watch = begin(deployed)
    execute(deployed)
    watch.scan()
    assert (failed(home), archived(home)) == ([], ["1-bad.csv"])


def test_small_files_go_together_and_each_is_an_import_of_its_own(
    home: Path, inbox: Path, deployed: PrefectApi
) -> None:
    for number in range(6):
        drop(inbox, f"{number}.csv", f"{number}@x.org")
    drop(inbox, "again.csv", "3@x.org")
    drop(inbox, "bad {x} <b>.csv", "z@x.org", header="name,telephone,company")
    watch = begin(deployed)
    (run,) = execute(deployed)
    assert run["state_type"] == "FAILED"
    assert "6 of 8 files imported, 1 imported before, 1 failed: 6 records." in run["state"]["message"]
    watch.scan()
    assert emails() == [f"{number}@x.org" for number in range(6)]
    assert archived(home) == [*(f"{n + 1}-{n}.csv" for n in range(6)), "already-imported-as-4-again.csv"]
    assert failed(home) == ["bad {x} <b>.csv", "bad {x} <b>.csv.why.txt"]
    assert sql("SELECT count(*), count(DISTINCT flow_run_id) FROM sluice.imports WHERE status = 'completed'") == [
        (6, 1)
    ]
    assert claims(inbox) == []


def test_small_files_go_on_when_the_connection_they_share_is_cut(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    for number in range(40):
        drop(inbox, f"{number:02}.csv", f"{number:02}@x.org")
    watch = begin(deployed)
    sql("SELECT 1")  # the database is there
    cut: list[Any] = []

    def cut_after_some() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (home / "archive").exists() and len(archived(home)) >= 5:
                cut.extend(
                    sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'sluice' AND pid <> pg_backend_pid()"
                    )
                )
                return
            time.sleep(0.01)

    thread = threading.Thread(target=cut_after_some)
    thread.start()
    (run,) = execute(deployed)
    thread.join()
    watch.scan()
    assert cut == [(True,)]
    assert (run["state_type"], len(archived(home))) == ("COMPLETED", 40)
    assert emails() == [f"{number:02}@x.org" for number in range(40)]
    assert sql("SELECT count(*), count(DISTINCT sha256) FROM sluice.imports WHERE status = 'completed'") == [(40, 40)]


def test_a_run_that_crashed_is_begun_again(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    drop(inbox, "a.csv", "a@x.org")
    watch = begin(deployed)
    (run,) = runs(deployed, "SCHEDULED")
    end(deployed, run, "CRASHED")
    watch.scan()
    (claim,) = claims(inbox)
    assert files.read_attempt(claim).number == 2
    files.write_attempt(claim, Attempt(2, 1, 1, 0.0))  # its pause has passed
    watch.scan()
    watch.scan()
    execute(deployed)
    watch.scan()
    assert emails() == ["a@x.org"]
    assert archived(home) == ["1-a.csv"]


def test_a_run_that_crashed_after_its_import_is_only_settled(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    drop(inbox, "a.csv", "a@x.org")
    watch = begin(deployed)
    (run,), (claim,) = runs(deployed, "SCHEDULED"), claims(inbox)
    import_with_engine(str(claim.files[0]), dataset="contacts")
    end(deployed, run, "CRASHED")
    watch.scan()
    assert archived(home) == ["1-a.csv"]
    assert runs(deployed, "SCHEDULED") == []
    assert claims(inbox) == []


def test_a_batch_that_crashed_half_way_goes_on_with_the_rest(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    for number in range(4):
        drop(inbox, f"{number}.csv", f"{number}@x.org")
    watch = begin(deployed)
    (run,), (claim,) = runs(deployed, "SCHEDULED"), claims(inbox)
    import_with_engine(str(claim.files[0]), dataset="contacts")  # imported, not moved
    import_with_engine(str(claim.files[1]), dataset="contacts")
    files.archive(claim.files[1], home, claim, "2-1.csv")  # moved as well
    end(deployed, run, "CRASHED")
    watch.scan()
    watch.scan()
    (second,) = execute(deployed)
    assert second["parameters"] == run["parameters"]
    watch.scan()
    assert emails() == [f"{number}@x.org" for number in range(4)]
    assert archived(home) == ["1-0.csv", "2-1.csv", "3-2.csv", "4-3.csv"]
    assert sql("SELECT count(*) FROM sluice.imports") == [(4,)]


def test_a_file_that_ends_every_process_holds_up_none_of_the_others(
    home: Path, inbox: Path, deployed: PrefectApi
) -> None:
    for number in range(3):
        drop(inbox, f"{number}.csv", f"{number}@x.org")
    watch = begin(deployed)
    for _ in range(TRIES):
        (run,), (claim,) = runs(deployed, "SCHEDULED"), claims(inbox)
        end(deployed, run, "CRASHED", "Killed.")
        watch.scan()
        attempt = files.read_attempt(claim)
        files.write_attempt(claim, replace(attempt, not_before=0.0))
        watch.scan()
    assert failed(home) == ["0.csv", "0.csv.why.txt"]
    assert "Killed." in (home / "failed/contacts/0.csv.why.txt").read_text()
    execute(deployed)
    watch.scan()
    assert emails() == ["1@x.org", "2@x.org"]
    assert claims(inbox) == []


@pytest.mark.parametrize("by_service", [False, True])
def test_a_cancelled_run(home: Path, inbox: Path, deployed: PrefectApi, by_service: bool) -> None:
    drop(inbox, "a.csv", "a@x.org")
    watch = begin(deployed)
    (run,) = runs(deployed, "SCHEDULED")
    if by_service:
        end(deployed, run, "RUNNING")
        end(deployed, run, "CANCELLING", SERVICE_STOPS)
    end(deployed, run, "CANCELLED")
    watch.scan()
    if by_service:  # it goes on at the next start
        watch.scan()
        assert len(runs(deployed, "SCHEDULED")) == 1
    else:
        assert failed(home) == ["a.csv", "a.csv.why.txt"]


def test_what_is_no_dataset_is_reported(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    (inbox / "costumers").mkdir()
    drop(inbox, "a.csv", "a@x.org", dataset="costumers")
    (inbox / "lost.csv").write_text("x")
    (inbox / "contacts" / "folder").mkdir()
    begin(deployed)
    assert "There is no dataset 'costumers'" in (inbox / "costumers.is-no-dataset.txt").read_text()
    assert "beside the datasets' folders" in (home / "failed/lost.csv.why.txt").read_text()
    assert "a folder" in (home / "failed/contacts/folder.why.txt").read_text()
    assert (inbox / "costumers" / "a.csv").exists()


def test_a_file_that_may_not_be_read_waits_until_it_may(deployed: PrefectApi) -> None:
    with tempfile.TemporaryDirectory() as top:
        settings = Settings(home=Path(top) / "home", inbox=Path(top) / "inbox", datasets=Path(top) / "datasets")
        path = settings.inbox / "contacts" / "a.csv"
        for folder in (settings.datasets / "contacts", path.parent, settings.home):
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        (settings.datasets / "contacts" / "dataset.yaml").touch()
        path.write_text("x")
        path.chmod(0)
        os.utime(path, (time.time() - 60,) * 2)
        for folder in (Path(top), settings.inbox, settings.datasets):
            folder.chmod(0o777)
        text = settings.home / "failed" / "contacts" / "a.csv.why.txt"
        watch = Watch(settings, deployed, LOG)
        with nobody():
            watch.scan()
            watch.scan()
        assert "may not be read" in text.read_text()
        assert path.exists()
        path.chmod(0o644)
        watch.scan()
        assert not path.exists()
        assert not text.exists()


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not read everything, where we are root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_two_watchers_take_each_file_once(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    one, other = watcher(deployed), watcher(deployed)
    for number in range(5):
        drop(inbox, f"{number}.csv", f"{number}@x.org")
        for watch in (one, other, one, other):
            watch.scan()
        execute(deployed)
        for watch in (other, one):
            watch.scan()
    assert emails() == [f"{number}@x.org" for number in range(5)]
    assert archived(home) == [f"{number + 1}-{number}.csv" for number in range(5)]
    assert sql("SELECT count(*) FROM sluice.imports") == [(5,)]


def test_the_flow_watch_inbox_does_the_same(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    from flows.watch_inbox import watch_inbox

    drop(inbox, "a.csv", "a@x.org")
    state: Any = watch_inbox(seconds=0.6, return_state=True)
    assert state.message == "1 files are waiting or being imported."
    execute(deployed)
    state = watch_inbox(seconds=0.6, return_state=True)
    assert state.message == "The inbox is empty."
    assert archived(home) == ["1-a.csv"]


def test_a_claim_that_does_not_exist_imports_nothing(home: Path, inbox: Path, deployed: PrefectApi) -> None:
    from flows.import_dropped import import_dropped

    (inbox / "contacts" / IMPORTING).mkdir()
    state: Any = import_dropped("contacts", files.new_key(), return_state=True)
    assert state.message.startswith("None of its files is left")
    for dataset, claim in (("contacts", "../../etc"), ("..", files.new_key())):
        assert import_dropped(dataset, claim, return_state=True).is_failed()


def test_a_worker_that_does_not_see_the_inbox_leaves_its_files_to_others(
    home: Path, inbox: Path, deployed: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        drop(inbox, f"{number}.csv", f"{number}@x.org")
    watch = begin(deployed)
    monkeypatch.setenv("SLUICE_INBOX", str(home / "elsewhere"))
    (run,) = execute(deployed)
    assert (run["state_type"], run["state_name"]) == ("FAILED", UNAVAILABLE)
    assert "does not see the inbox" in run["state"]["message"]
    watch.scan()
    (claim,) = claims(inbox)
    assert len(claim.files) == 2
    assert failed(home) == []


@pytest.mark.slow
def test_watchers_killed_at_random_lose_no_file_and_take_none_twice(
    home: Path, inbox: Path, deployed: PrefectApi
) -> None:
    """Two real processes, one of them killed every second, under a stream of files."""
    chance = random.Random(7)
    environ = {**os.environ, "PREFECT_API_URL": deployed.url}
    command = [sys.executable, "-m", "deployments.watcher"]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)

    watchers = [start(), start()]
    wanted = [f"{number:03}@x.org" for number in range(60)]
    try:
        for first in range(0, 60, 5):
            for email in wanted[first : first + 5]:
                drop(inbox, f"{email}.csv", email)
            time.sleep(chance.uniform(0.3, 1.2))
            victim = chance.randrange(2)
            watchers[victim].send_signal(signal.SIGKILL)
            watchers[victim].wait()
            watchers[victim] = start()
            execute(deployed)
        deadline = time.monotonic() + 180
        while len(archived(home)) < 60 and time.monotonic() < deadline:
            execute(deployed)
            time.sleep(0.5)
    finally:
        for process in watchers:
            process.terminate()
            process.wait(20)
    assert Counter(emails()) == Counter(wanted)
    assert sorted(name.partition("-")[2] for name in archived(home)) == [f"{email}.csv" for email in wanted]
    assert sql("SELECT count(*) FROM sluice.imports") == [(60,)]
    assert failed(home) == []
