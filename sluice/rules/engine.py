"""The execution engine rules run on: Great Expectations' pandas engine, narrower, with some metrics replaced.

Great Expectations finds a metric by the engine's class and its bases: what is registered here for `HybridEngine`,
with its own public decorator, is used, and every other metric is its own code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sluice.rules.gx import (
    BATCH,
    ColumnMapMetricProvider,
    PandasExecutionEngine,
    column_condition_partial,
    get_metric_provider,
)
from sluice.rules.kernels import KERNELS

if TYPE_CHECKING:
    Column = pd.Series[Any]


class HybridEngine(PandasExecutionEngine):  # type: ignore[misc]
    """Sees one chunk. Hands out only the columns of a rule's domain.

    The stock engine filters every column of the frame for every rule, which costs more than most rules do.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        super().__init__(batch_data_dict={BATCH: frame})
        self._frame = frame

    def get_domain_records(self, domain_kwargs: dict[str, Any]) -> pd.DataFrame:
        """The rows and columns a metric is about; with `ignore_row_if` by the stock engine's own code."""
        names = _columns(domain_kwargs)
        if domain_kwargs.get("row_condition") or not names or not set(names) <= set(self._frame.columns):
            records: pd.DataFrame = super().get_domain_records(domain_kwargs)
            return records
        narrow = self._frame[names]
        if "column" in domain_kwargs:
            return narrow
        records = PandasExecutionEngine(batch_data_dict={BATCH: narrow}).get_domain_records(domain_kwargs)
        return records  # noqa: RET504 - typed


def _columns(domain_kwargs: dict[str, Any]) -> list[str]:
    if "column" in domain_kwargs:
        return [domain_kwargs["column"]]
    if "column_A" in domain_kwargs:
        return list(dict.fromkeys((domain_kwargs["column_A"], domain_kwargs["column_B"])))
    return list(dict.fromkeys(domain_kwargs.get("column_list") or ()))


def _register(metric: str, kernel: Callable[..., pa.BooleanArray | None]) -> None:
    """Put the kernel in the place of the metric's condition, for `HybridEngine` only."""
    stock, _ = get_metric_provider(f"{metric}.condition", PandasExecutionEngine())

    def judge(cls: object, column: Column, _metrics: object, **arguments: Any) -> Column:
        found = kernel(column, **arguments)
        return _stock(stock, column, arguments) if found is None else _met(found, column)

    namespace = {
        "condition_metric_name": metric,
        "condition_value_keys": stock.condition_value_keys,
        "default_kwarg_values": stock.default_kwarg_values,
        "_pandas": column_condition_partial(engine=HybridEngine, filter_column_isnull=False)(judge),
    }
    type(ColumnMapMetricProvider)(f"Arrow{stock.__name__}", (ColumnMapMetricProvider,), namespace)


def _met(found: pa.BooleanArray, column: Column) -> Column:
    if found.null_count:
        found = found.fill_null(True)
    return pd.Series(found.to_numpy(zero_copy_only=False), index=column.index)


def _stock(provider: Any, column: Column, arguments: dict[str, Any]) -> Column:
    """Great Expectations' own function, on the rows it would be given; all others meet the rule."""
    present = column[column.notnull()]
    if present.empty:  # the result of mapping nothing would not even be boolean
        return pd.Series(np.ones(len(column), dtype=np.bool_), index=column.index)
    met: Column = inspect.unwrap(provider._pandas)(provider, present, **arguments)
    return met.reindex(column.index, fill_value=True)


for _metric, _kernel in KERNELS.items():
    _register(_metric, _kernel)
