"""Compression by content, not by name, and decompression as a stream.

Every decompressor here works in bounded memory (a small file may expand to terabytes) and
tells an archive that ends early from one that is whole.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

from sluice.errors import SourceError
from sluice.formats import refuse_office

#: Bytes taken from the stored file at a time, and the most that one step of decompression returns.
READ_SIZE = 1024 * 1024
PIECE_SIZE = 8 * 1024 * 1024

#: The most memory an xz file may ask for: `xz -9` needs 65 MiB, a hostile header asks for gigabytes.
_XZ_MEMORY = 256 * 1024 * 1024

_COMPRESSIONS = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
#: pzstd begins its files with a skippable frame.
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
#: "BZh" alone could begin a CSV header; the block size and the first block's (or the end's) mark cannot.
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", re.DOTALL)


def compression_of(start: bytes) -> str | None:
    """How a file that begins with these bytes is compressed: gzip, bzip2, zstd, xz, zip, or None."""
    if _ZSTD_SKIPPABLE.match(start):
        return "zstd"
    for magic, name in _COMPRESSIONS:
        if start.startswith(magic) and (name != "bzip2" or _BZIP2.match(start)):
            return name
    return None


class Readable(Protocol):
    """A stream of bytes; `read` may return less than asked for, and nothing only at the end."""

    def read(self, size: int, /) -> bytes: ...


class _Decompressor(Protocol):
    """What bz2's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the interface of the other two."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(out) < max_length
        return out


def decompressed(raw: Readable, compression: str | None) -> Iterator[bytes]:
    """The file's own bytes, piece by piece (of at most `PIECE_SIZE`).

    Args:
        raw: from its beginning; for zip it must be seekable.

    Raises:
        SourceError: the archive is damaged, ends early, is encrypted, or holds not exactly one file.
    """
    try:
        if compression is None:
            yield from iter(lambda: raw.read(READ_SIZE), b"")
        elif compression == "zip":
            yield from _unzip(raw)
        elif compression == "zstd":
            yield from _unzstd(raw)
        else:
            yield from _concatenated(raw, _DECOMPRESSORS[compression])
    except EOFError as error:
        raise SourceError(
            f"The file ends in the middle of its {compression} stream.", hint="Was its upload complete? Send it again."
        ) from error
    except (zlib.error, lzma.LZMAError, zipfile.BadZipFile, _Damaged) as error:
        raise _damaged(compression, error) from error


class _Damaged(Exception):
    """The archive contradicts itself."""


def _damaged(compression: str | None, error: Exception) -> SourceError:
    return SourceError(f"The file's {compression} data is damaged ({error}).", hint="Send it again.")


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gunzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}


def _concatenated(raw: Readable, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """One or more streams, one after the other (`cat a.gz b.gz`), with the zero padding some tools add."""
    current, data = new(), raw.read(READ_SIZE)
    while True:
        try:
            piece = current.decompress(data, PIECE_SIZE)
        except OSError as error:  # bz2 says so; the file's own errors come from raw.read
            raise _Damaged(error) from error
        if piece:
            yield piece
        data = b""
        if current.eof:
            data = current.unused_data.lstrip(b"\0")
            while not data:
                more = raw.read(READ_SIZE)
                if not more:
                    return
                data = more.lstrip(b"\0")
            current = new()
        elif current.needs_input:
            data = raw.read(READ_SIZE)
            if not data:
                raise EOFError


def _unzstd(raw: Readable) -> Iterator[bytes]:
    """By Arrow, because the `zstandard` package's stream reader ends without an error where a file is cut off
    (0.25), and its other decompressor does not bound its output."""
    import pyarrow as pa

    # Arrow turns exceptions of the Python file into its own; the file's is the one to know about.
    reader = _Remembering(raw)
    stream = pa.CompressedInputStream(pa.PythonFile(reader, mode="r"), "zstd")
    while True:
        try:
            piece = stream.read_buffer(PIECE_SIZE)
        except OSError as error:
            if reader.error is not None:
                raise reader.error from None
            if "Truncated" in str(error):
                raise EOFError from error
            raise _Damaged(str(error).removeprefix("ZSTD decompress failed: ")) from error
        if not piece.size:
            return
        yield piece.to_pybytes()


class _Remembering:
    """A readable file that keeps the exception it raised."""

    closed = False

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except Exception as error:
            self.error = error
            raise

    def close(self) -> None:
        """The file belongs to the caller."""


def _unzip(raw: Readable) -> Iterator[bytes]:
    with zipfile.ZipFile(cast(IO[bytes], raw)) as archive:
        member = _only_member(archive)
        try:
            with archive.open(member) as stream:
                while piece := stream.read(READ_SIZE):
                    yield piece
        except NotImplementedError as error:
            raise SourceError(
                f"The zip archive cannot be unpacked: {error}.", hint="Compress it with deflate."
            ) from error


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = archive.namelist()
    refuse_office(names)
    # macOS adds a shadow of every file it packs.
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not member.filename.startswith("__MACOSX/")
        and not member.filename.endswith("/.DS_Store")
        and member.filename != ".DS_Store"
    ]
    if len(members) != 1:
        listed = ", ".join(repr(member.filename) for member in members[:10]) + (", ..." if len(members) > 10 else "")
        raise SourceError(
            f"The zip archive holds {len(members)} files{f' ({listed})' if members else ''}; wanted is exactly one.",
            hint="Unpack it and import the files one by one." if members else None,
        )
    if members[0].flag_bits & 0x1:
        raise SourceError("The zip archive is encrypted.", hint="Unpack it with its password, or send it without one.")
    return members[0]
