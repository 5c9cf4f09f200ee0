"""A row of each type to try a suite on before the file is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sluice.model import ColumnType, TypeName
from sluice.rules.coerce import is_aware
from sluice.rules.columns import arrow_type

_SAMPLES: dict[TypeName, Any] = {
    TypeName.INTEGER: 1,
    TypeName.BIGINT: 1,
    TypeName.DOUBLE: 1.0,
    TypeName.BOOLEAN: True,
    TypeName.NUMERIC: Decimal(0),
    TypeName.UUID: "00000000-0000-0000-0000-000000000000",
    TypeName.JSON: "{}",
    TypeName.DATE: date(2020, 1, 2),
}


def sample_tables(columns: Mapping[str, ColumnType]) -> list[pa.Table]:
    """One row of values, and that row with one of NULLs, because a column's dtype in the frame depends on them."""
    cells = {name: _sample(kind) for name, kind in columns.items()}
    types = {name: pa.date32() if kind.name is TypeName.DATE else arrow_type(kind) for name, kind in columns.items()}
    return [
        pa.table({name: pa.array([cell, *nulls], types[name]) for name, cell in cells.items()})
        for nulls in ([], [None])
    ]


def _sample(kind: ColumnType) -> Any:
    if kind.name is TypeName.TIMESTAMP:
        return datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC if is_aware(kind) else None)
    return _SAMPLES.get(kind.name, "a")
