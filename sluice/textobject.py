"""The text as it lies in an object store, in plain UTF-8: read in ranges, by any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sluice.location import Location, locate, store_of, translated_for
from sluice.spool import changed

#: Stores that read ranges and tell one content of a name from the next; http servers may do neither.
_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}

#: What tells one content of a name from the next, by store.
_IDENTITY = ("ETag", "etag", "generation", "VersionId", "LastModified", "last_modified", "updated")


@dataclass(frozen=True, slots=True)
class TextObject:
    """Bytes from `start` of a stored object. Small and picklable; its address holds no credentials.

    Attributes:
        identity: see `identity_of`.
    """

    uri: str
    start: int
    size: int
    identity: str

    @contextmanager
    def open(self) -> Iterator[ObjectReader]:
        """Raises SourceError, SourceUnavailable: as `sluice.location.opened`."""
        location = locate(self.uri)
        with translated_for(location):
            system, path = store_of(location)
        yield ObjectReader(self, location, system, path)


class ObjectReader:
    """Random access to the text."""

    def __init__(self, text: TextObject, location: Location, system: Any, path: str) -> None:
        self._text, self._location, self._system, self._path = text, location, system, path

    def read(self, start: int, end: int) -> bytes:
        """The text's bytes from `start` to `end`.

        Raises:
            SourceError: the object was replaced since it was fingerprinted. SourceUnavailable: try again.
        """
        text = self._text
        with translated_for(self._location):
            piece: bytes = self._system.cat_file(self._path, start=start + text.start, end=end + text.start)
            self._system.invalidate_cache()
            now = _identity(self._system.info(self._path))
        if len(piece) < end - start or now != text.identity:
            raise changed(self._location.shown)
        return piece


def identity_of(location: Location) -> str | None:
    """What tells the object's content from the one that may replace it. None for what is no object of a store, or has
    credentials in its address.

    Raises:
        SourceError, SourceUnavailable: as `sluice.location.opened`.
    """
    if location.path is not None or urlsplit(location.uri).scheme.lower() not in _STORES:
        return None
    if location.uri != location.shown:
        return None
    with translated_for(location):
        system, path = store_of(location)
        return _identity(system.info(path))


def _identity(info: dict[str, Any]) -> str:
    return repr((info["size"], [str(info[key]) for key in _IDENTITY if info.get(key) is not None]))
