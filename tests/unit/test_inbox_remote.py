"""An inbox in an object store: fsspec's in-process one, and a folder by its file:// address."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sluice import inbox_remote
from sluice.errors import SourceUnavailable
from sluice.inbox_remote import RemoteInbox


@pytest.fixture
def store() -> Iterator[tuple[Any, str]]:
    system, prefix = fsspec.filesystem("memory"), f"/{secrets.token_hex(4)}"
    yield system, prefix
    if system.exists(prefix):
        system.rm(prefix, recursive=True)


def put(system: Any, path: str, text: str) -> None:
    system.pipe_file(path, text.encode())


def test_objects_become_dropped_files(tmp_path: Path, store: tuple[Any, str]) -> None:
    system, prefix = store
    put(system, f"{prefix}/customers/b.csv", "b")
    put(system, f"{prefix}/customers/ü \n x.csv", "ü")
    put(system, f"{prefix}/customers/c.csv.part", "c")
    put(system, f"{prefix}/unknown/d.csv", "d")
    remote = RemoteInbox(f"memory:/{prefix}", tmp_path)
    found = remote.fetch(["customers", "leads"])
    assert {path.name: path.read_text() for path in found} == {"b.csv": "b", "ü _ x.csv": "ü"}
    assert sorted(path.name for path in (tmp_path / "customers").iterdir()) == ["b.csv", "ü _ x.csv"]
    assert sorted(system.find(prefix)) == [f"{prefix}/customers/c.csv.part", f"{prefix}/unknown/d.csv"]
    assert remote.fetch(["customers"]) == []


def test_marks_can_be_required_in_a_store(tmp_path: Path, store: tuple[Any, str]) -> None:
    system, prefix = store
    put(system, f"{prefix}/customers/.require-done", "")
    put(system, f"{prefix}/customers/a.csv", "a")
    remote = RemoteInbox(f"memory:/{prefix}", tmp_path)
    assert remote.fetch(["customers"]) == []
    put(system, f"{prefix}/customers/a.csv.done", "")
    assert [path.name for path in remote.fetch(["customers"])] == ["a.csv"]
    assert system.find(prefix) == [f"{prefix}/customers/.require-done"]


def test_an_object_fetched_again_after_a_crash_is_the_same_file(tmp_path: Path, store: tuple[Any, str]) -> None:
    system, prefix = store
    for _ in range(2):  # as if it had not been removed the first time
        put(system, f"{prefix}/customers/a.csv", "a")
        RemoteInbox(f"memory:/{prefix}", tmp_path).fetch(["customers"])
    assert [path.name for path in (tmp_path / "customers").iterdir()] == ["a.csv"]


def test_an_object_replaced_under_its_name_is_another_file(tmp_path: Path, store: tuple[Any, str]) -> None:
    system, prefix = store
    remote = RemoteInbox(f"memory:/{prefix}", tmp_path)
    for text in ("one", "two"):
        put(system, f"{prefix}/customers/a.csv", text)
        remote.fetch(["customers"])
    assert sorted(path.read_text() for path in (tmp_path / "customers").iterdir()) == ["one", "two"]


def test_a_store_without_atomic_objects_is_given_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = tmp_path / "far" / "customers"
    far.mkdir(parents=True)
    (far / "a.csv").write_text("a")
    remote = RemoteInbox(far.parent.as_uri(), tmp_path / "near")
    assert remote.fetch(["customers"]) == []
    monkeypatch.setattr(inbox_remote, "STILL_SECONDS_UNSURE", 0.0)
    assert [path.read_text() for path in remote.fetch(["customers"])] == ["a"]
    assert list(far.iterdir()) == []


def test_a_store_that_fails_is_told_without_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remote = RemoteInbox("https://user:secret@127.0.0.1:1/inbox?sig=secret", tmp_path)
    with pytest.raises(SourceUnavailable) as caught:
        remote.fetch(["customers"])
    assert "secret" not in str(caught.value)
