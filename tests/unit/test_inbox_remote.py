"""An inbox in an object store: fsspec's in-process one, and a folder by its file:// address."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sluice import inbox_remote
from sluice.errors import SourceError, SourceUnavailable
from sluice.inbox_remote import Object, RemoteInbox


@pytest.fixture
def store() -> Iterator[tuple[Any, RemoteInbox]]:
    system, top = fsspec.filesystem("memory"), f"/{secrets.token_hex(4)}"
    yield system, RemoteInbox(f"memory:/{top}/inbox")
    if system.exists(top):
        system.rm(top, recursive=True)


def put(store: tuple[Any, RemoteInbox], path: str, text: str) -> None:
    system, inbox = store
    system.pipe_file(f"{inbox.path('customers', '').removesuffix('customers/')}{path}", text.encode())


def there(store: tuple[Any, RemoteInbox]) -> dict[str, str]:
    """Path beside or within the inbox -> text."""
    system, inbox = store
    top = inbox.beside("")
    return {path.removeprefix(top): system.cat_file(path).decode() for path in system.find(top)}


def one(store: tuple[Any, RemoteInbox]) -> Object:
    (found,) = store[1].look("customers")
    return found


def test_the_complete_objects_of_a_dataset_the_oldest_first(store: tuple[Any, RemoteInbox]) -> None:
    for name in ("z.csv", "b.csv", "ü \n x?#%20.csv", "c.csv.part", ".hidden", "d.csv.done"):
        put(store, f"customers/{name}", name)
        time.sleep(0.002)
    put(store, "unknown/d.csv", "d")
    found = store[1].look("customers")
    assert [one.name for one in found] == ["z.csv", "b.csv", "ü \n x?#%20.csv"]
    assert found[0].source == f"{store[1].uri}/customers/z.csv"
    assert [one.size for one in found[:2]] == [5, 5]
    assert store[1].look("leads") == []


def test_marks_can_be_required_in_a_store(store: tuple[Any, RemoteInbox]) -> None:
    put(store, "customers/.require-done", "")
    put(store, "customers/a.csv", "a")
    assert store[1].look("customers") == []
    put(store, "customers/a.csv.done", "")
    assert one(store).archive("1-a.csv")
    assert sorted(there(store)) == [
        f"archive/customers/{time.strftime('%F', time.gmtime())}/1-a.csv",
        INBOX + ".require-done",
    ]


INBOX = "inbox/customers/"


def test_a_failed_object_lies_beside_its_reason_until_it_comes_back(store: tuple[Any, RemoteInbox]) -> None:
    put(store, "customers/a\n.csv", "a")
    assert one(store).fail("a\n.csv", "Because.")
    assert there(store) == {"failed/customers/a_.csv": "a", "failed/customers/a_.csv.why.txt": "Because."}
    store[1].forget("customers", ["a_.csv"])
    assert len(there(store)) == 2
    put(store, "customers/a_.csv", "b")
    assert one(store).fail("a_.csv", "Because of b.")  # nothing is overwritten
    assert there(store)["failed/customers/2-a_.csv"] == "b"
    assert there(store)["failed/customers/2-a_.csv.why.txt"] == "Because of b."
    store[0].rm_file(f"{store[1].beside('failed')}/customers/2-a_.csv")
    store[1].forget("customers", ["2-a_.csv"])
    assert "failed/customers/2-a_.csv.why.txt" not in there(store)


def test_an_object_written_again_meanwhile_is_left(store: tuple[Any, RemoteInbox]) -> None:
    put(store, "customers/a.csv", "one")
    before = one(store)
    put(store, "customers/a.csv", "two")
    assert one(store).key != before.key
    assert not before.archive("1-a.csv")
    assert there(store)["inbox/customers/a.csv"] == "two"


def test_what_somebody_else_has_moved_is_no_error(store: tuple[Any, RemoteInbox]) -> None:
    put(store, "customers/a.csv", "a")
    first, second = one(store), one(store)
    assert first.archive("1-a.csv")
    assert not second.archive("1-a.csv")
    assert not second.fail("a.csv", "Because.")
    assert list(there(store).values()) == ["a"]
    assert store[1].get("customers", "a.csv") is None
    with pytest.raises(SourceUnavailable):
        second.sha256()


def test_the_identity_is_the_same_at_every_look(store: tuple[Any, RemoteInbox]) -> None:
    put(store, "customers/a.csv", "a")
    found = one(store)
    again = store[1].get("customers", "a.csv")
    assert again is not None
    assert again.key == found.key == one(store).key


def test_a_store_without_atomic_objects_is_given_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = tmp_path / "inbox" / "customers"
    far.mkdir(parents=True)
    (far / "a.csv").write_text("a")
    inbox = RemoteInbox(far.parent.as_uri())
    assert inbox.look("customers") == []
    monkeypatch.setattr(inbox_remote, "STILL_SECONDS_UNSURE", 0.0)
    (found,) = inbox.look("customers")
    assert found.archive("1-a.csv")
    assert [path.read_text() for path in (tmp_path / "archive").rglob("*.csv")] == ["a"]
    assert list(far.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("https://user:secret@host/inbox", "credentials"),
        ("https://host/inbox?sig=secret", "credentials"),
        ("s3://bucket", "such as s3://bucket/inbox"),
        ("s3://bucket/", "such as s3://bucket/inbox"),
        ("ftp://host/inbox", "does not read ftp://"),
    ],
)
def test_an_address_that_cannot_be_an_inbox(uri: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        RemoteInbox.from_environment({"SLUICE_INBOX_URI": uri})
    assert "secret" not in str(caught.value)


def test_an_address_that_can() -> None:
    assert RemoteInbox.from_environment({"SLUICE_INBOX_URI": " "}) is None
    inbox = RemoteInbox.from_environment({"SLUICE_INBOX_URI": "memory://bucket/inbox/"})
    assert inbox is not None
    assert (inbox.path("leads", "a"), inbox.beside("failed")) == ("/bucket/inbox/leads/a", "/bucket/failed")
