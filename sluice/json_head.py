"""The beginning of a JSON text: whether it is an array or NDJSON, how it is laid out, and which keys it has."""

from __future__ import annotations

import re
from dataclasses import asdict

from sluice.errors import HeaderError, UsageError
from sluice.head import Header
from sluice.json_records import heads, scan_array
from sluice.json_values import Unfit, members_of
from sluice.model import Dialect, DialectOptions, Format
from sluice.names import normalise_header
from sluice.records import RECORD_LIMIT, Scan, scan

_FIRST_OBJECT = re.compile(rb"(?:\A|[\r\n])([ \t]*)[^{\r\n]*\{")


def settle_json(sample: bytes, told: DialectOptions, *, encoding: str = "utf-8") -> Dialect:
    """The dialect of a text that begins as JSON does.

    Args:
        told: the options of this import, without the dataset's: those may be there for its CSV files.

    Raises:
        UsageError: something is told that only CSV has.
    """
    for name, value in asdict(told).items():
        if value is not None and name != "encoding":
            option = "--no-header" if name == "header" else f"--{name.replace('_', '-')}"
            raise UsageError(f"The file is JSON, which {option} has no meaning for.", hint="Leave it out.")
    if not sample.lstrip().startswith(b"["):
        return Dialect(quote=None, encoding=encoding, format=Format.NDJSON)
    first = _FIRST_OBJECT.search(sample)
    dialect = Dialect(encoding=encoding, format=Format.JSON, indent=len(first[1]) if first is not None else 0)
    return dialect if _lines_tell(sample, dialect) else Dialect(encoding=encoding, format=Format.JSON)


def _lines_tell(sample: bytes, dialect: Dialect) -> bool:
    """Whether no sound element holds a line that looks like the beginning of one."""
    pattern = heads(dialect.indent or 0)
    found, offset = _elements(sample, dialect, complete=False)
    return not any(
        pattern.search(sample, offset + start, offset + end)
        for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    )


def _elements(sample: bytes, dialect: Dialect, *, complete: bool) -> tuple[Scan, int]:
    if dialect.format is Format.NDJSON:
        return scan(sample, dialect, final=complete), 0
    start = sample.index(b"[") + 1
    return scan_array(sample[start:], dialect, final=complete, limit=RECORD_LIMIT), start


def read_keys(sample: bytes, dialect: Dialect, *, complete: bool) -> Header:
    """The keys of the sample's objects, each once (as names are compared), in the order of their first appearance.

    Raises:
        HeaderError: there are records, but none of them is an object that can be read.
    """
    found, start = _elements(sample, dialect, complete=complete)
    keys: dict[str, str] = {}
    objects = 0
    for first, last in zip(found.starts.tolist(), found.ends.tolist(), strict=True):
        try:
            members = members_of(sample[start + first : start + last].decode().strip(" \t\r\n"))
        except (Unfit, UnicodeDecodeError):
            continue
        objects += 1
        for key, _ in members:
            if name := normalise_header(key):
                keys.setdefault(name, key)
    if not objects and (len(found.starts) or not complete):
        raise HeaderError(
            "The file begins as JSON does, but no object can be read from it.",
            hint="A source is an array of objects, or one object a line; jq -c '.[]' makes the latter.",
        )
    line = 1 + sample[:start].count(b"\n") + sample[:start].count(b"\r") - sample[:start].count(b"\r\n")
    return Header(tuple(keys.values()), len(keys), start, line, line)
