"""Suites that were loaded before: in this process, or by another with the same `SLUICE_HOME`.

Loading a suite strictly takes Great Expectations, whose import takes seconds. What comes of it depends on nothing
but what `sluice.rules.digest` hashes, so it is written down under that hash. A file that is damaged, or is not one of
ours, is as good as none: the suite is loaded again and the file replaced.

Only suites that need no Great Expectations from there on are kept in files. The others would gain little, and a row
condition from a file would reach `DataFrame.query`, which can run code, past the loader that checks it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sluice.model import ColumnType
from sluice.rules.digest import suite_digest
from sluice.rules.plan import needs_great_expectations
from sluice.rules.stored import read_suite, write_suite
from sluice.rules.values import Suite

#: Suites kept in memory, some 100 kB each at most; a service has a few datasets.
_KEPT = 64
#: Seconds after which a file is removed when another is written. Every change to a suite leaves one behind; one that
#: is still in use is written again, at the price of loading the suite once.
_LIFETIME = 90 * 86400

_loaded: dict[str, Suite] = {}
_lock = Lock()


def cached_suite(
    document: Mapping[str, Any],
    *,
    columns: Mapping[str, ColumnType],
    key: tuple[str, ...] = (),
    file: str | None = None,
    folder: Path,
) -> Suite:
    """What `load_suite` returns, loaded only if that has not been done before.

    Args:
        document, columns, key, file: as for `load_suite`.
        folder: where loaded suites are written down; made if it is missing.

    Raises:
        SuiteError: as `load_suite`. What is wrong is never kept.
    """
    digest = suite_digest(document, columns, key)
    suite = _loaded.get(digest)
    if suite is None:
        path = folder / f"{digest}.json"
        suite = _read(path, digest)
        if suite is None:
            from sluice.rules.suite import load_suite

            suite = load_suite(document, columns=columns, key=key, file=file)
            if not needs_great_expectations(suite):
                _write(path, suite)
        _keep(suite)
    return suite


def _keep(suite: Suite) -> None:
    with _lock:
        while len(_loaded) >= _KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[suite.digest] = suite


def _read(path: Path, digest: str) -> Suite | None:
    with suppress(Exception):  # whatever is wrong with a file, there is a way without it
        suite = read_suite(path.read_text(encoding="utf-8"), digest)
        return None if needs_great_expectations(suite) else suite
    return None


def _write(path: Path, suite: Suite) -> None:
    """Whole or not at all, also beside others that write the same. A file that cannot be written is no error: the
    suite is then loaded the next time."""
    with suppress(OSError, ValueError):
        text = write_suite(suite)
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy(path.parent)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".new", delete=False) as file:
            try:
                file.write(text)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


def _tidy(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):  # another process may have been quicker
            if path.stat().st_mtime < time.time() - _LIFETIME:
                path.unlink()
