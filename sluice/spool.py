"""The decoded text on this machine's disk: where it lies, how it is read, and the file it is spooled to if need be."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sluice.errors import SourceError
from sluice.location import stamp_of

#: A spool file nobody holds is left over from a killed process; this young, its owner may be about to lock it.
_LEFTOVER_SECONDS = 60
_SPOOL_PREFIX = "sluice-text-"


@dataclass(frozen=True, slots=True)
class TextFile:
    """Where the decoded text lies: bytes from `start` of a local file. Small and picklable, for other processes."""

    path: str
    start: int
    size: int
    stamp: tuple[int, int, int]

    @contextmanager
    def open(self) -> Iterator[TextReader]:
        """Raises SourceError if the file is gone."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"{self.path} is gone while it is being imported.", hint="Import it again.") from error
        try:
            yield TextReader(descriptor, self)
        finally:
            os.close(descriptor)


class TextReader:
    """Random access to the text. Safe for several threads at once."""

    def __init__(self, descriptor: int, text: TextFile) -> None:
        self._descriptor, self._text = descriptor, text

    def read(self, start: int, end: int) -> bytes:
        """The text's bytes from `start` to `end`.

        Raises:
            SourceError: the file was changed since it was fingerprinted.
        """
        if not 0 <= start <= end <= self._text.size:
            raise ValueError(f"{start}:{end} is not within the text's {self._text.size} bytes")
        pieces, at, stop = [], start + self._text.start, end + self._text.start
        while at < stop and (piece := os.pread(self._descriptor, stop - at, at)):
            pieces.append(piece)
            at += len(piece)
        if at < stop or stamp_of(self._descriptor) != self._text.stamp:
            raise changed(self._text.path)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def changed(shown: str) -> SourceError:
    return SourceError(f"{shown} was changed while it was being read.", hint="Import it once it is complete.")


@contextmanager
def disk_errors(directory: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "there is no space left" if full else error.strerror or type(error).__name__
        raise SourceError(
            f"The text could not be spooled in {os.fspath(directory)}: {what}.",
            hint="Compressed, remote and non-UTF-8 files need room for their text; SLUICE_HOME names the place.",
        ) from error


class SpoolFile:
    """A file for the decoded text, locked for as long as it is needed."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path, self._size = path, 0
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, block: bytes) -> None:
        rest = memoryview(block)
        with disk_errors(self.path.parent):
            while rest:
                rest = rest[self._file.write(rest) :]
        self._size += len(block)

    def finished(self) -> TextFile:
        return TextFile(str(self.path), 0, self._size, stamp_of(self._file.fileno()))

    def close(self) -> None:
        self._file.close()


@contextmanager
def spool_file(directory: Path) -> Iterator[SpoolFile]:
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(directory)
        descriptor, name = tempfile.mkstemp(prefix=_SPOOL_PREFIX, suffix=".utf8", dir=directory)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    file = SpoolFile(descriptor, Path(name))
    try:
        yield file
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
        file.close()


def _remove_leftovers(directory: Path) -> None:
    """Delete spool files whose process was killed: the lock went with it."""
    for path in directory.glob(f"{_SPOOL_PREFIX}*"):
        with suppress(OSError), open(path, "rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > _LEFTOVER_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
