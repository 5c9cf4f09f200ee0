"""An inbox in an object store: its complete objects are fetched into the local inbox, and removed over there.

From then on they are dropped files like any other. A process killed between the two fetches an object again: it is
then the same file again, which the local inbox (while it waits there) or the ledger (afterwards) knows.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sluice.errors import SourceError, SourceUnavailable
from sluice.inbox import DONE, REQUIRE_DONE, STILL_SECONDS_UNSURE, is_data, safe_name
from sluice.inbox_files import move
from sluice.location import locate

#: Stores in which an object is there as a whole or not at all.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}

#: What tells one content of a name from the next, by store.
_IDENTITY = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "created")


@dataclass(slots=True)
class RemoteInbox:
    """A prefix with one folder a dataset: `s3://bucket/inbox`.

    Attributes:
        local: the local inbox.
    """

    uri: str
    local: Path
    _fetched: set[str] = field(default_factory=set)
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, local: Path, environ: Mapping[str, str] | None = None) -> RemoteInbox | None:
        """The one `SLUICE_INBOX_URI` names, if any."""
        uri = (os.environ if environ is None else environ).get("SLUICE_INBOX_URI", "").strip()
        return cls(uri, local) if uri else None

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return locate(self.uri).shown

    def fetch(self, datasets: Iterable[str]) -> list[Path]:
        """Fetch what is complete; where it lies now.

        Raises:
            SourceUnavailable: the store did not answer, or failed on its side; look again.
            SourceError: its driver is not installed.
        """
        try:
            from fsspec.core import url_to_fs

            system, root = url_to_fs(self.uri)
            return [path for name in datasets for path in self._fetch(system, f"{root.rstrip('/')}/{name}", name)]
        except ImportError as error:
            raise SourceError(f"Reading {self.shown} needs a driver that is not installed.") from error
        except Exception as error:  # each store has its own; their messages may quote credentials
            raise SourceUnavailable(f"The inbox {self.shown} could not be read ({type(error).__name__}).") from None

    def _fetch(self, system: Any, folder: str, dataset: str) -> list[Path]:
        system.invalidate_cache()
        try:
            entries = [one for one in system.ls(folder, detail=True) if one["type"] == "file"]
        except FileNotFoundError:
            return []
        named = {one["name"].rsplit("/", 1)[-1]: one for one in entries}
        found = []
        for name, entry in sorted(named.items(), key=lambda pair: (_modified(pair[1]), pair[0])):
            marked = name + DONE in named
            if is_data(name) and (marked or REQUIRE_DONE not in named) and self._is_complete(system, entry, marked):
                path = self._fetch_one(system, entry, self.local / dataset, name)
                if path is not None:
                    found.append(path)
                    if marked:
                        with suppress(FileNotFoundError):
                            system.rm_file(named[name + DONE]["name"])
        return found

    def _is_complete(self, system: Any, entry: dict[str, Any], marked: bool) -> bool:
        key, now = _identity(entry), time.monotonic()
        if key in self._fetched:  # it could not be removed
            return False
        _, since = self._seen.get(entry["name"], (key, now))
        if self._seen.get(entry["name"], (key, now))[0] != key:
            since = now
        self._seen[entry["name"]] = key, since
        protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
        return marked or bool(protocols & _ATOMIC) or now - since >= STILL_SECONDS_UNSURE

    def _fetch_one(self, system: Any, entry: dict[str, Any], folder: Path, name: str) -> Path | None:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{secrets.token_hex(8)}.part"
        try:
            before = _identity(system.info(entry["name"]))  # a listing of some stores says the same in other types
            system.get_file(entry["name"], str(part))
            system.invalidate_cache()
            if part.stat().st_size != entry["size"] or _identity(system.info(entry["name"])) != before:
                return None  # it was replaced meanwhile; the new one is fetched at the next look
            os.utime(part, (_modified(entry),) * 2)  # files are imported in the order of their modification
            path = move(part, folder, safe_name(name))
        except FileNotFoundError:  # another watcher was faster
            return None
        finally:
            part.unlink(missing_ok=True)
        self._fetched.add(_identity(entry))
        with suppress(FileNotFoundError, PermissionError):
            system.rm_file(entry["name"])
        return path


def _identity(entry: dict[str, Any]) -> str:
    return repr((entry["name"], entry["size"], [str(entry[key]) for key in _IDENTITY if entry.get(key) is not None]))


def _modified(entry: dict[str, Any]) -> float:
    """Seconds since the epoch; now where the store does not say."""
    for key in _MODIFIED:
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                return datetime.fromisoformat(value).timestamp()
    return time.time()
