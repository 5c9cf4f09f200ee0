"""Text to types, column at a time. A value that does not cast is a violation of its row, never an exception.

Nothing is rounded, guessed or read by the habits of a locale: what a column's type does not hold exactly is
rejected with the text as it stands in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.cast.arrays import BoolArray, Converter, combined, only, to_mask, valid
from sluice.cast.numeric import decimal_type, to_bigint, to_double, to_integer, to_numeric
from sluice.cast.temporal import has_zone, to_date, to_timestamp
from sluice.cast.words import to_boolean, to_json, to_uuid
from sluice.model import Column, ColumnType, TypeName, Violation

__all__ = ["Cast", "arrow_type", "cast_table", "casts", "describe"]


@dataclass(frozen=True, slots=True)
class Cast:
    """A chunk's typed columns, and the cells that did not make it: NULL in `table`, one violation a column and code."""

    table: pa.Table
    violations: list[Violation]


def cast_table(text: pa.Table, columns: Sequence[Column], constants: Mapping[str, str | None] | None = None) -> Cast:
    """Cast a chunk.

    Args:
        text: pa.string() columns named as the dataset's; an unquoted empty field is NULL, a quoted one ''.
            Dataset columns it lacks are NULL throughout, before their default.
        columns: the dataset's columns; the result has them in this order.
        constants: column -> text, for columns the run sets instead of the file.
    """
    arrays, violations = [], []
    for column in columns:
        if constants is not None and column.name in constants:
            values = pa.repeat(pa.scalar(constants[column.name], pa.string()), text.num_rows)
        elif column.name in text.column_names:
            values = text.column(column.name)
        else:
            values = pa.nulls(text.num_rows, pa.string())
        array, found = _cast_column(values, column)
        arrays.append(array)
        violations += found
    return Cast(pa.table(arrays, names=[column.name for column in columns]), violations)


def arrow_type(type_: ColumnType) -> pa.DataType:
    """The Arrow type of a cast column."""
    if type_.name is TypeName.NUMERIC:
        return decimal_type(*_digits(type_))
    if type_.name is TypeName.TIMESTAMP:
        return pa.timestamp("us", "UTC" if has_zone(type_.format) else None)
    return _ARROW_TYPES[type_.name]


def casts(text: str, type_: ColumnType) -> bool:
    """Whether one text is a value of the type. An empty text is one of `text` only."""
    return bool(_converter(type_)(pa.array([text], pa.string())).null_count == 0)


def describe(type_: ColumnType) -> str:
    """The type as dataset.yaml writes it."""
    name = f"{type_.name}({type_.precision},{type_.scale})" if type_.name is TypeName.NUMERIC else str(type_.name)
    return f"{name} in the format {type_.format}" if type_.format else name


_ARROW_TYPES: dict[TypeName, pa.DataType] = {
    TypeName.TEXT: pa.string(),
    TypeName.INTEGER: pa.int32(),
    TypeName.BIGINT: pa.int64(),
    TypeName.DOUBLE: pa.float64(),
    TypeName.BOOLEAN: pa.bool_(),
    TypeName.DATE: pa.date32(),
    TypeName.UUID: pa.string(),
    TypeName.JSON: pa.string(),
}

_CONVERTERS: dict[TypeName, Converter] = {
    TypeName.TEXT: lambda values: values,
    TypeName.INTEGER: to_integer,
    TypeName.BIGINT: to_bigint,
    TypeName.DOUBLE: to_double,
    TypeName.BOOLEAN: to_boolean,
    TypeName.UUID: to_uuid,
    TypeName.JSON: to_json,
}


def _converter(type_: ColumnType) -> Converter:
    if type_.name is TypeName.NUMERIC:
        precision, scale = _digits(type_)
        return partial(to_numeric, precision=precision, scale=scale)
    if type_.name is TypeName.DATE:
        return partial(to_date, format=type_.format)
    if type_.name is TypeName.TIMESTAMP:
        return partial(to_timestamp, format=type_.format)
    return _CONVERTERS[type_.name]


def _digits(type_: ColumnType) -> tuple[int, int]:
    if type_.precision is None or type_.scale is None:
        raise ValueError("a numeric column needs a precision and a scale")
    return type_.precision, type_.scale


def _cast_column(
    source: pa.Array | pa.ChunkedArray, column: Column
) -> tuple[pa.Array | pa.ChunkedArray, list[Violation]]:
    """Trim, NULL texts, default, required, type: in that order."""
    if column.type.name is TypeName.TEXT and not (column.trim or column.null or column.default is not None):
        missing = to_mask(pc.is_null(source)) if column.required and source.null_count else None
        return source, _violations(column, source, missing, None)
    raw = combined(source) if isinstance(source, pa.ChunkedArray) else source
    values = pc.utf8_trim_whitespace(raw) if column.trim else raw
    if column.null:
        values = only(values, to_mask(pc.invert(pc.is_in(values, value_set=pa.array(column.null)))))
    typed = _converter(column.type)(values)
    bad = missing = None
    if typed.null_count > values.null_count:
        bad = valid(values) & ~valid(typed)
        values, bad = _without_blanks(values, bad)
    if values.null_count:
        missing = ~valid(values)
        if column.default is not None:
            default = _converter(column.type)(pa.array([column.default], pa.string()))[0]
            typed, missing = pc.if_else(pa.array(missing), default, typed), None
    return typed, _violations(column, raw, missing if column.required else None, bad)


def _without_blanks(values: pa.StringArray, bad: BoolArray) -> tuple[pa.StringArray, BoolArray]:
    """An empty or blank text is no value of any type but text: it is NULL, not an error."""
    positions = np.flatnonzero(bad)
    lengths = pc.binary_length(pc.utf8_trim_whitespace(values.take(pa.array(positions))))
    blank = np.zeros(len(bad), dtype=bool)
    blank[positions[lengths.to_numpy() == 0]] = True
    return (only(values, ~blank), bad & ~blank) if blank.any() else (values, bad)


def _violations(
    column: Column, raw: pa.Array | pa.ChunkedArray, missing: BoolArray | None, bad: BoolArray | None
) -> list[Violation]:
    found = []
    for code, message, mask in (
        ("type.required", "a value is required", missing),
        (column.type.code, f"not a value of type {describe(column.type)}", bad),
    ):
        if mask is not None and mask.any():
            rows = np.flatnonzero(mask).astype(np.int64)
            found.append(Violation(code, column.name, message, rows, raw.take(pa.array(rows)).to_pylist()))
    return found
