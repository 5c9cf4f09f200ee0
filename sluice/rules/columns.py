"""A column as rules look at it: one Arrow array, in a type that depends on the dataset's alone.

Whole numbers are `int64` and dates `timestamp[s]`, whatever the reader made of them; all else is as it was cast.
"""

from __future__ import annotations

import pyarrow as pa

from sluice import cast
from sluice.cast.arrays import combined
from sluice.model import ColumnType, TypeName

_WIDER = {
    TypeName.INTEGER: pa.int64(),
    TypeName.BIGINT: pa.int64(),
    TypeName.DATE: pa.timestamp("s"),
}


def arrow_type(kind: ColumnType) -> pa.DataType:
    """The type rules see a column of that kind in."""
    return _WIDER.get(kind.name) or cast.arrow_type(kind)


def rule_column(values: pa.ChunkedArray, kind: ColumnType) -> pa.Array:
    """The column as rules look at it.

    Raises:
        TypeError: it is not what a column of that kind is.
    """
    wanted, found = arrow_type(kind), values.type
    if found != wanted:
        same = found == cast.arrow_type(kind) or pa.types.is_null(found)
        if not same and not (pa.types.is_integer(found) and pa.types.is_integer(wanted)):
            raise TypeError(f"the column is {found}, not {wanted}")
        values = values.cast(wanted)
    return combined(values)
