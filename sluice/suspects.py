"""Rows that look as if the database would refuse them, found in one scan: only to be quick, never to decide.

A table's CHECK, NOT NULL and foreign key constraints can be asked about all rows at once. Each row found is then
really inserted, alone and for a moment, so that it is the database, its triggers included, that refuses it, in its
own words. Whatever is not found, or not refused, goes the ordinary way.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from sluice.exactly import REFUSED, Connection
from sluice.loadplan import LoadPlan
from sluice.refusals import UNIQUE_VIOLATION
from sluice.statements import insert_columns, key_text, list_columns, same_key, values

SUSPECTS = sql.Identifier("pg_temp", "sluice_suspects")

#: Raised to undo an insert that the database did take.
_UNDO = "SLUND"


def find_suspects(conn: Connection, plan: LoadPlan, source: sql.Identifier) -> bool:
    """Write the lines of suspect rows to `SUSPECTS`; False: there are none, or they cannot be told.

    Only the first row of the source with a key can be one, and only if its key is in no row of the table yet: what
    becomes of any other depends on the rows before it.
    """
    conditions = [*_not_null(conn, plan), *_checks(conn, plan), *_foreign_keys(conn, plan)]
    if not conditions:
        return False
    statement = sql.SQL(
        "DROP TABLE IF EXISTS {}; CREATE TEMPORARY TABLE sluice_suspects ON COMMIT DROP AS SELECT q._line AS line FROM "
    ).format(SUSPECTS) + sql.SQL("{} q WHERE ").format(source)
    # The conditions are the server's own text: they may hold braces, so nothing is formatted into them.
    statement += sql.SQL(" OR ").join(conditions)
    try:
        with conn.transaction():
            found = conn.execute(statement).rowcount
    except psycopg.Error as error:
        # A condition that fails (1 / amount > 2) fails for the row itself too, where it is told which one it is.
        if error.sqlstate is None or not error.sqlstate.startswith("22"):
            raise
        return False
    if found == 0:
        return False
    if plan.keyed:
        _leave_followers_out(conn, plan, source)
    return True


def scout(plan: LoadPlan, source: sql.Identifier) -> sql.Composed:
    """PL/pgSQL that tries each suspect, before any other row, and notes those the database refuses.

    Their lines in the source turn negative, which takes them out of every range of lines.
    """
    return sql.SQL(
        """
        CREATE INDEX ON {source} (_line);
        FOR work.low IN SELECT u.line FROM {suspects} u ORDER BY u.line LOOP
            BEGIN
                INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE
                SELECT {values} FROM {source} s WHERE s._line = work.low;
                RAISE EXCEPTION 'undo' USING ERRCODE = {undo};
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS work.state = RETURNED_SQLSTATE, work.message = MESSAGE_TEXT,
                    work.detail = PG_EXCEPTION_DETAIL, work.column_name = COLUMN_NAME,
                    work.constraint_name = CONSTRAINT_NAME;
                IF work.state ~ work.row_states AND work.state <> {unique_violation} THEN
                    INSERT INTO {refused} VALUES (work.low, work.state, work.message, nullif(work.detail, ''),
                        nullif(work.column_name, ''), nullif(work.constraint_name, ''));
                    UPDATE {source} s SET _line = -s._line WHERE s._line = work.low;
                ELSIF work.state NOT IN ({undo}, {unique_violation}) THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
        """
    ).format(
        source=source,
        suspects=SUSPECTS,
        target=plan.table,
        columns=insert_columns(plan),
        values=values(plan),
        undo=sql.Literal(_UNDO),
        unique_violation=sql.Literal(UNIQUE_VIOLATION),
        refused=REFUSED,
    )


def _leave_followers_out(conn: Connection, plan: LoadPlan, source: sql.Identifier) -> None:
    # Statistics of the key, or the planner compares every row with every other.
    conn.execute(sql.SQL("ANALYZE {} (_line, {})").format(source, list_columns(plan.key)))
    conn.execute(
        sql.SQL(
            """
            DELETE FROM {suspects} u USING (
                SELECT s._line, min(s._line) OVER (PARTITION BY {s_key}) AS first_line, {s_text} AS key_text,
                    EXISTS (SELECT FROM {target} t WHERE {same_key}) AS there
                FROM {source} s
            ) m WHERE m._line = u.line AND (m.first_line < m._line OR m.there OR EXISTS (
                SELECT FROM sluice.touched_keys k WHERE k.import_id = {import_id} AND k.key = m.key_text))
            """
        ).format(
            suspects=SUSPECTS,
            s_key=list_columns(plan.key, "s"),
            s_text=key_text(plan, "s"),
            target=plan.table,
            same_key=same_key(plan),
            source=source,
            import_id=plan.import_id,
        )
    )


def _not_null(conn: Connection, plan: LoadPlan) -> list[sql.Composable]:
    rows = conn.execute(
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull"
        " AND attname = ANY (%s)",
        [plan.table.as_string(conn), [name for name in plan.columns if name not in plan.key]],
    ).fetchall()
    return [sql.SQL("{} IS NULL").format(sql.Identifier("q", name)) for (name,) in rows]


def _checks(conn: Connection, plan: LoadPlan) -> list[sql.Composable]:
    """CHECK constraints that look only at columns the load fills, as the server writes them."""
    rows = conn.execute(
        """
        SELECT pg_catalog.pg_get_expr(c.conbin, c.conrelid) FROM pg_catalog.pg_constraint c
        WHERE c.conrelid = %s::regclass AND c.contype = 'c' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname <> ALL (%s))
        """,
        [plan.table.as_string(conn), list(plan.columns)],
    ).fetchall()
    return [sql.SQL("NOT (") + sql.SQL(text) + sql.SQL(")") for (text,) in rows]


def _foreign_keys(conn: Connection, plan: LoadPlan) -> list[sql.Composable]:
    """References to other tables; a row may refer to one of its own table that is yet to come."""
    rows = conn.execute(
        """
        SELECT n.nspname, r.relname,
            array(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY o (number, place)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = o.number ORDER BY o.place),
            array(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY o (number, place)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = o.number ORDER BY o.place)
        FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.confrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        WHERE c.conrelid = %s::regclass AND c.contype = 'f' AND c.confrelid <> c.conrelid
        """,
        [plan.table.as_string(conn)],
    ).fetchall()
    return [
        sql.SQL("({} AND NOT EXISTS (SELECT FROM {} p WHERE {}))").format(
            sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier("q", name)) for name in mine),
            sql.Identifier(schema, table),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("p", theirs), sql.Identifier("q", name))
                for name, theirs in zip(mine, others, strict=True)
            ),
        )
        for schema, table, mine, others in rows
        if set(mine) <= set(plan.columns)
    ]
