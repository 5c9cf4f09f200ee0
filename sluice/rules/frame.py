"""The frame Great Expectations sees: the columns the suite uses, in dtypes its code treats sanely and fast.

| column | dtype | why |
|---|---|---|
| text, uuid, json | `str` | zero-copy from Arrow, and the dtype GX's string metrics are fastest on |
| integer, bigint | `int64`, with NULLs `Int64` | never float, which would round above 2^53 |
| double | `float64` | NULL is NaN; the cast refuses NaN itself |
| boolean | `bool`, with NULLs `boolean` | object columns turn `~True` into -2 |
| numeric | `decimal128(p, s)[pyarrow]` | exact; objects would make a NULL raise in `A > B` |
| date | `datetime64[s]` | compares, and prints as the plain date; years 1 to 9999 fit |
| timestamp | `datetime64[us]`, `datetime64[us, UTC]` | |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from sluice.without_pandas import let_pandas_in

let_pandas_in()


def frame_of(table: pa.Table, columns: Iterable[str]) -> pd.DataFrame:
    """The named columns, with row positions 0..n-1 as the index."""
    return pd.DataFrame({name: _series(table.column(name)) for name in columns}, index=pd.RangeIndex(table.num_rows))


def _series(values: pa.ChunkedArray) -> pd.Series[Any]:
    kind = values.type
    mapper: Any = None
    if pa.types.is_integer(kind):
        values = values.cast(pa.int64())
        mapper = {pa.int64(): pd.Int64Dtype()}.get if values.null_count else None
    elif pa.types.is_boolean(kind):
        mapper = {pa.bool_(): pd.BooleanDtype()}.get if values.null_count else None
    elif pa.types.is_decimal(kind):
        mapper = pd.ArrowDtype
    elif pa.types.is_date(kind):
        values = values.cast(pa.timestamp("s"))
    series: pd.Series[Any] = values.to_pandas(types_mapper=mapper)
    return series
