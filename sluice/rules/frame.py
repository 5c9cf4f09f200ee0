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

from sluice.model import ColumnType, TypeName
from sluice.rules.coerce import is_aware

_FRAME_TYPES = {
    TypeName.INTEGER: pa.int64(),
    TypeName.BIGINT: pa.int64(),
    TypeName.DOUBLE: pa.float64(),
    TypeName.BOOLEAN: pa.bool_(),
    TypeName.DATE: pa.timestamp("s"),
}


def frame_of(table: pa.Table, columns: Iterable[str]) -> pd.DataFrame:
    """The named columns, with row positions 0..n-1 as the index."""
    return pd.DataFrame({name: _series(table.column(name)) for name in columns}, index=pd.RangeIndex(table.num_rows))


def arrow_type(kind: ColumnType) -> pa.DataType:
    """The type a column of that kind has in the frame, as Arrow sees it."""
    if kind.name is TypeName.NUMERIC:
        return pa.decimal128(kind.precision or 38, kind.scale or 0)
    if kind.name is TypeName.TIMESTAMP:
        return pa.timestamp("us", "UTC") if is_aware(kind) else pa.timestamp("us")
    return _FRAME_TYPES.get(kind.name, pa.string())


def arrow_of(column: pd.Series[Any]) -> pa.Array:
    """The column as one Arrow array, missing values as null; without a copy for `str`."""
    array = pa.array(column, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


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
