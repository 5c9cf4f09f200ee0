"""Writing rejected rows and values under uniqueness rules into the ledger, by COPY.

Fast enough that a file with 20 % bad rows does not notice: Arrow encodes, PostgreSQL copies (about 2 us a row).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from psycopg import sql

from sluice.database import translated
from sluice.route import ERRORS_SCHEMA, UNIQUE_SCHEMA, RejectedRow

#: Longest text kept of a message or value; the whole record is in `rejected_rows.raw`.
MAX_TEXT = 1000

_WRITE = pacsv.WriteOptions(include_header=False)


@translated()
def save_rejects(
    connection: psycopg.Connection[Any], import_id: int, rejected: Sequence[RejectedRow], errors: pa.Table
) -> None:
    """Write `rejected` and their `errors` (`ERRORS_SCHEMA`), inside the caller's transaction."""
    if rejected:
        rows = pa.table(
            {
                "line": pa.array([row.line for row in rejected], pa.int64()),
                "byte_offset": pa.array([row.byte_offset for row in rejected], pa.int64()),
                # large_string: a chunk of nothing but bad rows is twice its size in hexadecimal
                "raw": pa.array(["\\x" + row.raw.hex() for row in rejected], pa.large_string()),
            }
        )
        _copy(connection, "rejected_rows", import_id, rows)
    if errors.num_rows:
        _copy(connection, "row_errors", import_id, _storable(errors.select(ERRORS_SCHEMA.names)))


@translated()
def save_unique_values(connection: psycopg.Connection[Any], import_id: int, table: pa.Table) -> None:
    """Write values under uniqueness rules (`UNIQUE_SCHEMA`), inside the caller's transaction. Values are kept
    whole: cut ones would look alike."""
    if table.num_rows:
        _copy(connection, "unique_values", import_id, table.select(UNIQUE_SCHEMA.names))


def _storable(errors: pa.Table) -> pa.Table:
    """The same table with texts that PostgreSQL can hold, none longer than `MAX_TEXT` characters."""
    for index, field in enumerate(errors.schema):
        if not pa.types.is_string(field.type):
            continue
        column = pc.replace_substring(errors.column(index), pattern="\0", replacement="\ufffd")
        too_long = pc.greater(pc.utf8_length(column), MAX_TEXT)
        if pc.any(too_long).as_py():
            cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(column, 0, MAX_TEXT - 1), "…", "")
            column = pc.if_else(too_long, cut, column)
        errors = errors.set_column(index, field, column)
    return errors


def _copy(connection: psycopg.Connection[Any], table: str, import_id: int, rows: pa.Table) -> None:
    """COPY `rows` with the import's id in front, which also keeps a value of `\\.` from standing alone on a line."""
    rows = rows.add_column(0, "import_id", pa.array(np.full(rows.num_rows, import_id, np.int64)))
    sink = pa.BufferOutputStream()
    # In one piece: of a table that begins with an empty piece, pyarrow 26 writes garbage.
    pacsv.write_csv(rows.combine_chunks(), sink, _WRITE)
    statement = sql.SQL("COPY sluice.{} ({}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(memoryview(sink.getvalue()))
