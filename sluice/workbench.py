"""One chunk through every step that needs no database: read, cast, judge, route, encode.

A workbench is made once a process and works on one chunk at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluice.cast import cast_table
from sluice.encode import CopyData
from sluice.header import known_names
from sluice.load import LoadPlan, encode
from sluice.model import Chunk, ExtraColumns, Violation
from sluice.names import normalise_header
from sluice.parse import Parsed
from sluice.reading import parse
from sluice.recipe import Recipe
from sluice.route import Routed, route
from sluice.rules import unique_values
from sluice.target import EXTRA

if TYPE_CHECKING:
    from sluice.rules import RulePlan


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk ready to be loaded. `seconds` is what it took."""

    routed: Routed
    data: CopyData | None
    seconds: float


class Workbench:
    """Turns chunks of one text into rows, by one recipe. Not for two threads at once."""

    def __init__(self, recipe: Recipe, text_size: int, read: Callable[[int, int], bytes]) -> None:
        self._recipe, self._text_size, self._read = recipe, text_size, read
        self._rules: RulePlan | None = None
        if recipe.suite is not None:
            from sluice.rules import RulePlan

            self._rules = RulePlan(recipe.suite)

    def prepare(self, chunk: Chunk, plan: LoadPlan | None = None) -> Prepared:
        """Read and judge a chunk; with a plan, encode its good rows for COPY as well."""
        begun = time.perf_counter()
        routed = self.route(chunk)
        data = encode(plan, routed) if plan is not None and len(routed.good) else None
        return Prepared(routed, data, time.perf_counter() - begun)

    def route(self, chunk: Chunk) -> Routed:
        """Read and judge a chunk.

        Raises:
            RuleError: a rule could not be evaluated.
            SourceError: the file changed since it was fingerprinted.
        """
        recipe = self._recipe
        parsed = parse(chunk, self._read, self._text_size, recipe.dialect, recipe.names)
        text = parsed.text.select([recipe.names[at] for at in recipe.columns.positions.values()])
        text = text.rename_columns(list(recipe.columns.positions))
        cast = cast_table(text, recipe.dataset.columns, recipe.columns.constants)
        violations = [*cast.violations, *_unknown_keys(parsed.surplus, recipe)]
        table, metrics, unique = cast.table, None, []
        if self._rules is not None and recipe.suite is not None:
            failed = _failed_cells(cast.violations)
            verdict = self._rules.judge(table, failed)
            violations += verdict.violations
            metrics = verdict.metrics
            unique = unique_values(recipe.suite, table, failed)
        if recipe.dataset.extra_columns is ExtraColumns.KEEP:
            table = table.append_column(EXTRA, _extra_json(parsed, recipe))
        return route(parsed, table, violations, source_bytes=recipe.source_bytes, unique=unique, metrics=metrics)


def _extra_json(parsed: Parsed, recipe: Recipe) -> pa.StringArray:
    """What the dataset does not know of the file, as one JSON object a row: {} where there is nothing."""
    extras, surplus = recipe.columns.extras, parsed.surplus
    if not extras and surplus is None:
        return pa.repeat(pa.scalar("{}"), parsed.text.num_rows)
    kept = parsed.text.select([recipe.names[at] for at in extras.values()]).rename_columns(list(extras))
    rows = kept.to_pylist() if extras else [{} for _ in range(parsed.text.num_rows)]
    if surplus is not None:
        rows = [row | json.loads(more or "{}") for row, more in zip(rows, surplus.to_pylist(), strict=True)]
    return pa.array([json.dumps(row, ensure_ascii=False) for row in rows], pa.string())


def _unknown_keys(surplus: pa.StringArray | None, recipe: Recipe) -> list[Violation]:
    """JSON records with keys the file's beginning does not have, unless the dataset ignores or keeps them.

    A key of the dataset is neither ignored nor kept: its values belong in a column that this import leaves out.
    """
    if surplus is None:
        return []
    rejected = recipe.dataset.extra_columns is ExtraColumns.REJECT_FILE
    known = known_names(recipe.dataset)
    found: dict[int, str] = {}
    for row in np.flatnonzero(surplus.is_valid()).tolist():
        keys = [key for key in json.loads(surplus[row].as_py()) if rejected or normalise_header(key) in known]
        if keys:
            found[row] = ", ".join(keys)
    if not found:
        return []
    message = "the object has a key that neither the dataset nor the beginning of the file has"
    return [Violation("json.unknown_key", None, message, np.array(list(found), np.int64), list(found.values()))]


def _failed_cells(violations: list[Violation]) -> Mapping[str, npt.NDArray[np.int64]]:
    """Column -> rows whose cell did not cast. A missing required value did: it is NULL, and rules may say so too."""
    failed: dict[str, list[npt.NDArray[np.int64]]] = {}
    for violation in violations:
        if violation.column is not None and violation.code != "type.required":
            failed.setdefault(violation.column, []).append(violation.rows)
    return {column: np.unique(np.concatenate(rows)) for column, rows in failed.items()}
