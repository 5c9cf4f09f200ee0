"""One chunk judged by one suite: masks of rows, turned into violations and metrics.

The mask of a rule comes from an Arrow kernel, or, where there is none for it, from Great Expectations, which is
imported only then (`sluice.rules.stock`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluice.errors import RuleError
from sluice.model import Violation
from sluice.rules.columns import arrow_type, rule_column
from sluice.rules.judgement import ABOUT_NULLS, can_judge
from sluice.rules.kernels import by_kernel
from sluice.rules.metrics import PARTIALS, subject_of
from sluice.rules.text import text_of
from sluice.rules.unique import takes_part
from sluice.rules.values import SAMPLE, RowRule, Rule, Suite, TableMetric, TableRule, UniqueRule, Verdict

if TYPE_CHECKING:
    from sluice.rules.stock import StockChunk

FailedCells = Mapping[str, npt.NDArray[np.int64]]
Rows = npt.NDArray[np.int64]
#: One flag a row of the chunk; None stands for all rows.
Mask = npt.NDArray[np.bool_]

_NO_FAILED_CELLS: FailedCells = {}


class RulePlan:
    """A suite ready to judge chunk after chunk.

    Args:
        suite: as `load_suite` returns it.
    """

    def __init__(self, suite: Suite) -> None:
        self.suite = suite

    def judge(self, table: pa.Table, failed_cells: FailedCells = _NO_FAILED_CELLS) -> Verdict:
        """Judge every row by every rule.

        Args:
            table: the chunk, columns named and typed as the dataset's; a cell that did not cast is NULL.
            failed_cells: column -> positions of the rows whose cell did not cast.

        Raises:
            RuleError: a rule cannot be evaluated; nothing is known about any row then.
        """
        return self.open(table, failed_cells).verdict()

    def open(self, table: pa.Table, failed_cells: FailedCells = _NO_FAILED_CELLS) -> ChunkJudge:
        """A chunk ready to be judged rule by rule; arguments and errors as `judge`."""
        if missing := set(self.suite.used_columns) - set(table.column_names):
            raise RuleError(
                f"The suite {self.suite.name!r} needs the column {sorted(missing)[0]!r}, which is not there."
            )
        return ChunkJudge(self.suite, table, failed_cells)


def needs_great_expectations(suite: Suite) -> bool:
    """Whether a rule of the suite will be judged by Great Expectations' own code."""
    return any(rule.conditional or not _has_kernel(rule, suite) for rule in suite.row_rules) or any(
        rule.conditional or not can_judge(rule) for rule in suite.table_rules
    )


def _has_kernel(rule: RowRule, suite: Suite) -> bool:
    columns = [pa.array([], arrow_type(suite.columns[name])) for name in rule.columns]
    return by_kernel(rule.metric, columns, rule.arguments) is not None


class ChunkJudge:
    """The state of one `judge`: the columns as rules see them, which rows are whole, Great Expectations if need be."""

    def __init__(self, suite: Suite, table: pa.Table, failed_cells: FailedCells) -> None:
        self.suite = suite
        self.table = table
        self.failed_cells = {name: rows for name, rows in failed_cells.items() if len(rows)}
        self.castable: Mask | None = None
        if self.failed_cells:
            self.castable = np.ones(table.num_rows, dtype=np.bool_)
            for rows in self.failed_cells.values():
                self.castable[rows] = False
        self._columns: dict[str, pa.Array] = {}
        self._stock: StockChunk | None = None

    def verdict(self) -> Verdict:
        """All rules together."""
        violations = []
        shares: dict[str, Any] = {}
        for rule in self.suite.row_rules:
            rows, shares[str(rule.index)] = self.judge(rule)
            if len(rows):
                violations.append(self.violation(rule, rows))
        for unique in self.suite.unique_rules:
            shares[str(unique.index)] = self.unique_share(unique)
        tables = {str(rule.index): self.table_share(rule) for rule in self.suite.table_rules}
        return Verdict(tuple(violations), {"rows": shares, "tables": tables})

    def judge(self, rule: RowRule) -> tuple[Rows, dict[str, Any]]:
        """The rows that break the rule, and the rule's share of the metrics."""
        try:
            domain = self._domain(rule)
            looked_at = domain if rule.metric in ABOUT_NULLS else _both(domain, self._present(rule))
            bad = self._bad_rows(rule, looked_at) if self._count(looked_at) else _NO_ROWS
            counted = bad if self.castable is None else bad[self.castable[bad]]
            total, judged = self._count(_both(domain, self.castable)), self._count(_both(looked_at, self.castable))
            share = {
                "total": total,
                "missing": self._missing(rule, domain) if rule.metric in ABOUT_NULLS else total - judged,
                "judged": judged,
                "unexpected": len(counted),
                "sample": self._sample(rule, counted[:SAMPLE]),
            }
        except Exception as error:
            raise unjudged(rule, error) from error
        return self._reportable(rule, bad), share

    def violation(self, rule: RowRule, rows: Rows) -> Violation:
        """The broken rule with the offending values as text."""
        texts = [text_of(column).to_pylist() for column in self._take(rule.columns, rows).columns]
        values = (
            texts[0] if len(texts) == 1 else [", ".join(_shown(v) for v in row) for row in zip(*texts, strict=True)]
        )
        return Violation(rule.code, rule.column, rule.message, rows, values, rule.severity)

    def unique_share(self, rule: UniqueRule) -> dict[str, Any]:
        """The counts of a rule that is judged elsewhere."""
        total = self._count(self.castable)
        judged = self._count(_both(takes_part(rule, self.table), self.castable))
        return {"total": total, "missing": total - judged, "judged": judged, "unexpected": 0, "sample": []}

    def table_share(self, rule: TableRule) -> dict[str, Any]:
        """The rule's share of each metric it needs, by metric name."""
        try:
            rows = _both(self._domain(rule), self.castable)
            return {
                metric.name: PARTIALS[metric.name].collect(self._values(metric, rows), subject_of(metric, self.suite))
                for metric in rule.metrics
            }
        except Exception as error:
            raise unjudged(rule, error) from error

    def _column(self, name: str) -> pa.Array:
        if name not in self._columns:
            self._columns[name] = rule_column(self.table.column(name), self.suite.columns[name])
        return self._columns[name]

    def _values(self, metric: TableMetric, rows: Mask | None) -> pa.Array:
        if metric.column is None:
            return pa.nulls(self._count(rows))
        values = self._column(metric.column)
        return values if rows is None else values.filter(pa.array(rows))

    def _great_expectations(self) -> StockChunk:
        if self._stock is None:
            from sluice.rules.stock import StockChunk

            self._stock = StockChunk(self.suite, self.table)
        return self._stock

    def _domain(self, rule: RowRule | TableRule) -> Mask | None:
        """The rows the rule is about, by its row condition."""
        return self._great_expectations().rows_where(rule) if rule.conditional else None

    def _present(self, rule: RowRule) -> Mask | None:
        """The rows whose NULLs do not take them out."""
        columns = [self.table.column(name) for name in rule.columns]
        if not any(column.null_count for column in columns) or rule.ignore_row_if in _IGNORE_NONE:
            return None
        combine = np.logical_or if rule.ignore_row_if in _IGNORE_ALL_MISSING else np.logical_and
        mask: Mask = combine.reduce([np.asarray(column.is_valid()) for column in columns])
        return mask

    def _bad_rows(self, rule: RowRule, looked_at: Mask | None) -> Rows:
        """The rows that break the rule among those it looks at, ascending."""
        columns = [self._column(name) for name in rule.columns]
        chosen = np.flatnonzero(looked_at) if rule.conditional and looked_at is not None else None
        if chosen is not None:  # nothing is asked of the rows that a row condition keeps out
            columns = [column.take(pa.array(chosen)) for column in columns]
        met = by_kernel(rule.metric, columns, rule.arguments)
        if met is None:
            return self._great_expectations().bad_rows(rule)
        bad = _not_met(met)
        if chosen is not None:
            return chosen[bad]
        return np.flatnonzero(bad if looked_at is None else bad & looked_at)

    def _missing(self, rule: RowRule, domain: Mask | None) -> int:
        """How many of the rows are NULL, for a rule that looks at those as well."""
        values = self.table.column(rule.columns[0])
        return self._count(_both(_both(domain, self.castable), np.asarray(values.is_null())))

    def _count(self, rows: Mask | None) -> int:
        return self.table.num_rows if rows is None else int(rows.sum())

    def _reportable(self, rule: RowRule, rows: Rows) -> Rows:
        """Without the rows whose value is not known: nobody can say that they break the rule."""
        names = self.failed_cells if rule.conditional else [c for c in rule.columns if c in self.failed_cells]
        for name in names:
            rows = np.setdiff1d(rows, self.failed_cells[name], assume_unique=True)
        return rows

    def _take(self, columns: tuple[str, ...], rows: Rows) -> pa.Table:
        return self.table.select(list(columns)).take(pa.array(rows))

    def _sample(self, rule: RowRule, rows: Rows) -> list[Any]:
        if not len(rows):
            return []
        taken = self._take(rule.columns, rows)
        records = zip(*(_json_values(column) for column in taken.columns), strict=True)
        kwargs = rule.configuration["kwargs"]
        if "column" in kwargs:
            return [value for (value,) in records]
        if "column_A" in kwargs:
            return [list(record) for record in records]
        return [dict(zip(rule.columns, record, strict=True)) for record in records]


#: Great Expectations' `ignore_row_if`, of pairs and of more columns. A rule about one column ignores its NULLs.
_IGNORE_NONE = ("neither", "never")
_IGNORE_ALL_MISSING = ("both_values_are_missing", "all_values_are_missing")
_NO_ROWS: Rows = np.empty(0, dtype=np.int64)


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _not_met(met: pa.BooleanArray) -> Mask:
    """Where the rule is not met. What depends on a NULL is not: whether that counts, `ignore_row_if` says."""
    if met.null_count:
        met = met.fill_null(False)
    mask: Mask = ~np.asarray(met)
    return mask


def _json_values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    native = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    values: list[Any] = (column if native else text_of(column)).to_pylist()
    return values


def _shown(value: str | None) -> str:
    return "NULL" if value is None else value


def unjudged(rule: Rule, error: Exception) -> RuleError:
    """The error that stops an import because a rule cannot be evaluated."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return RuleError(
        f"expectations[{rule.index}] ({rule.code.removeprefix('rule.')}, {rule.column}) cannot be evaluated: {reason}",
        column=rule.column,
        hint="Correct the rule in suite.json; no row of this chunk was loaded.",
    )
