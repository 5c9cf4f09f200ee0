"""Judging alone, no reading and no database: Sluice's masks and routing against Great Expectations' own validation.

    python -m tests.bench.validation SOURCE DATASET

CPU seconds of one core, in turn; and whether both find the same rows bad.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from sluice.cast import cast_table
from sluice.dataset import load_dataset
from sluice.model import Chunk, Dialect, Severity, Violation
from sluice.parse import parse
from sluice.route import route
from sluice.rules import RulePlan, load_suite, unique_values
from sluice.settings import Settings
from tests.bench.peers.gx_stock import Judge

#: Times each is measured, after one to warm up.
TURNS = 5


def main() -> None:
    source, name = sys.argv[1:]
    pa.set_cpu_count(1)
    datasets = Settings.from_environment().datasets
    dataset = load_dataset(name, datasets)
    assert dataset.suite is not None
    data = Path(source).read_bytes()
    start = data.index(b"\n") + 1
    chunk = Chunk(0, start, len(data), first_line=2, lines=data.count(b"\n") - 1)
    names = [column.name for column in dataset.columns]
    parsed = parse(chunk, lambda begin, end: data[begin:end], len(data), Dialect(), names)
    cast = cast_table(parsed.text, dataset.columns, {})
    failed: dict[str, list[np.ndarray]] = {}
    for violation in cast.violations:
        if violation.column is not None and violation.code != "type.required":
            failed.setdefault(violation.column, []).append(violation.rows)
    cells = {column: np.unique(np.concatenate(rows)) for column, rows in failed.items()}
    suite = load_suite(dataset.suite, columns={c.name: c.type for c in dataset.columns}, key=dataset.key)
    plan, judge = RulePlan(suite), Judge(str(datasets / name / "suite.json"))

    def ours() -> set[int]:
        verdict = plan.judge(cast.table, cells)
        unique = unique_values(suite, cast.table, cells)
        violations = [*cast.violations, *verdict.violations]
        route(parsed, cast.table, violations, unique=unique, metrics=verdict.metrics)
        return _critical(verdict.violations)

    def stock() -> set[int]:
        return set(judge.bad_rows(cast.table).tolist())

    same = ours() == stock()
    times = [(_cpu(ours), _cpu(stock)) for _ in range(TURNS)]
    print(
        json.dumps(
            {"rows": cast.table.num_rows, "same": same, "ours": [a for a, _ in times], "stock": [b for _, b in times]}
        )
    )


def _critical(violations: tuple[Violation, ...]) -> set[int]:
    return {row for v in violations if v.severity is Severity.CRITICAL for row in v.rows.tolist()}


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
