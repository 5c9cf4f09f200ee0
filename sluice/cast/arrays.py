"""Looking into Arrow string arrays without a Python object a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BoolArray = npt.NDArray[np.bool_]

#: Turns text into one type: as long as its argument, NULL where that is NULL and where the value does not cast.
Converter = Callable[[pa.StringArray], pa.Array]


def combined(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; without a copy where it has one chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def valid(values: pa.Array) -> BoolArray:
    """True where there is a value."""
    if values.null_count == 0:
        return np.ones(len(values), dtype=bool)
    return to_mask(pc.is_valid(values))


def to_mask(values: pa.BooleanArray) -> BoolArray:
    """NULL counts as False."""
    if values.null_count:
        values = values.fill_null(False)
    mask: BoolArray = values.to_numpy(zero_copy_only=False)
    return mask


def offsets(values: pa.StringArray | pa.BinaryArray) -> npt.NDArray[np.int32]:
    """Where each value's bytes begin and end in the data buffer: one entry more than there are values."""
    buffer = values.buffers()[1]
    if buffer is None or len(values) == 0:
        return np.zeros(len(values) + 1, dtype=np.int32)
    found: npt.NDArray[np.int32] = np.frombuffer(buffer, np.int32)[values.offset : values.offset + len(values) + 1]
    return found


def data(values: pa.StringArray | pa.BinaryArray) -> npt.NDArray[np.uint8]:
    """The bytes of the values, end to end (NULLs may hold bytes too)."""
    buffer, ends = values.buffers()[2], offsets(values)
    if buffer is None or ends[0] == ends[-1]:
        return np.empty(0, dtype=np.uint8)
    return np.frombuffer(buffer, np.uint8)[ends[0] : ends[-1]]


def has_any_byte(values: pa.StringArray, wanted: bytes) -> bool:
    """Whether one of the ASCII letters `wanted` occurs anywhere, in either case."""
    lowered = data(values) | 0x20
    return any(bool((lowered == letter).any()) for letter in wanted.lower())


def only(values: pa.StringArray, mask: BoolArray) -> pa.StringArray:
    """The values where `mask` is true, NULL elsewhere; the same length."""
    return pc.if_else(pa.array(mask), values, pa.scalar(None, values.type))


def patch(base: pa.Array, mask: BoolArray, replacement: pa.Array) -> pa.Array:
    """`base` with the values where `mask` is true replaced, in order, by those of `replacement`."""
    return pc.replace_with_mask(base, pa.array(mask), replacement)


def per_distinct(values: pa.StringArray, convert: Callable[[str], Any], type_: pa.DataType) -> pa.Array:
    """`convert` of each value, called once for each distinct one; None means it does not cast."""
    encoded = values.dictionary_encode()
    converted = pa.array([convert(text) for text in encoded.dictionary.to_pylist()], type_)
    return converted.take(encoded.indices)
