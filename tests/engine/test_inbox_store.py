"""Objects dropped into a store, on a real Prefect server and a real database: each once, come what may."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sluice.inbox import TRIES, UNAVAILABLE
from sluice.inbox_remote import RemoteInbox
from sluice.prefect_api import PrefectApi
from sluice.run import import_file as import_with_engine
from sluice.settings import Settings
from tasks import inbox_store
from tasks.inbox import SERVICE_STOPS
from tasks.inbox_store import StoreWatch
from tests.engine.dropped import emails, end, execute, runs, sql

LOG = logging.getLogger("test")
DAY = time.strftime("%F", time.gmtime())

pytestmark = pytest.mark.usefixtures("prefect_server")


class Store:
    """An object store in this process, with an inbox in it."""

    def __init__(self, api: PrefectApi, uri: str) -> None:
        self.api, self.system = api, fsspec.filesystem("memory")
        self.inbox = RemoteInbox(uri)

    def drop(self, name: str, *emails: str, header: str = "name,email,company") -> None:
        text = "\n".join([header, *(f"N,{email},C" for email in emails)]) + "\n"
        self.system.pipe_file(self.inbox.path("contacts", name), text.encode())

    def watch(self) -> StoreWatch:
        return StoreWatch(Settings.from_environment(), self.api, LOG, self.inbox)

    def names(self) -> list[str]:
        top = self.inbox.beside("")
        return sorted(path.removeprefix(top).replace(DAY, "DAY") for path in self.system.find(top))

    def text(self, path: str) -> str:
        text: str = self.system.cat_file(self.inbox.beside(path)).decode()
        return text


@pytest.fixture
def store(home: Path, deployed: PrefectApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    uri = f"memory://{secrets.token_hex(4)}/inbox"
    monkeypatch.setenv("SLUICE_INBOX_URI", uri)
    monkeypatch.setattr(inbox_store, "pause_after", lambda fruitless: 0.0)
    yield Store(deployed, uri)
    for run in runs(deployed, "SCHEDULED", "PENDING", "RUNNING"):  # none is left for the next test to execute
        deployed.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})


def test_an_object_is_imported_and_archived_under_its_number(store: Store) -> None:
    store.drop("november.csv", "a@x.org", "b@x.org")
    watch = store.watch()
    assert watch.scan() == 1
    assert watch.scan() == 1  # under way
    (run,) = execute(store.api)
    assert (run["state_type"], run["name"]) == ("COMPLETED", "contacts <- november.csv")
    assert store.names() == ["inbox/contacts/november.csv"]
    watch.scan()
    assert store.names() == ["archive/contacts/DAY/1-november.csv"]
    assert emails() == ["a@x.org", "b@x.org"]
    assert watch.scan() == 0


def test_small_ones_go_together_and_each_is_an_import_of_its_own(store: Store) -> None:
    for number in range(3):
        store.drop(f"{number}.csv", f"{number}@x.org")
    store.drop("again.csv", "1@x.org")
    store.drop("bad.csv", "z@x.org", header="name,telephone,company")
    watch = store.watch()
    watch.scan()
    (run,) = execute(store.api)
    assert "3 of 5 files imported, 1 imported before, 1 failed: 3 records." in run["state"]["message"]
    assert store.names() == [
        *(f"archive/contacts/DAY/{number + 1}-{number}.csv" for number in range(3)),
        "archive/contacts/DAY/already-imported-as-2-again.csv",
        "failed/contacts/bad.csv",
        "failed/contacts/bad.csv.why.txt",
    ]
    assert "email" in store.text("failed/contacts/bad.csv.why.txt")
    assert watch.scan() == 0
    assert sql("SELECT count(*) FROM sluice.imports WHERE status = 'completed'") == [(3,)]


def test_a_failed_object_may_come_back(store: Store) -> None:
    store.drop("bad.csv", "a@x.org", header="name,telephone,company")
    watch = store.watch()
    watch.scan()
    execute(store.api)
    watch.scan()
    assert store.names() == ["failed/contacts/bad.csv", "failed/contacts/bad.csv.why.txt"]
    store.system.rm_file(store.inbox.beside("failed/contacts/bad.csv"))
    store.drop("bad.csv", "a@x.org")
    watch.scan()
    execute(store.api)
    watch.scan()
    assert store.names() == ["archive/contacts/DAY/1-bad.csv"]


def test_the_same_name_again_is_another_file_and_the_same_content_is_said_to_be(store: Store) -> None:
    watch = store.watch()
    for address in ("a@x.org", "b@x.org", "a@x.org"):
        store.drop("daily.csv", address)
        watch.scan()
        execute(store.api)
        watch.scan()
    assert emails() == ["a@x.org", "b@x.org"]
    assert store.names() == [
        "archive/contacts/DAY/1-daily.csv",
        "archive/contacts/DAY/2-daily.csv",
        "archive/contacts/DAY/already-imported-as-1-daily.csv",
    ]


def test_an_object_written_again_while_it_is_imported_is_imported_too(store: Store) -> None:
    for name in ("a.csv", "b.csv"):
        store.drop(name, f"old-{name}@x.org")
    watch = store.watch()
    watch.scan()
    store.drop("b.csv", "new-b.csv@x.org")  # before the run reads it
    execute(store.api)
    watch.scan()
    execute(store.api)
    watch.scan()
    assert emails() == ["new-b.csv@x.org", "old-a.csv@x.org"]
    assert store.names() == ["archive/contacts/DAY/1-a.csv", "archive/contacts/DAY/2-b.csv"]


def test_a_run_that_crashed_is_begun_again_with_what_is_left(store: Store) -> None:
    for number in range(4):
        store.drop(f"{number}.csv", f"{number}@x.org")
    watch = store.watch()
    watch.scan()
    (run,) = runs(store.api, "SCHEDULED")
    objects = store.inbox.look("contacts")
    imported = [import_with_engine(one.source, dataset="contacts").import_id for one in objects[:2]]
    assert objects[1].archive("2-1.csv")  # the first was imported and not moved, the second moved as well
    end(store.api, run, "CRASHED")
    watch.scan()
    (second,) = runs(store.api, "SCHEDULED")
    assert second["id"] != run["id"]
    execute(store.api)
    watch.scan()
    assert emails() == [f"{number}@x.org" for number in range(4)]
    assert store.names() == [
        "archive/contacts/DAY/2-1.csv",
        "archive/contacts/DAY/3-2.csv",
        "archive/contacts/DAY/4-3.csv",
        f"archive/contacts/DAY/already-imported-as-{imported[0]}-0.csv",
    ]
    assert sql("SELECT count(*) FROM sluice.imports") == [(4,)]


def test_a_run_that_crashed_after_its_import_is_only_settled(store: Store) -> None:
    store.drop("a.csv", "a@x.org")
    watch = store.watch()
    watch.scan()
    (run,) = execute(store.api)
    end(store.api, run, "CRASHED")
    watch.scan()
    assert store.names() == ["archive/contacts/DAY/1-a.csv"]
    assert runs(store.api, "SCHEDULED") == []


def test_names_that_look_like_secrets_are_not_taken_for_one_another(store: Store) -> None:
    for number in range(2):
        store.drop(f"a#{number}.csv", f"{number}@x.org")
    watch = store.watch()
    watch.scan()
    (run,) = runs(store.api, "SCHEDULED")
    first = store.inbox.look("contacts")[0]
    import_with_engine(first.source, dataset="contacts")
    sql(f"UPDATE sluice.imports SET flow_run_id = '{run['id']}' RETURNING 1")
    end(store.api, run, "CRASHED")
    watch.scan()
    execute(store.api)
    assert emails() == ["0@x.org", "1@x.org"]
    assert store.names() == ["archive/contacts/DAY/2-a#1.csv", "archive/contacts/DAY/already-imported-as-1-a#0.csv"]


def test_a_copy_that_somebody_made_of_a_run_is_none_of_ours(store: Store) -> None:
    for number in range(2):
        store.drop(f"{number}.csv", f"{number}@x.org")
    watch = store.watch()
    watch.scan()
    (run,) = execute(store.api)
    copied = {name: run[name] for name in ("parameters", "tags")}
    store.api.post(f"/deployments/{run['deployment_id']}/create_flow_run", copied)
    store.drop("2.csv", "2@x.org")
    watch.scan()
    execute(store.api)
    watch.scan()
    assert emails() == [f"{number}@x.org" for number in range(3)]


def test_an_object_that_ends_every_process_holds_up_none_of_the_others(store: Store) -> None:
    for number in range(3):
        store.drop(f"{number}.csv", f"{number}@x.org")
    watch = store.watch()
    watch.scan()
    for _ in range(TRIES):
        (run,) = runs(store.api, "SCHEDULED")
        end(store.api, run, "CRASHED", "Killed.")
        watch.scan()
    assert "Killed." in store.text("failed/contacts/0.csv.why.txt")
    watch.scan()
    execute(store.api)
    watch.scan()
    assert emails() == ["1@x.org", "2@x.org"]
    assert [name for name in store.names() if name.startswith("inbox")] == []


def test_a_store_or_database_that_is_away_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        store.drop(f"{number}.csv", f"{number}@x.org")
    watch = store.watch()
    watch.scan()
    uri = store.inbox.uri
    monkeypatch.delenv("SLUICE_INBOX_URI")
    (run,) = execute(store.api)
    assert (run["state_name"], "SLUICE_INBOX_URI" in run["state"]["message"]) == (UNAVAILABLE, True)
    monkeypatch.setenv("SLUICE_INBOX_URI", uri)
    watch.scan()
    execute(store.api)
    assert emails() == ["0@x.org", "1@x.org"]
    assert watch.scan() == 0


@pytest.mark.parametrize("by_service", [False, True])
def test_a_cancelled_run(store: Store, by_service: bool) -> None:
    store.drop("a.csv", "a@x.org")
    watch = store.watch()
    watch.scan()
    (run,) = runs(store.api, "SCHEDULED")
    if by_service:
        end(store.api, run, "RUNNING")
        end(store.api, run, "CANCELLING", SERVICE_STOPS)
    end(store.api, run, "CANCELLED")
    watch.scan()
    if by_service:
        assert len(runs(store.api, "SCHEDULED")) == 1
    else:
        assert store.names() == ["failed/contacts/a.csv", "failed/contacts/a.csv.why.txt"]


def test_watchers_on_two_hosts_begin_each_run_once(store: Store) -> None:
    one, other = store.watch(), store.watch()
    for number in range(4):
        store.drop(f"{number}.csv", f"{number}@x.org")
        for watch in (one, other, one):
            watch.scan()
        assert len(runs(store.api, "SCHEDULED")) == 1
        execute(store.api)
        for watch in (other, one):
            watch.scan()
    assert emails() == [f"{number}@x.org" for number in range(4)]
    assert store.names() == [f"archive/contacts/DAY/{number + 1}-{number}.csv" for number in range(4)]


def test_the_flow_watch_inbox_does_the_same(store: Store) -> None:
    from flows.watch_inbox import watch_inbox

    store.drop("a.csv", "a@x.org")
    state: Any = watch_inbox(seconds=0, return_state=True)
    assert state.message == "1 files are waiting or being imported."
    execute(store.api)
    watch_inbox(seconds=0, return_state=True)
    assert store.names() == ["archive/contacts/DAY/1-a.csv"]
