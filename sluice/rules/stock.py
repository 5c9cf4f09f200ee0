"""Great Expectations' own judgement: of the rows, by a rule that no kernel takes; of a row condition; of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sluice.rules.engine import NarrowEngine
from sluice.rules.frame import frame_of
from sluice.rules.gx import (
    BATCH,
    MetricConfiguration,
    MetricsCalculator,
    bound_expectation,
    dependencies,
    get_metric_provider,
)
from sluice.rules.values import SAMPLE, Judgement, RowRule, Rule, Suite, TableRule

Rows = npt.NDArray[np.int64]

_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE}


class Stock:
    """A suite's rules as Great Expectations' objects, made when they are asked for and kept: they do not depend on
    the data. What two threads make at once is made twice, and alike."""

    def __init__(self, suite: Suite) -> None:
        self.used = suite.used_columns
        self._expectations: dict[int, Any] = {}
        self._conditions: dict[int, MetricConfiguration] = {}
        self._metrics: dict[Any, MetricConfiguration] = {}
        self._providers: dict[Any, Any] = {}

    def expectation(self, rule: Rule) -> Any:
        """The rule's expectation, bound to our batch."""
        if rule.index not in self._expectations:
            self._expectations[rule.index] = bound_expectation(rule.configuration)
        return self._expectations[rule.index]

    def condition(self, rule: RowRule) -> MetricConfiguration:
        """The metric that holds the rule's mask, exactly as Great Expectations would ask for it, laid out with all
        the metrics it depends on."""
        if rule.index not in self._conditions:
            condition = condition_of(self.expectation(rule))
            self._lay_out(condition)
            self._conditions[rule.index] = condition
        return self._conditions[rule.index]

    def _lay_out(self, condition: MetricConfiguration) -> None:
        engine = NarrowEngine(pd.DataFrame())
        graph = MetricsCalculator(engine).build_metric_dependency_graph([condition])
        for edge in graph.edges:
            for metric in (edge.left, edge.right):
                if metric is not None and metric.id not in self._metrics:
                    self._providers[metric.id] = get_metric_provider(metric.metric_name, engine)
                    self._metrics[metric.id] = metric

    def metric(self, key: Any) -> tuple[MetricConfiguration, Any, Any]:
        """A metric that was laid out, its provider and its function."""
        return self._metrics[key], *self._providers[key]

    def judge_table(self, rule: TableRule, values: Mapping[str, Any]) -> Judgement:
        """The rule's judgement on the file, from the values of its metrics by name."""
        expectation = self.expectation(rule)
        metrics = {config.id: values[name] for name, config in dependencies(expectation, _FORMAT).items()}
        verdict = expectation.metrics_validate(metrics=metrics, runtime_configuration={"result_format": dict(_FORMAT)})
        document = json.loads(json.dumps(verdict.to_json_dict(), default=str))
        return Judgement(document["success"], document["result"])


@lru_cache(maxsize=16)
def stock_of(suite: Suite) -> Stock:
    """The suite's `Stock`, made once a process."""
    return Stock(suite)


def condition_of(expectation: Any) -> MetricConfiguration:
    """The metric that holds the mask of an expectation about rows."""
    needed = dependencies(expectation, {"result_format": "BOOLEAN_ONLY"})
    count = needed[f"{expectation.map_metric}.unexpected_count"]
    return MetricConfiguration(
        f"{expectation.map_metric}.condition", count.metric_domain_kwargs, count.metric_value_kwargs
    )


class StockChunk:
    """One chunk before Great Expectations: the engine that sees it, and the metrics computed so far.

    Args:
        suite: the suite.
        table: the chunk; it has every column the suite uses.
    """

    def __init__(self, suite: Suite, table: pa.Table) -> None:
        self._stock = stock_of(suite)
        self._engine = NarrowEngine(frame_of(table, self._stock.used))
        self._rows = table.num_rows
        self._known: dict[Any, Any] = {}

    def rows_where(self, rule: Rule) -> npt.NDArray[np.bool_]:
        """Which rows the rule's row condition lets through."""
        condition = self._stock.expectation(rule).configuration.kwargs["row_condition"]
        key = ("rows", str(condition))
        if key not in self._known:
            records = self._engine.get_domain_records({"batch_id": BATCH, "row_condition": condition})
            mask = np.zeros(self._rows, dtype=np.bool_)
            mask[records.index.to_numpy(dtype=np.int64)] = True
            self._known[key] = mask
        known: npt.NDArray[np.bool_] = self._known[key]
        return known

    def bad_rows(self, rule: RowRule) -> Rows:
        """The rows that break the rule, ascending, by Great Expectations' own mask.

        Raises:
            Exception: whatever keeps it from being evaluated.
        """
        condition = self._stock.condition(rule)
        mask = self._compute(condition.id, rule.arguments)[0]
        if not isinstance(mask, pd.Series) or not pd.api.types.is_bool_dtype(mask.dtype) or mask.dtype == object:
            raise TypeError(f"its mask is {getattr(mask, 'dtype', type(mask))}, not boolean")
        # A comparison with NULL is neither true nor false; Great Expectations' float frames call it unexpected.
        bad = mask.to_numpy(dtype=np.bool_, na_value=True) if mask.hasnans else mask.to_numpy(dtype=np.bool_)
        rows: Rows = mask.index.to_numpy(dtype=np.int64)[bad]
        return rows

    def _compute(self, key: Any, arguments: Mapping[str, Any]) -> Any:
        """A metric's value. Great Expectations' own loop retries and swallows exceptions."""
        metric, provider, function = self._stock.metric(key)
        return function(
            cls=provider,
            execution_engine=self._engine,
            metric_domain_kwargs=metric.metric_domain_kwargs,
            metric_value_kwargs={**metric.metric_value_kwargs, **arguments},
            metrics={name: self._resolve(needed.id) for name, needed in metric.metric_dependencies.items()},
            runtime_configuration={},
        )

    def _resolve(self, key: Any) -> Any:
        """A metric that others depend on, once a chunk."""
        if key not in self._known:
            self._known[key] = self._compute(key, {})
        return self._known[key]
