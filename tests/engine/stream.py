"""A stream of dropped files of every kind, and what the tables, the ledger and the folders must hold at its end."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

#: journal: rows without a key, each chunk visible at once; batches: all of a file at once; accounts: a later file
#: brings an earlier one's rows up to date, so that the order of the files shows in the table.
DATASETS = {
    "journal": "mode: append",
    "batches": "mode: append\ncommit: atomic",
    "accounts": "mode: overwrite\nkey: [id]",
}

_COLUMNS = """
table: public.{name}
{how}
columns:
  - {{name: id, type: text, required: true}}
  - {{name: no, type: integer, required: true}}
  - {{name: value, type: integer}}
"""

_SUITE: dict[str, Any] = {
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "value", "min_value": 0, "max_value": 999},
            "meta": {},
            "severity": "critical",
        }
    ],
    "meta": {"great_expectations_version": "1.24.1"},
}

#: Every file of `accounts` has a row of this key.
LATEST = "latest"


def make_datasets(folder: Path) -> None:
    for name, how in DATASETS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "dataset.yaml").write_text(_COLUMNS.format(name=name, how=how))
        (folder / name / "suite.json").write_text(json.dumps({"name": name, **_SUITE}))


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file. `good`: (id, no) of the rows to be loaded; `bad`: how many are to be rejected."""

    dataset: str
    text: str
    good: tuple[tuple[str, int], ...]
    bad: int
    refused: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass
class Stream:
    """What was dropped. `maybe`: files that were replaced in the inbox, perhaps before they were taken."""

    inbox: Path
    pick: random.Random
    dropped: list[Content] = field(default_factory=list)
    maybe: list[Content] = field(default_factory=list)
    _named: dict[tuple[str, str], Content] = field(default_factory=dict)
    _number: int = 0

    def drop_some(self) -> None:
        """One to four files: new ones; now and then one that was there before, a new one under a name that was
        there before, or one that cannot be imported."""
        for _ in range(self.pick.randint(1, 4)):
            self._number += 1
            dataset = self.pick.choice(list(DATASETS))
            kind = self.pick.random()
            others = [one for one in self.dropped if one.dataset == dataset]
            replaceable = [name for (of, name) in self._named if of == dataset and dataset != "accounts"]
            if kind < 0.1 and others:
                self._drop(self.pick.choice(others), f"again-{self._number}.csv")
            elif kind < 0.2 and replaceable:
                self._drop(self._new(dataset), self.pick.choice(replaceable))
            elif kind < 0.25:
                text = f"id,telephone\n{self._number},1\n"
                self._drop(Content(dataset, text, (), 0, refused=True), f"refused-{self._number}.csv")
            else:
                self._drop(self._new(dataset), f"{self._number}.csv")

    def _new(self, dataset: str) -> Content:
        rows = int(10 * 2000 ** self.pick.random())  # 10 to 20,000
        share = self.pick.choice((0, 0, 0.001, 0.05))
        lines, good, bad = ["id,no,value"], [], 0
        for no in range(rows):
            key = f"{self._number}-{no}"
            if self.pick.random() < share:
                bad += 1
                lines.append(
                    self.pick.choice((f"{key},{no},1000", f"{key},{no},x", f"{key},{no},1,surplus", f",{no},1"))
                )
            else:
                good.append((key, no))
                lines.append(f"{key},{no},{no % 1000}")
        if dataset == "accounts":
            good.append((LATEST, self._number))
            lines.append(f"{LATEST},{self._number},0")
        return Content(dataset, "\n".join(lines) + "\n", tuple(good), bad)

    def _drop(self, content: Content, name: str) -> None:
        path = self.inbox / content.dataset / name
        part = path.with_name(f"{name}.part")
        part.write_text(content.text)
        replaced = self._named.get((content.dataset, name)) if path.exists() else None
        if replaced is not None:
            self.dropped.remove(replaced)
            self.maybe.append(replaced)
        part.rename(path)
        self.dropped.append(content)
        self._named[content.dataset, name] = content


def check(stream: Stream, home: Path, connection: psycopg.Connection[Any]) -> str:
    """That every file is where it belongs, once; a sentence on what there was.

    A file that was replaced in the inbox may have been imported or not, but not twice and not by halves.
    """
    archived, failed = (list(_contents(home / name)) for name in ("archive", "failed"))
    wanted = [one for one in stream.dropped if not one.refused]
    refused = [one for one in stream.dropped if one.refused]
    perhaps = Counter((one.dataset, one.sha256) for one in stream.maybe)
    seen = Counter(archived) - Counter((one.dataset, one.sha256) for one in wanted)
    missing = Counter((one.dataset, one.sha256) for one in wanted) - Counter(archived)
    assert not missing, f"not archived: {_names(stream, missing)}"
    assert seen <= perhaps, f"archived more often than dropped: {_names(stream, seen - perhaps)}"
    assert Counter(failed) == Counter((one.dataset, one.sha256) for one in refused)
    expected = {(one.dataset, one.sha256): one for one in wanted}
    expected |= {(one.dataset, one.sha256): one for one in stream.maybe if (one.dataset, one.sha256) in seen}
    _check_ledger(connection, expected)
    for dataset in DATASETS:
        _check_table(connection, dataset, [one for one in expected.values() if one.dataset == dataset])
    return (
        f"{len(archived)} files archived, {len(failed)} refused, {len(stream.maybe)} replaced in the inbox; "
        f"{len(expected)} imports of {sum(len(one.good) + one.bad for one in expected.values()):,} records"
    )


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith(".why.txt"):
            yield path.relative_to(folder).parts[0], hashlib.sha256(path.read_bytes()).hexdigest()


def _names(stream: Stream, found: Counter[tuple[str, str]]) -> list[str]:
    named = {(one.dataset, one.sha256): name for (_, name), one in stream._named.items()}
    return [f"{key[0]}/{named.get(key, key[1])} x{count}" for key, count in found.items()]


def _check_ledger(connection: psycopg.Connection[Any], expected: dict[tuple[str, str], Content]) -> None:
    """One import a content, complete, with the counts of the file."""
    rows = connection.execute(
        "SELECT dataset, sha256, status, records, loaded + updated + unchanged, rejected FROM sluice.imports"
    ).fetchall()
    found = {(dataset, sha256): tuple(rest) for dataset, sha256, *rest in rows}
    assert len(found) == len(rows), "a content was imported twice"
    assert found.keys() == expected.keys()
    for key, one in expected.items():
        status = "completed_with_rejects" if one.bad else "completed"
        assert found[key] == (status, len(one.good) + one.bad, len(one.good), one.bad)
    kept = connection.execute("SELECT count(*), count(DISTINCT (import_id, line)) FROM sluice.rejected_rows").fetchone()
    assert kept == (sum(one.bad for one in expected.values()),) * 2


def _check_table(connection: psycopg.Connection[Any], dataset: str, expected: list[Content]) -> None:
    """Each row once; of rows that several files have, the last file's."""
    rows = connection.execute(f"SELECT id, no FROM public.{dataset}".encode()).fetchall()
    wanted = Counter(row for one in expected for row in one.good if row[0] != LATEST)
    assert Counter(row for row in rows if row[0] != LATEST) == wanted
    last = [no for one in expected for key, no in one.good if key == LATEST]
    assert [no for key, no in rows if key == LATEST] == ([max(last)] if last else [])


def number_of(name: str) -> int:
    """The number of the import in an archived file's name."""
    found = re.match(r"(?:already-imported-as-)?(\d+)-", name)
    assert found is not None, name
    return int(found[1])
