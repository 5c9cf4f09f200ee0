"""The execution engine Great Expectations' own code runs on: its pandas engine, narrower."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sluice.rules.gx import BATCH, PandasExecutionEngine


class NarrowEngine(PandasExecutionEngine):  # type: ignore[misc]
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
