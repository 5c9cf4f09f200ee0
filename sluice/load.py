"""A chunk's good rows into a table, within the caller's transaction.

The fast path is one COPY straight into the table, inside a savepoint. Only when the database refuses a row (a key
that is taken, a constraint, a trigger) is the chunk copied into a temporary table instead and settled row-exactly
(`sluice.settle`). Sequence of a chunk, all in one transaction::

    with conn.transaction():
        ledger.fence(...)
        outcome = load_chunk(conn, plan, routed, encode(plan, routed))
        ledger.save_rejects(...); ledger.record_chunk(...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import LiteralString

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from sluice.binary import encode_binary
from sluice.encode import CopyData, encode_table, with_lineage
from sluice.exactly import Connection, refusals, run_exactly
from sluice.loadplan import LoadPlan, Outcome
from sluice.refusals import (
    DISCARDED,
    Refusal,
    RowError,
    constraint_columns,
    duplicate,
    errors_table,
    explain,
    is_row_error,
    value_of,
)
from sluice.route import Routed
from sluice.settle import settle, taken
from sluice.statements import key_text, list_columns, loaded_columns

__all__ = ["LoadPlan", "Outcome", "encode", "load_chunk"]

_SCRATCH = sql.Identifier("pg_temp", "sluice_scratch")
_KEYS = sql.Identifier("pg_temp", "sluice_keys")
_TEXTS = sql.Identifier("pg_temp", "sluice_texts")


class _Discarded(psycopg.DatabaseError):
    """COPY reported fewer rows than it was sent: a trigger swallowed some."""

    sqlstate = DISCARDED


class _Misread(psycopg.errors.InvalidBinaryRepresentation):
    """A column is not of the type any more whose binary form it was sent: 8 bytes are a bigint or a double."""


def encode(plan: LoadPlan, routed: Routed) -> CopyData:
    """The chunk as bytes for `load_chunk`; touches no connection, so another thread may do it ahead of time."""
    return _encode_marked(plan, routed) if plan.lineage else _encode(plan, routed, routed.table, plan.wire)


def _encode_marked(plan: LoadPlan, routed: Routed) -> CopyData:
    marked = with_lineage(routed.table, plan.import_id, routed.lines)
    return _encode(plan, routed, marked, plan.wire and (*plan.wire, "int8", "int8"))


def _encode(plan: LoadPlan, routed: Routed, table: pa.Table, wire: tuple[str, ...] | None) -> CopyData:
    """As CSV also where a value does not fit its column: then it is PostgreSQL that refuses it, in its own words."""
    data = encode_binary(table, wire, routed.good, plan.order) if wire is not None else None
    return encode_table(routed.only_good(table)) if data is None else data


def load_chunk(
    conn: Connection,
    plan: LoadPlan,
    routed: Routed,
    data: CopyData | None = None,
    *,
    optimistic: bool = True,
    in_turn: Callable[[], None] = lambda: None,
) -> Outcome:
    """Load a chunk's good rows by the plan's mode; every row ends as exactly one of `Outcome`'s kinds.

    Must run inside a transaction of the caller's, chunks of one import in file order. Afterwards all deferred
    constraints are immediate for the rest of that transaction.

    Args:
        data: what `encode` returned for the same plan and chunk; encoded here if not given.
        optimistic: try the fast path first. Pass False after a chunk whose outcome says `collided`: an import
            that overwrites a table collides in nearly every chunk, and each vain try sends the chunk twice.
        in_turn: returns when every earlier chunk is committed; called before rows are settled against them.

    Raises:
        psycopg.Error: whatever is not about a row, unchanged.
    """
    if not len(routed.good):
        return Outcome()
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    data = data or encode(plan, routed)
    if optimistic:
        try:
            with conn.transaction():
                _copy(conn, plan.table, loaded_columns(plan), data)
                if plan.remembers:
                    _remember(conn, plan, routed)
        except psycopg.Error as error:
            if not is_row_error(error.sqlstate):
                raise
        else:
            return Outcome(loaded=data.rows)
    in_turn()
    return _load_exactly(conn, plan, routed, data if plan.lineage else _encode_marked(plan, routed))


def _remember(conn: Connection, plan: LoadPlan, routed: Routed) -> None:
    """Write down the keys of rows that all went in, for a table that cannot say which import a row is from."""
    keys = routed.only_good(routed.table.select(list(plan.key)).append_column("_line", pa.array(routed.lines)))
    conn.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS {keys}; CREATE TEMPORARY TABLE sluice_keys ON COMMIT DROP AS"
            " SELECT {columns}, NULL::bigint AS _line FROM {target} WITH NO DATA"
        ).format(keys=_KEYS, columns=list_columns(plan.key), target=plan.table)
    )
    _copy(conn, _KEYS, (*plan.key, "_line"), encode_table(keys))
    conn.execute(
        sql.SQL(
            "INSERT INTO sluice.touched_keys (import_id, key, line, kind) SELECT {}, {}, s._line, 'loaded' FROM {} s"
        ).format(plan.import_id, key_text(plan, "s"), _KEYS)
    )


def _load_exactly(conn: Connection, plan: LoadPlan, routed: Routed, data: CopyData) -> Outcome:
    unreadable = _fill_scratch(conn, plan, routed, data)
    kinds = settle(conn, plan, _SCRATCH)
    refused = unreadable + list(refusals(conn))
    columns = constraint_columns(conn, plan)
    errors = [explain(refusal, plan, columns) for refusal in refused]
    if plan.keyed:
        errors += [duplicate(row.line, plan, row.first_line) for row in taken(conn)]
    conn.execute(sql.SQL("DROP TABLE {}").format(_SCRATCH))
    return replace(
        _reject(plan, routed, errors),
        loaded=kinds.get("loaded", 0),
        updated=kinds.get("updated", 0),
        unchanged=kinds.get("unchanged", 0),
        skipped=kinds.get("skipped", 0),
        collided=kinds.get("loaded", 0) < len(routed.good),
    )


def _copy(conn: Connection, table: sql.Identifier, columns: Iterable[str], data: CopyData) -> None:
    """COPY; raises if not every row arrived as it was sent."""
    columns = tuple(columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {}, ENCODING 'UTF8')").format(
        table, list_columns(columns), sql.SQL("csv" if data.types is None else "binary")
    )
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for part in data.parts:
                copy.write(part)
        if cursor.rowcount != data.rows:
            raise _Discarded(f"{data.rows - cursor.rowcount} rows were discarded by a trigger")
    if data.types is not None and _types(conn, table, columns) != data.types:
        raise _Misread(f"a column of {table.as_string(conn)} has another type than when the import began")


def _types(conn: Connection, table: sql.Identifier, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns' types now. Asked after COPY, whose lock keeps them as they are, so that no change slips between."""
    rows = conn.execute(
        "SELECT y.typname FROM unnest(%s::text[]) WITH ORDINALITY c (name, place)"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = %s::regclass AND a.attname = c.name"
        " JOIN pg_catalog.pg_type y ON y.oid = a.atttypid AND y.typnamespace = 'pg_catalog'::regnamespace"
        " ORDER BY c.place",
        [list(columns), table.as_string(conn)],
    ).fetchall()
    return tuple(name for (name,) in rows)


def _fill_scratch(conn: Connection, plan: LoadPlan, routed: Routed, data: CopyData) -> list[Refusal]:
    """The chunk in a temporary table with the target's types and none of its constraints.

    Returns:
        The rows that the types refuse: they are not in it.
    """
    conn.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS {scratch}; CREATE TEMPORARY TABLE sluice_scratch ON COMMIT DROP AS"
            " SELECT {columns}, NULL::bigint AS _import_id, NULL::bigint AS _line FROM {target} WITH NO DATA"
        ).format(scratch=_SCRATCH, columns=list_columns(plan.columns), target=plan.table)
    )
    columns = (*plan.columns, "_import_id", "_line")
    try:
        with conn.transaction():
            _copy(conn, _SCRATCH, columns, data)
    except psycopg.Error as error:
        if not is_row_error(error.sqlstate):
            raise
    else:
        return []
    texts = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in plan.columns)
    conn.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS {table};"
            " CREATE TEMPORARY TABLE sluice_texts ({texts}, _import_id bigint, _line bigint) ON COMMIT DROP"
        ).format(table=_TEXTS, texts=texts)
    )
    marked = with_lineage(routed.table, plan.import_id, routed.lines)
    _copy(conn, _TEXTS, columns, encode_table(routed.only_good(marked)))
    step, source, locate = _cast(conn, plan)
    run_exactly(conn, step, source, locate=locate)
    unreadable = list(refusals(conn))
    conn.execute(sql.SQL("DROP TABLE {}").format(_TEXTS))
    return unreadable


def _cast(conn: Connection, plan: LoadPlan) -> tuple[sql.Composable, sql.Identifier, sql.Composable]:
    """`run_exactly`'s arguments to bring text into the scratch table, as the types' own input would."""
    types = _base_types(conn)
    values = [sql.SQL("s.{}::{}").format(sql.Identifier(name), sql.SQL(types[name])) for name in plan.columns]
    move = sql.SQL("INSERT INTO {scratch} ({columns}) SELECT {values} FROM {texts} s WHERE s._line {which};")
    names = {"scratch": _SCRATCH, "texts": _TEXTS}
    every = move.format(
        columns=list_columns((*plan.columns, "_import_id", "_line")),
        values=sql.SQL(", ").join([*values, sql.SQL("s._import_id, s._line")]),
        which=sql.SQL("BETWEEN work.low AND work.high"),
        **names,
    )
    # An error of a type's input names no column: try them one by one, and undo that.
    each = [
        sql.SQL("work.column_name := {};").format(sql.Literal(name))
        + move.format(columns=sql.Identifier(name), values=value, which=sql.SQL("= work.low"), **names)
        for name, value in zip(plan.columns, values, strict=True)
    ]
    locate = sql.SQL(
        "BEGIN {} work.column_name := ''; RAISE EXCEPTION 'undo'; EXCEPTION WHEN OTHERS THEN NULL; END;"
    ).format(sql.SQL("\n").join(each))
    return every, _TEXTS, locate


def _base_types(conn: Connection) -> dict[str, LiteralString]:
    """The type each scratch column is cast to: without length (an explicit cast to varchar(3) would cut the text
    silently, the assignment that follows refuses it), and the base type of a domain for the same reason."""
    rows = conn.execute(
        sql.SQL(
            """
            WITH RECURSIVE base AS (
                SELECT a.attname, a.atttypid AS type FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = {}::regclass AND a.attnum > 0
                UNION ALL
                SELECT b.attname, y.typbasetype FROM base b JOIN pg_catalog.pg_type y ON y.oid = b.type
                WHERE y.typtype = 'd'
            )
            SELECT b.attname, pg_catalog.format_type(b.type, -1) FROM base b
            JOIN pg_catalog.pg_type y ON y.oid = b.type WHERE y.typtype <> 'd'
            """
        ).format(sql.Literal(_SCRATCH.as_string(conn)))
    ).fetchall()
    return dict(rows)


def _reject(plan: LoadPlan, routed: Routed, errors: list[RowError]) -> Outcome:
    errors = sorted(errors, key=lambda error: error.line)
    positions = np.searchsorted(routed.lines, [error.line for error in errors]).tolist()
    values = [
        value_of(plan, error.column, partial(_text, routed.table, position))
        for position, error in zip(positions, errors, strict=True)
    ]
    return Outcome(rejected=[routed.as_reject(position) for position in positions], errors=errors_table(errors, values))


def _text(table: pa.Table, position: int, name: str) -> str | None:
    text: str | None = table.column(name)[position].cast(pa.string()).as_py()
    return text
