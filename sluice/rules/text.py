"""Cells as text, for people and for comparing."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def text_of(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Any column as canonical text: equal values have equal texts."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    if pa.types.is_floating(values.type):
        values = pc.add(values, 0.0)  # -0.0 equals 0.0
    return values.cast(pa.string())
