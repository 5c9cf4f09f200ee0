"""Open a source: a sample to learn its form from, then one pass that fingerprints it and makes its text readable.

The text is always "decompressed, in UTF-8, without a byte order mark"; all positions count its bytes.
`docs/sources.md` tells the story for users.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from sluice import encoding as encodings
from sluice.compression import PIECE_SIZE, Readable, compression_of, decompressed
from sluice.errors import SluiceError, SourceError
from sluice.formats import refuse_formats, refuse_non_text
from sluice.location import Location, locate, opened, stamp_of
from sluice.prefetch import prefetched
from sluice.spool import SpoolFile, TextFile, TextReader, changed, disk_errors, spool_file
from sluice.textobject import TextObject, identity_of

#: Bytes of decompressed source a sample is taken from.
SAMPLE_SIZE = 1024 * 1024

#: Where blocks are made while others are being cut: reading, hashing and unpacking release the GIL.
_THREAD = "sluice-read"


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of a source.

    `text` is UTF-8 without a BOM, cut after a line's end where there is one; bytes that do not decode are
    invalid UTF-8 in it. `encoding` is settled (never just `utf-16`). `complete`: the text is all there is.
    """

    text: bytes
    encoding: str
    compression: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A source that was read through once.

    `uri` holds no credentials; `size` and `sha256` are those of the bytes as stored; `text` can be handed to other
    processes of this machine while the snapshot is open, `stored` to those of any machine, where it is not None.
    """

    uri: str
    name: str
    size: int
    sha256: str
    encoding: str
    compression: str | None
    text: TextFile
    reader: TextReader
    stored: TextObject | None = None

    @property
    def text_size(self) -> int:
        return self.text.size

    def read(self, start: int, end: int) -> bytes:
        """See `TextReader.read`."""
        return self.reader.read(start, end)


@contextmanager
def _named(location: Location) -> Iterator[None]:
    """Put the file's name into errors that do not say it."""
    try:
        yield
    except SluiceError as error:
        if error.file is None and location.shown not in error.message:
            error.file = location.shown
        raise


def sample(source: str | os.PathLike[str], *, encoding: str | None = None, json: bool = False) -> Sample:
    """The first `SAMPLE_SIZE` bytes of the (decompressed) source as text.

    Args:
        encoding: as told; None means: detect it.
        json: JSON is welcome, too.

    Raises:
        SourceError: the file is missing, unreadable, damaged or not text.
        SourceUnavailable: a remote store did not answer.
        UsageError: the encoding told is unknown.
    """
    location = locate(source)
    with _named(location), opened(location) as raw, ExitStack() as stack:
        start = _first(raw, 512)
        compression = compression_of(start)
        if compression == "zip" and location.path is None:
            spool = stack.enter_context(tempfile.TemporaryFile())
            _copy(_Chained(start, raw), spool, tempfile.gettempdir())
            raw = spool
        if compression == "zip":
            raw.seek(0)
        head, complete = _head(decompressed(raw if compression == "zip" else _Chained(start, raw), compression))
        refuse_formats(head)
        if compression_of(head) is not None:
            raise SourceError("The file was compressed twice.", hint="Unpack it once.")
        settled = encodings.settle(head, encoding, complete=complete)
        text = encodings.decoder(settled)(head, complete)
        refuse_non_text(text, json=json)
        return Sample(text if complete else _whole_lines(text), settled, compression, complete)


def _copy(stored: Readable, target: BinaryIO | IO[bytes] | None, directory: str | os.PathLike[str]) -> None:
    """Read to the end, into the target if there is one."""
    while piece := stored.read(PIECE_SIZE):
        if target is not None:
            with disk_errors(directory):
                target.write(piece)


def _first(raw: Readable, size: int) -> bytes:
    start = b""
    while len(start) < size and (piece := raw.read(size - len(start))):
        start += piece
    return start


def _head(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """The first `SAMPLE_SIZE` bytes, and whether that is all."""
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) > SAMPLE_SIZE:
            return bytes(head[:SAMPLE_SIZE]), False
    return bytes(head), True


def _whole_lines(text: bytes) -> bytes:
    end = text.rfind(b"\n") + 1
    if not end:
        # A CR at the very end may be half a CRLF.
        end = text.rfind(b"\r", 0, len(text) - 1) + 1
    return text[:end] if end else text


class _Chained:
    """A stream whose first bytes were read already. `read` may return less than asked for."""

    def __init__(self, start: bytes, rest: Readable) -> None:
        self._start, self._rest = start, rest

    def read(self, size: int) -> bytes:
        start, self._start = self._start, b""
        return start or self._rest.read(size)


Block = Callable[[bytes], object]


@contextmanager
def snapshot(
    source: str | os.PathLike[str],
    encoding: str,
    spool_dir: str | os.PathLike[str],
    *,
    on_block: Block | None = None,
    begins_with: bytes = b"",
) -> Iterator[Snapshot]:
    """Read the source through once: its fingerprint, and its text at hand for as long as the context is open.

    A local, plain UTF-8 file is read in place. Anything else is decoded into a file in `spool_dir` in the same
    pass, which is deleted at the end (by the next snapshot, if this process is killed).

    Args:
        encoding: a sample's.
        on_block: called with each successive piece of the text, about 8 MiB, while it is being read.
        begins_with: the sample's text: how the file must still begin.

    Raises:
        SourceError: as `sample`, and if the file changes meanwhile or the disk is full.
        SourceUnavailable: a remote store did not answer, or stopped answering.
    """
    location = locate(source)
    with ExitStack() as stack:
        with _named(location):
            identity = identity_of(location)
            raw = stack.enter_context(opened(location))
            start = _first(raw, 512)
            compression = compression_of(start)
            encoding = encodings.settle(start, encoding, complete=False)
        beginning = _Beginning(begins_with, location, on_block)
        if location.path is not None and compression is None and encoding == "utf-8":
            text, size, sha256 = _read_in_place(location, raw, start, beginning)
        else:
            spool = stack.enter_context(spool_file(Path(spool_dir)))
            with _named(location):
                text, size, sha256 = _spool(location, raw, start, compression, encoding, spool, beginning)
        beginning.check(b"", final=True)
        reader = stack.enter_context(text.open())
        stored = None
        if identity is not None and compression is None and encoding == "utf-8":
            stored = TextObject(location.uri, size - text.size, text.size, identity)
        yield Snapshot(location.shown, location.name, size, sha256, encoding, compression, text, reader, stored)


@contextmanager
def reopened(location: Location, sha256: str, text: TextFile) -> Iterator[Snapshot]:
    """The snapshot of a local, plain UTF-8 file that was read through before.

    Raises:
        SourceError: it is gone. A change since then is noticed when the text is read.
    """
    with text.open() as reader:
        yield Snapshot(location.shown, location.name, text.start + text.size, sha256, "utf-8", None, text, reader)


class _Beginning:
    """Passes blocks on once they are known to begin as the sample did."""

    def __init__(self, expected: bytes, location: Location, on_block: Block | None) -> None:
        self._expected, self._location, self._on_block = expected, location, on_block

    def check(self, block: bytes, *, final: bool = False) -> None:
        part = self._expected[: len(block)]
        if not block.startswith(part) or (final and self._expected):
            raise changed(self._location.shown)
        self._expected = self._expected[len(part) :]

    def __call__(self, block: bytes) -> None:
        if self._expected:
            self.check(block)
        if self._on_block is not None and block:
            self._on_block(block)


def _read_in_place(location: Location, raw: BinaryIO, start: bytes, on_block: Block) -> tuple[TextFile, int, str]:
    digest = hashlib.sha256()
    stamp = stamp_of(raw.fileno())
    marked = encodings.mark(start)
    skip = marked[1] if marked else 0
    raw.seek(0)

    def blocks() -> Iterator[bytes]:
        while block := raw.read(PIECE_SIZE):
            digest.update(block)
            yield block

    size = 0
    with prefetched(blocks(), _THREAD) as ahead:
        for block in ahead:
            on_block(block if size else block[skip:])
            size += len(block)
    if size != stamp[1] or stamp_of(raw.fileno()) != stamp:
        raise changed(location.shown)
    return TextFile(str(location.path), skip, size - skip, stamp), size, digest.hexdigest()


def _spool(
    location: Location,
    raw: BinaryIO,
    start: bytes,
    compression: str | None,
    encoding: str,
    spool: SpoolFile,
    on_block: Block,
) -> tuple[TextFile, int, str]:
    """Decode the source into the spool file; the text there, and the source's size and SHA-256."""
    stamp = stamp_of(raw.fileno()) if location.path is not None else None
    with ExitStack() as stack:
        stored = _Hashing(_Chained(start, raw))
        if compression == "zip":
            # The directory of a zip archive is at its end: it is fingerprinted first, then unpacked.
            packed = raw if location.path else stack.enter_context(tempfile.TemporaryFile(dir=spool.path.parent))
            _copy(stored, None if packed is raw else packed, spool.path.parent)
            packed.seek(0)
            pieces = decompressed(packed, compression)
        else:
            pieces = decompressed(stored, compression)
        for block in stack.enter_context(prefetched(_batched(_decoded(pieces, encoding)), _THREAD)):
            spool.write(block)
            on_block(block)
    if stamp is not None and (stored.size != stamp[1] or stamp_of(raw.fileno()) != stamp):
        raise changed(location.shown)
    return spool.finished(), stored.size, stored.digest.hexdigest()


class _Hashing:
    """A stream that fingerprints what passes through."""

    def __init__(self, raw: Readable) -> None:
        self._raw, self.size, self.digest = raw, 0, hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._raw.read(size)
        self.size += len(piece)
        self.digest.update(piece)
        return piece


def _decoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decode = encodings.decoder(encoding)
    for piece in pieces:
        yield decode(piece, False)
    yield decode(b"", True)


def _batched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces joined to blocks of at least `PIECE_SIZE`, but for the last."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE_SIZE:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)
