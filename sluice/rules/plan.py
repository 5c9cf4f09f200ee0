"""One chunk judged by one suite: Great Expectations' boolean masks, turned into violations and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sluice.errors import RuleError
from sluice.model import Violation
from sluice.rules.engine import HybridEngine
from sluice.rules.frame import frame_of
from sluice.rules.gx import BATCH, MetricConfiguration, MetricsCalculator, dependencies, get_metric_provider, with_batch
from sluice.rules.metrics import PARTIALS, SAMPLE, Subject
from sluice.rules.text import text_of
from sluice.rules.unique import takes_part
from sluice.rules.values import RowRule, Rule, Suite, TableRule, UniqueRule, Verdict

FailedCells = Mapping[str, npt.NDArray[np.int64]]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NO_FAILED_CELLS: FailedCells = {}


class RulePlan:
    """A suite made ready to judge chunk after chunk. One plan serves one thread at a time.

    Args:
        suite: as `load_suite` returns it.

    Raises:
        RuleError: Great Expectations cannot lay out a rule's metrics.
    """

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self._used = suite.used_columns
        self._tables = {rule.index: dependencies(with_batch(rule.expectation), _BASIC) for rule in suite.table_rules}
        self._conditions = {rule.index: condition_of(rule) for rule in suite.row_rules}
        self._arguments = {self._conditions[rule.index].id: rule.arguments for rule in suite.row_rules}
        self._metrics: dict[Any, MetricConfiguration] = {}
        self._providers: dict[Any, Any] = {}
        engine = HybridEngine(pd.DataFrame())
        for rule in suite.row_rules:
            try:
                self._lay_out(self._conditions[rule.index], engine)
            except Exception as error:
                raise _unjudged(rule, error) from error

    def _lay_out(self, condition: MetricConfiguration, engine: HybridEngine) -> None:
        """Note the metric and all it depends on; ids do not depend on the data, so that once a file is enough."""
        graph = MetricsCalculator(engine).build_metric_dependency_graph([condition])
        for edge in graph.edges:
            for metric in (edge.left, edge.right):
                if metric is not None and metric.id not in self._metrics:
                    self._metrics[metric.id] = metric
                    self._providers[metric.id] = get_metric_provider(metric.metric_name, engine)

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
        if missing := set(self._used) - set(table.column_names):
            raise RuleError(
                f"The suite {self.suite.name!r} needs the column {sorted(missing)[0]!r}, which is not there."
            )
        return ChunkJudge(self, table, failed_cells)

    def subject(self, rule: Rule, metric: MetricConfiguration) -> Subject:
        """What a table-level metric of the rule is about."""
        column = metric.metric_domain_kwargs.get("column")
        kwargs = {**rule.expectation.configuration.kwargs, **metric.metric_value_kwargs}
        return Subject(column, self.suite.columns.get(column), tuple(self.suite.columns), kwargs)


_BASIC = {"result_format": "BASIC"}


def condition_of(rule: RowRule) -> MetricConfiguration:
    """The metric that holds a row rule's mask, exactly as Great Expectations would ask for it."""
    expectation = with_batch(rule.expectation)
    needed = dependencies(expectation, {"result_format": "BOOLEAN_ONLY"})
    count = needed[f"{expectation.map_metric}.unexpected_count"]
    return MetricConfiguration(
        f"{expectation.map_metric}.condition", count.metric_domain_kwargs, count.metric_value_kwargs
    )


class ChunkJudge:
    """The state of one `judge`: the engine, the metrics computed so far, which rows are whole."""

    def __init__(self, plan: RulePlan, table: pa.Table, failed_cells: FailedCells) -> None:
        self.plan = plan
        self.table = table
        self.failed_cells = {name: rows for name, rows in failed_cells.items() if len(rows)}
        self.frame = frame_of(table, plan._used)
        self.engine = HybridEngine(self.frame)
        self.known: dict[Any, Any] = {}
        self.castable: Mask | None = None
        if self.failed_cells:
            self.castable = np.ones(table.num_rows, dtype=np.bool_)
            for rows in self.failed_cells.values():
                self.castable[rows] = False

    def verdict(self) -> Verdict:
        """All rules together."""
        violations = []
        shares: dict[str, Any] = {}
        for rule in self.plan.suite.row_rules:
            rows, shares[str(rule.index)] = self.judge(rule)
            if len(rows):
                violations.append(self.violation(rule, rows))
        for unique in self.plan.suite.unique_rules:
            shares[str(unique.index)] = self.unique_share(unique)
        tables = {str(rule.index): self.table_share(rule) for rule in self.plan.suite.table_rules}
        return Verdict(tuple(violations), {"rows": shares, "tables": tables})

    def judge(self, rule: RowRule) -> tuple[Rows, dict[str, Any]]:
        """The rows that break the rule, and the rule's share of the metrics."""
        config = self.plan._conditions[rule.index]
        try:
            domain = self._rows_of({k: v for k, v in config.metric_domain_kwargs.items() if k in _CONDITION})
            judged = self._judged(rule, config)
            bad = self._mask(config) if self._count(judged) else _NO_ROWS
        except Exception as error:
            raise _unjudged(rule, error) from error
        counted = self._whole(bad)
        total, looked_at = self._count_whole(domain), self._count_whole(judged)
        is_map = "column" in config.metric_domain_kwargs
        share = {
            "total": total,
            "missing": self._missing(rule, domain) if is_map else total - looked_at,
            "judged": looked_at,
            "unexpected": len(counted),
            "sample": self._sample(rule, counted[:SAMPLE]),
        }
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
        part = takes_part(rule, self.table)
        total = self.table.num_rows if self.castable is None else int(self.castable.sum())
        judged = int((part if self.castable is None else part & self.castable).sum())
        return {"total": total, "missing": total - judged, "judged": judged, "unexpected": 0, "sample": []}

    def table_share(self, rule: TableRule) -> dict[str, Any]:
        """The rule's share of each metric it needs, by metric name."""
        try:
            return {
                name: PARTIALS[name].collect(self._whole_domain(metric), self.plan.subject(rule, metric))
                for name, metric in self.plan._tables[rule.index].items()
            }
        except Exception as error:
            raise _unjudged(rule, error) from error

    def _mask(self, config: MetricConfiguration) -> Rows:
        mask = self._resolve(config.id)[0]
        if not isinstance(mask, pd.Series) or not pd.api.types.is_bool_dtype(mask.dtype) or mask.dtype == object:
            raise TypeError(f"its mask is {getattr(mask, 'dtype', type(mask))}, not boolean")
        # A comparison with NULL is neither true nor false; Great Expectations' float frames call it unexpected.
        bad = mask.to_numpy(dtype=np.bool_, na_value=True) if mask.hasnans else mask.to_numpy(dtype=np.bool_)
        if len(mask) == self.table.num_rows:
            return np.flatnonzero(bad)
        rows: Rows = mask.index.to_numpy(dtype=np.int64)[bad]
        return rows

    def _resolve(self, key: Any) -> Any:
        """A metric's value, its dependencies first. Great Expectations' own loop retries and swallows exceptions."""
        if key not in self.known:
            metric = self.plan._metrics[key]
            provider, function = self.plan._providers[key]
            self.known[key] = function(
                cls=provider,
                execution_engine=self.engine,
                metric_domain_kwargs=metric.metric_domain_kwargs,
                metric_value_kwargs={**metric.metric_value_kwargs, **self.plan._arguments.get(key, {})},
                metrics={name: self._resolve(needed.id) for name, needed in metric.metric_dependencies.items()},
                runtime_configuration={},
            )
        return self.known[key]

    def _rows_of(self, domain_kwargs: Mapping[str, Any]) -> Rows | None:
        """The rows of a domain; None means all of them."""
        if not domain_kwargs.get("row_condition"):
            return None
        key = ("rows", str(domain_kwargs["row_condition"]))
        if key not in self.known:
            records = self.engine.get_domain_records({**domain_kwargs, "batch_id": BATCH})
            self.known[key] = records.index.to_numpy(dtype=np.int64)
        rows: Rows = self.known[key]
        return rows

    def _judged(self, rule: RowRule, config: MetricConfiguration) -> Rows | None:
        """The rows the rule looks at: without those that `ignore_row_if`, or NULL, takes out; None means all."""
        domain_kwargs = config.metric_domain_kwargs
        if "column" in domain_kwargs:
            if not getattr(self.plan._providers[config.id][0], "filter_column_isnull", True):
                return self._rows_of(domain_kwargs)
            values = self.table.column(rule.columns[0])
            rows = self._rows_of(domain_kwargs)
            if not values.null_count:
                return rows
            present = np.flatnonzero(values.is_valid())
            return present if rows is None else np.intersect1d(rows, present, assume_unique=True)
        rows = self.engine.get_domain_records(domain_kwargs).index.to_numpy(dtype=np.int64)
        return None if len(rows) == self.table.num_rows else rows

    def _missing(self, rule: RowRule, domain: Rows | None) -> int:
        values = self.table.column(rule.columns[0])
        if not values.null_count:
            return 0
        if domain is None and self.castable is None:
            return int(values.null_count)
        missing = np.asarray(values.is_null())
        return int(missing[self._whole(np.arange(len(missing)) if domain is None else domain)].sum())

    def _whole_domain(self, metric: MetricConfiguration) -> pd.DataFrame:
        frame = self.engine.get_domain_records({**metric.metric_domain_kwargs, "batch_id": BATCH})
        return frame if self.castable is None else frame[self.castable[frame.index.to_numpy()]]

    def _count(self, rows: Rows | None) -> int:
        return self.table.num_rows if rows is None else len(rows)

    def _count_whole(self, rows: Rows | None) -> int:
        if self.castable is None:
            return self._count(rows)
        return int((self.castable if rows is None else self.castable[rows]).sum())

    def _whole(self, rows: Rows) -> Rows:
        return rows if self.castable is None else rows[self.castable[rows]]

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
        domain = self.plan._conditions[rule.index].metric_domain_kwargs
        if "column" in domain:
            return [value for (value,) in records]
        if "column_A" in domain:
            return [list(record) for record in records]
        return [dict(zip(rule.columns, record, strict=True)) for record in records]


_CONDITION = ("row_condition", "condition_parser")
_NO_ROWS: Rows = np.empty(0, dtype=np.int64)


def _json_values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    native = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    values: list[Any] = (column if native else text_of(column)).to_pylist()
    return values


def _shown(value: str | None) -> str:
    return "NULL" if value is None else value


def _unjudged(rule: Rule, error: Exception) -> RuleError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return RuleError(
        f"expectations[{rule.index}] ({rule.code.removeprefix('rule.')}, {rule.column}) cannot be evaluated: {reason}",
        column=rule.column,
        hint="Correct the rule in suite.json; no row of this chunk was loaded.",
    )
