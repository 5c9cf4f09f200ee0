"""An inbox in an object store: what lies there, and where it goes afterwards.

    s3://bucket/inbox/customers/november.csv                  dropped; stays here until it is imported
    s3://bucket/inbox/customers/november.csv.done             optional: says that november.csv is complete
    s3://bucket/archive/customers/2026-11-21/17-november.csv  imported, as number 17
    s3://bucket/failed/customers/november.csv                 refused or failed; november.csv.why.txt says why

Nothing of it is on any one machine: workers read the objects from the store, and any of them may die.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sluice.errors import SluiceError, SourceError, SourceUnavailable
from sluice.inbox import DONE, REQUIRE_DONE, STILL_SECONDS_UNSURE, WHY, fitted, is_data, safe_name
from sluice.location import locate

#: Stores in which an object is there as a whole or not at all.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}

#: When an object was written, by store.
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "created")

#: Seconds between two looks at a store: each is a request that costs money.
LOOK_SECONDS = 5.0

#: Characters of an object's identity: enough that no two of one name are alike.
_IDENTITY_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a dataset's folder.

    Attributes:
        source: its address, which an import reads it from.
        identity: changes when it is written again under its name.
        modified: seconds since the epoch.
        marked: its `.done` object lies beside it.
    """

    inbox: RemoteInbox = field(repr=False)
    dataset: str
    name: str
    identity: str
    size: int
    modified: float
    marked: bool = False

    @property
    def source(self) -> str:
        return f"{self.inbox.uri}/{self.dataset}/{self.name}"

    @property
    def is_shown(self) -> bool:
        """Whether the ledger keeps its address as it is; it leaves out what might be a secret, behind `?` or `#`."""
        return locate(self.source).shown == self.source

    @property
    def key(self) -> str:
        """Names this content of it in the parameters of a run."""
        return f"{self.identity} {self.name}"

    @property
    def age(self) -> tuple[float, str]:
        """Sorts the oldest first."""
        return self.modified, self.name

    @property
    def origin(self) -> str:
        """Where it came from, in words."""
        return f"Out of {self.inbox.uri}/{self.dataset}."

    def sha256(self) -> str:
        """Of its content. Reads it through.

        Raises:
            SourceUnavailable: the store did not answer, or it is gone.
        """
        with self.inbox.reached() as system, system.open(self.inbox.path(self.dataset, self.name), "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()

    def archive(self, name: str) -> bool:
        """Move it to `archive/<dataset>/<day>/`. False where somebody else did, or it was written again meanwhile.

        Raises:
            SourceUnavailable: the store did not answer, or refused.
        """
        folder = f"{self.inbox.beside('archive')}/{self.dataset}/{datetime.now(UTC):%F}"
        return self.inbox.move(self, folder, safe_name(name)) is not None

    def fail(self, name: str, why: str) -> bool:
        """Move it to `failed/<dataset>/`, with a text beside it that says why; otherwise as `archive`."""
        folder, name = f"{self.inbox.beside('failed')}/{self.dataset}", safe_name(name)
        with self.inbox.reached() as system:
            system.makedirs(folder, exist_ok=True)
            self._say_why(system, folder, name, why)  # first: no file is to lie there without one
            moved = self.inbox.move(self, folder, name)
            if moved is None and not system.exists(f"{folder}/{name}"):
                system.rm_file(f"{folder}/{fitted('', name, WHY)}")
            elif moved is not None and moved != name:
                self._say_why(system, folder, moved, why)
        return moved is not None

    def _say_why(self, system: Any, folder: str, name: str, why: str) -> None:
        system.pipe_file(f"{folder}/{fitted('', name, WHY)}", why.encode("utf-8", "backslashreplace"))


@dataclass(slots=True)
class RemoteInbox:
    """A prefix with one folder a dataset: `s3://bucket/inbox`."""

    uri: str
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> RemoteInbox | None:
        """The one `SLUICE_INBOX_URI` names, if any.

        Raises:
            SourceError: the address cannot be that of an inbox.
        """
        uri = (os.environ if environ is None else environ).get("SLUICE_INBOX_URI", "").strip().rstrip("/")
        if not uri:
            return None
        if (shown := locate(uri).shown) != uri:  # it stands in the parameters of runs, which everybody sees
            raise SourceError(
                f"SLUICE_INBOX_URI must not hold credentials or parameters: {shown}",
                hint="Give them to the store's driver by its own variables, such as AWS_ACCESS_KEY_ID.",
            )
        if "/" not in uri.partition("://")[2].strip("/"):
            raise SourceError(
                f"SLUICE_INBOX_URI must name a folder in the store, such as {uri}/inbox.",
                hint="The folders archive and failed are made beside it.",
            )
        return cls(uri)

    @contextmanager
    def reached(self) -> Iterator[Any]:
        """The store, as fsspec has it, without what it remembers of earlier looks.

        Raises:
            SourceUnavailable: it did not answer, or failed on its side, in the block.
            SourceError: its driver is not installed.
        """
        try:
            from fsspec.core import url_to_fs

            system, _ = url_to_fs(self.uri)
            system.invalidate_cache()
            yield system
        except SluiceError:
            raise
        except ImportError as error:
            raise SourceError(f"Reading {self.uri} needs a driver that is not installed.") from error
        except Exception as error:  # each store has its own; their messages may quote credentials
            raise SourceUnavailable(f"The inbox {self.uri} could not be used ({type(error).__name__}).") from None

    def path(self, dataset: str, name: str) -> str:
        """Where the store has an object, in its driver's terms."""
        return f"{self._root()}/{dataset}/{name}"

    def beside(self, name: str) -> str:
        """The folder of that name beside the inbox, in its driver's terms."""
        return f"{self._root().rpartition('/')[0]}/{name}"

    def _root(self) -> str:
        from fsspec.core import url_to_fs

        root: str = url_to_fs(self.uri)[1]
        return root.rstrip("/")

    def look(self, dataset: str) -> list[Object]:
        """The complete objects of a dataset's folder, the oldest first; none where there is no such folder.

        Raises:
            as `reached`.
        """
        with self.reached() as system:
            folder = f"{self._root()}/{dataset}"
            try:
                entries = [one for one in system.ls(folder, detail=True) if one["type"] == "file"]
            except FileNotFoundError:
                return []
            named = {one["name"].rsplit("/", 1)[-1]: one for one in entries}
            found = []
            for name, entry in named.items():
                marked = name + DONE in named
                if is_data(name) and (marked or (REQUIRE_DONE not in named and self._is_complete(system, entry))):
                    found.append(self._object(dataset, name, entry, marked))
        return sorted(found, key=lambda one: one.age)

    def get(self, dataset: str, name: str) -> Object | None:
        """The object of that name as it is now, None where there is none.

        Raises:
            as `reached`.
        """
        with self.reached() as system:
            try:
                entry = system.info(self.path(dataset, name))
            except FileNotFoundError:
                return None
            marked = system.exists(self.path(dataset, name + DONE))
        return self._object(dataset, name, entry, marked)

    def _object(self, dataset: str, name: str, entry: dict[str, Any], marked: bool) -> Object:
        modified = _modified(entry)
        return Object(
            self,
            dataset,
            name,
            identity=_identity(entry),
            size=entry["size"],
            modified=time.time() if modified is None else modified,
            marked=marked,
        )

    def _is_complete(self, system: Any, entry: dict[str, Any]) -> bool:
        protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
        if protocols & _ATOMIC:
            return True
        identity, now = _identity(entry), time.monotonic()
        before, since = self._seen.get(entry["name"], (identity, now))
        since = since if before == identity else now
        self._seen[entry["name"]] = identity, since
        return now - since >= STILL_SECONDS_UNSURE

    def forget(self, dataset: str, names: Iterable[str]) -> None:
        """Remove the texts on failed files that have gone back into the inbox; best effort."""
        folder = f"{self.beside('failed')}/{dataset}"
        with suppress(SluiceError), self.reached() as system, suppress(FileNotFoundError):
            there = {path.rsplit("/", 1)[-1] for path in system.ls(folder, detail=False)}
            for name in names:
                if name not in there and (text := fitted("", name, WHY)) in there:
                    system.rm_file(f"{folder}/{text}")

    def move(self, found: Object, folder: str, name: str) -> str | None:
        """Copy it there under a name that is free, then remove it; begun again after a crash, it ends the same.

        Returns its name there; None where somebody else has moved it, or it was written again.

        Stores cannot remove on condition: what is written under its name in the moment between the last look and the
        removal is lost.
        """
        path, free, number = self.path(found.dataset, found.name), name, 1
        with self.reached() as system:
            try:
                while system.exists(f"{folder}/{free}"):
                    if _alike(system.info(path), system.info(f"{folder}/{free}")):
                        break
                    number += 1
                    free = fitted(f"{number}-", name)
                else:
                    system.makedirs(folder, exist_ok=True)
                    system.cp_file(path, f"{folder}/{free}")
                system.invalidate_cache()
                if _identity(system.info(path)) != found.identity:
                    return None
                system.rm_file(path)
            except FileNotFoundError:
                return None
            if found.marked:
                with suppress(FileNotFoundError):
                    system.rm_file(path + DONE)
        return free


def _identity(entry: Mapping[str, Any]) -> str:
    etag, modified = entry.get("ETag") or entry.get("etag"), _modified(entry) or 0.0
    # Looked up alone, an object's time is told to the second by S3, and in another type than in a listing by others.
    when = (str(etag).strip('"'), int(modified)) if etag else (entry.get("generation"), round(modified, 5))
    words = repr((entry["name"].rsplit("/", 1)[-1], entry["size"], when))
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:_IDENTITY_CHARACTERS]


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the store says that two objects hold the same."""
    etags = [entry.get("ETag") or entry.get("etag") for entry in (one, other)]
    return one["size"] == other["size"] and etags[0] is not None and etags[0] == etags[1]


def _modified(entry: Mapping[str, Any]) -> float | None:
    """Seconds since the epoch; None where the store does not say."""
    for key in _MODIFIED:
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                return datetime.fromisoformat(value).timestamp()
    return None
