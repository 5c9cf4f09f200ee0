"""Formats that are not CSV, refused by their content with a word on what they are. File names are not believed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sluice.errors import SourceError

_EXPORT = "Export it as CSV and import that."
_REFUSED = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (or another Office file)", _EXPORT),
    (b"%PDF-", "a PDF document", _EXPORT),
    (b"PAR1", "a Parquet file", _EXPORT),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"ARROW1", "an Arrow file", _EXPORT),
    (b"FEA1", "a Feather file", _EXPORT),
    (b"SQLite format 3\x00", "an SQLite database", _EXPORT),
    (b"PGDMP", "a PostgreSQL dump", "Restore it with pg_restore."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (b"{\\rtf", "an RTF document", _EXPORT),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF87a", "a GIF image", ""),
    (b"GIF89a", "a GIF image", ""),
    (b"\x7fELF", "a program", ""),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it, or compress the CSV as gzip, bzip2, zstd, xz or zip."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it, or compress the CSV as gzip, bzip2, zstd, xz or zip."),
    (b"\x04\x22\x4d\x18", "an LZ4 file", "Unpack it, or compress the CSV as gzip, bzip2, zstd, xz or zip."),
    (b"\xff\x06\x00\x00sNaPpY", "a Snappy file", "Unpack it, or compress the CSV as gzip, bzip2, zstd, xz or zip."),
    (b"LZIP\x01", "an lzip file", "Unpack it, or compress the CSV as gzip, bzip2, zstd, xz or zip."),
    (b"\x1f\x9d", "a .Z file", "Unpack it, or compress the CSV as gzip, bzip2, zstd, xz or zip."),
)
_HTML = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_XML = re.compile(rb"\s*<(\?xml\b|!--)", re.IGNORECASE)
#: An object, an array of objects or arrays, or an array that goes on on the next line.
_JSON = re.compile(
    rb'\s*(\[\s*)*\{\s*("([^"\\]|\\.)*"\s*:|\}\s*(\Z|[\],\r\n]))|\s*\[\s*(\[.*)?(\]\s*\Z|[\r\n])', re.DOTALL
)
#: Control characters that no text holds, apart from the separators 0x1C to 0x1F, which serve as delimiters.
_CONTROL = bytes(byte for byte in range(0x1C) if byte not in b"\t\n\v\f\r\x1a\x1b")


#: Magic numbers that may as well be a header's first word; the formats go on with bytes no text has.
_WORDS = frozenset({b"PAR1", b"FEA1", b"ARROW1"})


def refuse_formats(start: bytes) -> None:
    """Raise SourceError if these first (decompressed) bytes belong to a known format that is not text."""
    for magic, what, hint in _REFUSED:
        if start.startswith(magic) and not (magic in _WORDS and start[:64].translate(None, _CONTROL) == start[:64]):
            raise SourceError(f"This is {what}, not a CSV file.", hint=hint or "Check that it is the right file.")
    if start[257:262] == b"ustar":
        raise SourceError("This is a tar archive, not a CSV file.", hint="Unpack it and import the file inside.")


def refuse_non_text(text: bytes, *, json: bool = False) -> None:
    """Raise SourceError if decoded text is binary, a web page, XML or (unless `json`) JSON.

    A few control characters pass: the records that hold them are rejected one by one.
    """
    control = len(text) - len(text.translate(None, _CONTROL))
    if b"\0" in text[:4096].split(b"\n", 1)[0] or (control >= 8 and control > 0.03 * len(text)):
        raise SourceError(
            "The file is not text: it is full of control bytes.", hint="Check that it is a CSV file, and its encoding."
        )
    if _HTML.match(text):
        raise SourceError("This is a web page, not a CSV file.", hint="Was it a login or error page that was saved?")
    if _XML.match(text):
        raise SourceError("This is an XML file, not a CSV file.", hint=_EXPORT)
    if not json and looks_like_json(text):
        raise SourceError("This is JSON, not CSV.", hint=_EXPORT)


def looks_like_json(text: bytes) -> bool:
    """Whether the text begins as JSON (an object, or an array of objects or arrays) or JSON Lines do."""
    return _JSON.match(text[: 64 * 1024]) is not None


def refuse_office(names: Sequence[str]) -> None:
    """Raise SourceError if a zip archive with members of these names is an office document."""
    if "[Content_Types].xml" in names or any(name.startswith("xl/") for name in names):
        what = "an Excel workbook" if any(name.startswith("xl/") for name in names) else "an Office document"
        raise SourceError(f"This is {what}, not a CSV file.", hint=_EXPORT)
    if "mimetype" in names and "content.xml" in names:
        raise SourceError("This is an OpenDocument file, not a CSV file.", hint=_EXPORT)
