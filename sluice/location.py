"""Where a source lies: a path or a URI, opened for reading, with every failure told apart as final or passing.

Local files are opened directly; http(s), s3, gs and az go through fsspec, which is imported only then.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from sluice.errors import SluiceError, SourceError, SourceUnavailable

#: Scheme -> the extra of this package that installs its driver; None where nothing is needed.
#: `memory` is fsspec's in-process store, for tests and notebooks.
_REMOTE = {
    "http": None,
    "https": None,
    "memory": None,
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=//)|(file):", re.IGNORECASE)

#: Query parameters that say which file is meant and never who may read it. All others are shown without values,
#: because signed URLs (S3, Azure, Google) and tokens live in the query.
_HARMLESS = {"id", "gid", "name", "file", "filename", "path", "format", "date", "version", "versionid", "dl", "raw"}

#: Seconds to connect, and to wait for the next bytes. aiohttp's own limit, 5 minutes for the whole transfer, would
#: cut long downloads off.
_CONNECT_SECONDS, _READ_SECONDS = 30, 60

#: Packages whose exceptions mean that a remote store could not be used, whatever their class.
_DRIVERS = {
    "aiohttp",
    "fsspec",
    "botocore",
    "aiobotocore",
    "s3fs",
    "gcsfs",
    "google",
    "azure",
    "adlfs",
    "urllib3",
    "requests",
    "ssl",
}
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "ClientAuthenticationError",
}


@dataclass(frozen=True, slots=True)
class Location:
    """A source's place. `shown` is safe to print and to store; `uri` may hold credentials and is never shown.

    `path` is absolute for local files and None for remote ones; `name` is the last part of the path.
    """

    uri: str
    shown: str
    name: str
    path: Path | None

    def __repr__(self) -> str:
        return f"Location({self.shown!r})"


def locate(source: str | os.PathLike[str]) -> Location:
    """The place a path (with `~`) or URI names. Touches nothing.

    Raises:
        SourceError: for a scheme Sluice does not read.
    """
    text = os.fspath(source)
    match = _SCHEME.match(text)
    if match is None:
        return _local(text)
    scheme = (match[1] or match[2]).lower()
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise SourceError(
                f"file://{parts.hostname or ''}/... names another machine.", hint="Local files are file:///path."
            )
        return _local(unquote(parts.path))
    if scheme not in _REMOTE or "::" in text:
        raise SourceError(
            f"Sluice does not read {scheme}:// addresses{' with ::' if '::' in text else ''}.",
            hint="It reads local paths and file, http, https, s3, gs and az addresses.",
        )
    return Location(text, _without_credentials(text), _last_part(text), None)


def _local(text: str) -> Location:
    if not text or "\0" in text:
        raise SourceError(f"{text!r} is not the name of a file.")
    path = Path(os.path.abspath(os.path.expanduser(text)))
    return Location(str(path), str(path), path.name, path)


def _last_part(uri: str) -> str:
    parts = urlsplit(uri)
    return unquote(parts.path.rstrip("/").rsplit("/", 1)[-1]) or parts.hostname or uri.split(":", 1)[0]


def _without_credentials(uri: str) -> str:
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{key}={value if key.lower() in _HARMLESS else '***'}"
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    return f"{parts.scheme}://{host}{parts.path}{'?' + query if query else ''}"


def stamp_of(descriptor: int) -> tuple[int, int, int]:
    """The open file's `stamp_in`."""
    return stamp_in(os.fstat(descriptor))


def stamp_in(status: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file is written to or replaced: inode, size, time of modification (ns). Not the device,
    whose number is another one on every machine that shares the file."""
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def opened(location: Location) -> Iterator[BinaryIO]:
    """The file, from its first byte. Its `read` raises the errors below too; remote files cannot seek.

    Raises:
        SourceError: it is missing, a directory, unreadable, refused, or its driver is not installed.
        SourceUnavailable: the store did not answer, or failed on its side.
    """
    try:
        raw = _open_local(location.path) if location.path is not None else _open_remote(location)
    except Exception as error:
        _raise_translated(location, error)
    try:
        yield _Translating(raw, location)  # type: ignore[misc]  # reads like a file, as far as it is used
    finally:
        with suppress(Exception):  # closing a broken download may fail again
            raw.close()


class _Translating:
    """The open file, its exceptions in Sluice's terms."""

    def __init__(self, raw: BinaryIO, location: Location) -> None:
        self._raw, self._location = raw, location

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._raw.read(size))
        except Exception as error:
            _raise_translated(self._location, error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)  # seek, tell, seekable, fileno: for zip archives and stamps


def _open_local(path: Path) -> BinaryIO:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{path} is a directory.", hint="Name one file in it.")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise SourceError(f"{path} is not a regular file.", hint="Save the data to a file first.")
    return open(path, "rb", buffering=0)


def store_of(location: Location) -> tuple[Any, str]:
    """fsspec's file system for a remote location, and the path in it.

    Raises:
        SourceError: its driver is not installed. Whatever the driver raises.
    """
    return _store(location, {})


def _open_remote(location: Location) -> BinaryIO:
    scheme = urlsplit(location.uri).scheme.lower()
    options: dict[str, Any] = {}
    how: dict[str, Any] = {}
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}, "headers": {"Accept-Encoding": "identity"}}
        how = {"block_size": 0}  # one streaming request, not ranges
    system, path = _store(location, options)
    return system.open(path, "rb", **how)  # type: ignore[no-any-return]


def _store(location: Location, options: dict[str, Any]) -> tuple[Any, str]:
    import fsspec

    scheme = urlsplit(location.uri).scheme.lower()
    try:
        system, path = fsspec.core.url_to_fs(location.uri, **options)
    except ImportError as error:
        extra = _REMOTE[scheme]
        hint = f"Install it with: pip install 'sluice[{extra}]'" if extra else None
        raise SourceError(f"Reading {scheme}:// addresses needs a driver that is not installed.", hint=hint) from error
    system.invalidate_cache()  # a listing remembered from an earlier import would give the old size
    return system, path


@contextmanager
def translated_for(location: Location) -> Iterator[None]:
    """Turn whatever a store's driver raises inside the block into the errors of `opened`."""
    try:
        yield
    except Exception as error:
        _raise_translated(location, error)


def _raise_translated(location: Location, error: Exception) -> NoReturn:
    """Raise the SluiceError a failure amounts to. Messages of remote errors are left out: they quote the URL."""
    if isinstance(error, SluiceError):
        raise error
    if location.path is not None:
        raise _local_error(location.path, error) from error
    # fsspec reports whatever stops it from asking for a file's size as "not found"; the cause knows better.
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    translated = _remote_error(location.shown, cause)
    if translated is None:
        raise error
    raise translated from None


def _local_error(path: Path, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        with suppress(OSError):
            close = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
            return SourceError(f"There is no file {path}.", hint=f"Did you mean {close[0]}?" if close else None)
        return SourceError(f"There is no file {path}: its directory is missing too.")
    if isinstance(error, PermissionError):
        return SourceError(f"{path} may not be read.", hint="Give the user that runs Sluice the right to read it.")
    if isinstance(error, OSError):
        return SourceError(f"{path} cannot be read ({error.strerror or type(error).__name__}).")
    return error


def _remote_error(shown: str, error: BaseException) -> SluiceError | None:
    status = getattr(error, "status", None) or getattr(error, "status_code", None) or getattr(error, "code", None)
    kind = type(error).__name__
    if isinstance(error, FileNotFoundError) or status in (404, 410, "404"):
        return SourceError(f"There is no {shown}.")
    if isinstance(error, PermissionError) or kind in _NO_CREDENTIALS or status in (401, 403, "403"):
        return SourceError(
            f"{shown} may not be read: access was denied.",
            hint="Check the credentials; signed addresses expire.",
        )
    if isinstance(error, IsADirectoryError):
        return SourceError(f"{shown} is a directory.", hint="Name one file in it.")
    if kind == "InvalidURL" or isinstance(error, ValueError):
        return SourceError(f"{shown} is not a valid address.")
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 425, 429):
        return SourceError(f"The server refused {shown} (HTTP {status}).")
    if isinstance(status, int) and status >= 400:
        return SourceUnavailable(f"The server could not deliver {shown} (HTTP {status}).")
    if isinstance(error, OSError | TimeoutError | EOFError) or type(error).__module__.split(".")[0] in _DRIVERS:
        return SourceUnavailable(f"{shown} could not be read: the connection failed or timed out ({kind}).")
    return None
