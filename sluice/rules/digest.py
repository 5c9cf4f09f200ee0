"""All that the outcome of loading a suite depends on, as one hash."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sluice.model import ColumnType

#: Their code decides what can be loaded: `re` is Python's, RE2 is pyarrow's.
_PACKAGES = ("great-expectations", "pandas", "pyarrow")


def suite_digest(document: Mapping[str, Any], columns: Mapping[str, ColumnType], key: tuple[str, ...]) -> str:
    """A hash over suite.json, the columns it is about in the table's order, the key, and the code that reads it."""
    text = json.dumps([document, [[name, asdict(kind)] for name, kind in columns.items()], key], default=str)
    return hashlib.sha256(f"{_code()}\n{text}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """Of this package and of those it relies on; the bytes and not a version, which somebody would forget to raise."""
    found = hashlib.sha256(" ".join([platform.python_version(), *map(version, _PACKAGES)]).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()
