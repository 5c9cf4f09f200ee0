"""Shared by the tests of whole imports: a workplace with a database, files, datasets, and both ways to run Sluice."""

from __future__ import annotations

import csv
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

from sluice import opening
from sluice.chunks import Cutter
from sluice.database import connect
from sluice.importer import OnProgress, Progress
from sluice.model import Counts, Report
from sluice.request import request_of
from sluice.run import run
from sluice.settings import Settings

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
PROGRAM = Path(sys.executable).with_name("sluice")

#: A dataset with a key, a type that can be wrong, and nothing else.
ITEMS = """
table: public.items
key: [id]
columns:
  - {name: id, type: bigint}
  - {name: amount, type: "numeric(8,2)"}
  - {name: note, type: text}
"""
#: The same without a key: what is loaded twice is there twice.
APPEND = ITEMS.replace("key: [id]", "mode: append")

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Bench:
    """`settings` point at a database and folders of the test's own; the shipped datasets are linked into its folder."""

    folder: Path
    settings: Settings

    @property
    def url(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url

    def file(self, name: str, content: str | bytes | Sequence[Any]) -> str:
        """A file of text, of bytes, or of rows to be written as CSV; its path."""
        path = self.folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8", newline="")
        else:
            rows: Any = content
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
        return str(path)

    def dataset(self, yaml: str = ITEMS, rules: Sequence[Mapping[str, Any]] = (), *, name: str = "items") -> None:
        """Write (or change) a dataset; `rules` are expectations in GX's own form, `severity` critical unless told."""
        folder = self.settings.datasets / name
        folder.mkdir(exist_ok=True)
        (folder / "dataset.yaml").write_text(yaml, encoding="utf-8")
        if rules:
            full = [{"meta": {}, "severity": "critical", **rule} for rule in rules]
            suite = {"name": name, "id": None, "expectations": full, "meta": {"great_expectations_version": "1.24.1"}}
            (folder / "suite.json").write_text(json.dumps(suite), encoding="utf-8")

    def run(
        self,
        source: str | Path,
        *,
        chunk_bytes: int | None = None,
        on_progress: OnProgress | None = None,
        resume: int | None = None,
        **options: Any,
    ) -> Report:
        """An import in this process."""
        with cut_at(chunk_bytes):
            return run(request_of(str(source), **options), self.settings, on_progress=on_progress, resume=resume)

    def sluice(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """The program, as people start it. `import` and `resume` run without Prefect."""
        words = [str(argument) for argument in arguments]
        if words[0] in ("import", "resume"):
            words.append("--no-prefect")
        return subprocess.run(
            [PROGRAM, *words], capture_output=True, text=True, env=self.environment(**environment), timeout=120
        )

    def environment(self, **changes: str) -> dict[str, str]:
        """This process's, pointed at the workplace."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "PG"))}
        told = {"SLUICE_HOME": str(self.settings.home), "SLUICE_DATASETS": str(self.settings.datasets)}
        return {**kept, **told, "SLUICE_DATABASE_URL": self.url, **changes}

    def query(self, query: str, parameters: Sequence[object] = ()) -> Rows:
        with connect(self.url) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str = "public.items", columns: str = "*") -> Rows:
        return self.query(f"SELECT {columns} FROM {table} ORDER BY 1, 2")

    def exists(self, table: str) -> bool:
        return self.query("SELECT to_regclass(%s) IS NOT NULL", [table]) == [(True,)]

    def errors(self, import_id: int | None = 1, columns: str = 'line, "column", code, value') -> Rows:
        return self.query(
            f'SELECT {columns} FROM sluice.row_errors WHERE import_id = %s ORDER BY line, code, "column"', [import_id]
        )

    def rejected(self, import_id: int | None = 1) -> list[tuple[int, bytes]]:
        found = self.query("SELECT line, raw FROM sluice.rejected_rows WHERE import_id = %s ORDER BY line", [import_id])
        return [(line, bytes(raw)) for line, raw in found]

    def imports(self) -> Rows:
        return self.query("SELECT id, status, attempt FROM sluice.imports ORDER BY id")

    def leftovers(self) -> dict[str, int]:
        """Working rows and staging tables: an import that is complete leaves none."""
        tables = ("touched_keys", "unique_values")
        found = {name: self.query(f"SELECT count(*) FROM sluice.{name}")[0][0] for name in tables}
        staging = "SELECT count(*) FROM pg_tables WHERE schemaname = 'sluice' AND tablename LIKE 'staging%%'"
        return {name: count for name, count in {**found, "staging": self.query(staging)[0][0]}.items() if count}

    def end_state(self, table: str, import_id: int | None = 1) -> dict[str, Any]:
        """All that two ways to the same end must agree on: the table, the rejects with their reasons, the counts."""
        names = "records, loaded, updated, unchanged, skipped, rejected, blank_lines"
        names += ", errors_by_rule, errors_by_category, warnings_by_rule, status, bytes_done, bytes_total"
        return {
            "rows": self.query(f"SELECT to_jsonb(t) - '_import_id' FROM {table} t ORDER BY t::text"),
            "rejected": self.rejected(import_id),
            "errors": self.errors(import_id, 'line, code, "column", category, message, value'),
            "counts": self.query(f"SELECT {names} FROM sluice.imports WHERE id = %s", [import_id]),
            "images": self.query("SELECT line, op, key, image FROM sluice.before_images ORDER BY line, key"),
            "leftovers": self.leftovers(),
        }


def make_bench(url: str, folder: Path) -> Bench:
    """A workplace in a folder, with links to the shipped datasets."""
    datasets = folder / "datasets"
    datasets.mkdir()
    for shipped in (ROOT / "expectations").iterdir():
        (datasets / shipped.name).symlink_to(shipped)
    return Bench(folder, Settings(folder / "home", folder / "inbox", datasets, url))


@contextmanager
def cut_at(chunk_bytes: int | None) -> Any:
    """Cut files into chunks of about this size; None leaves it at the usual."""
    if chunk_bytes is None:
        yield
        return
    with patch.object(opening, "Cutter", functools.partial(Cutter, chunk_bytes=chunk_bytes)):
        yield


class Stop(Exception):
    """Stands for anything that may happen to a process."""


def stop_after(chunks: int) -> OnProgress:
    seen = []

    def on_progress(state: Progress) -> None:
        seen.append(state)
        if len(seen) == chunks:
            raise Stop

    return on_progress


def half(bench: Bench, source: str | Path, **options: Any) -> None:
    """An import that fails after five chunks of many."""
    with pytest.raises(Stop):
        bench.run(source, chunk_bytes=500, on_progress=stop_after(5), **options)


def counts_of(report: Report) -> Counts:
    names = [name for name in Counts.__slots__ if name != "blank_lines"]
    return Counts(**{name: getattr(report, name) for name in names})


def assert_said(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """The program failed in the way people can read: one paragraph on stderr, nothing on stdout, no traceback."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    said = complaint(done)
    assert said.startswith("sluice: "), said
    assert said.count("\n") == 1, said
    for word in words:
        assert word in said


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What the program wrote on stderr, without the lines of progress that a slow machine gets every ten seconds."""
    return "".join(line for line in done.stderr.splitlines(keepends=True) if " <- " not in line)


def backend_of(url: str, application: str = "sluice") -> list[int]:
    """The server processes of this database's other sessions."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = %s",
            [application],
        )
        return [pid for (pid,) in found]
