"""Statements over many rows, leaving out exactly the rows the database refuses.

One DO block does it, so that a bad row costs the server some 0.1 ms and the client no round trip. The first range of
lines is everything. When the database refuses it, the range is rolled back (a subtransaction) and halved; when it
takes it, the next one is twice as long. A refused range of one line is a refused row. Ranges are done in file order.
The cost is linear: a bad row among n good ones repeats the work of O(n) rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from sluice.refusals import CHANGED, DISCARDED, ROW_STATES, UNIQUE_VIOLATION, Refusal

Connection = psycopg.Connection[Any]

#: The longest range after the first refusal, so that the rows a refused range rolls back stay few.
_LONGEST_RANGE = 65536

#: How often a range may be disturbed by other writers before it is given up with the server's own error.
_RACES = 10

#: Memory for a sort or hash table of the server: a chunk's rows fit in it, at the default (4 MB) none do.
_MEMORY = "64MB"

#: Rows fetched at a time from a list of bad rows that may be as long as the file.
FETCH = 5000

#: What became of each row (`sluice.settle`), and what the database said to those it refused.
SETTLED = sql.Identifier("pg_temp", "sluice_settled")
REFUSED = sql.Identifier("pg_temp", "sluice_refused")

NOTHING = sql.SQL("")

#: For a step: which lines it is about.
IN_RANGE = sql.SQL("BETWEEN work.low AND work.high")


_TABLES = sql.SQL(
    """
    DROP TABLE IF EXISTS {settled}, {refused};
    CREATE TEMPORARY TABLE sluice_settled (line bigint, kind text, first_line bigint, key text) ON COMMIT DROP;
    CREATE TEMPORARY TABLE sluice_refused (line bigint, state text, message text, detail text, column_name text,
        constraint_name text) ON COMMIT DROP
    """
).format(settled=SETTLED, refused=REFUSED)

#: `settle` finds the bad rows. `<<work>>` and the prefixes s, t, d, k qualify every name, so that no column of the
#: table can be taken for a variable. Hash and merge joins are off once ranges are short: the plan for a range of one
#: line must not read the target from end to end. The conditions are `refusals.is_row_error`'s.
_DRIVER = sql.SQL(
    """
    <<work>>
    DECLARE
        low bigint; high bigint; last bigint; size bigint; expected bigint; done bigint;
        races int := 0; indexed boolean := false; refused boolean;
        state text; message text; detail text; column_name text; constraint_name text; schema_name text;
        row_states text := {row_states}; memory text := current_setting('work_mem');
    BEGIN
        PERFORM set_config('work_mem', {memory}, true);
        {scout}
        SELECT min(s._line), max(s._line) INTO work.low, work.last FROM {source} s WHERE s._line > 0;
        work.size := work.last - work.low + 1;
        WHILE work.low <= work.last LOOP
            work.high := least(work.low + work.size - 1, work.last);
            work.refused := false;
            BEGIN
                {step}
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS work.state = RETURNED_SQLSTATE, work.message = MESSAGE_TEXT,
                    work.detail = PG_EXCEPTION_DETAIL, work.column_name = COLUMN_NAME,
                    work.constraint_name = CONSTRAINT_NAME, work.schema_name = SCHEMA_NAME;
                IF work.state = {changed} AND work.races < {most_races} THEN
                    work.races := work.races + 1;
                    CONTINUE;
                END IF;
                IF work.state !~ work.row_states
                    OR work.schema_name = 'sluice' AND work.constraint_name ~ '^(touched_keys|before_images)' THEN
                    RAISE;
                END IF;
                IF work.low = work.high AND work.constraint_name = ANY ({key_constraints})
                    AND work.state = {unique_violation} AND work.races < {most_races} THEN
                    work.races := work.races + 1;
                    CONTINUE;
                END IF;
                work.refused := true;
            END;
            work.races := 0;
            IF NOT work.refused THEN
                work.low := work.high + 1;
                work.size := least(work.size * 2, {longest});
                CONTINUE;
            END IF;
            IF NOT work.indexed THEN
                work.indexed := true;
                {index}
                CREATE INDEX ON {settled} (line);
                {joins_off}
            END IF;
            IF work.low < work.high THEN
                work.size := greatest(1, least((work.high - work.low + 1) / 2, {longest}));
                CONTINUE;
            END IF;
            {locate}
            INSERT INTO {refused} VALUES (work.low, work.state, work.message, nullif(work.detail, ''),
                nullif(work.column_name, ''), nullif(work.constraint_name, ''));
            SELECT min(s._line) INTO work.low FROM {source} s WHERE s._line > work.low;
        END LOOP;
        {joins_on}
        PERFORM set_config('work_mem', work.memory, true);
    END
    """
)

_JOINS = sql.SQL(
    "PERFORM set_config('enable_hashjoin', {0}, true), set_config('enable_mergejoin', {0}, true),"
    " set_config('enable_seqscan', {0}, true);"
)


def run_exactly(
    conn: Connection,
    step: sql.Composable,
    source: sql.Identifier,
    *,
    key_constraints: Sequence[str] = (),
    locate: sql.Composable = NOTHING,
    scout: sql.Composable = NOTHING,
) -> None:
    """Run PL/pgSQL statements over all lines of `source`, leaving out exactly the rows the database refuses.

    Args:
        step: statements about the lines `work.low` to `work.high`; `work.indexed` once that is not everything.
        locate: statements that may set `work.column_name` for the refused row at `work.low`.
        scout: statements to run first: they may refuse rows, whose lines they turn negative, and must create an
            index on the source's lines.
    """
    conn.execute(_TABLES)
    body = _DRIVER.format(
        source=source,
        step=step,
        locate=locate,
        scout=scout,
        index=NOTHING if scout is not NOTHING else sql.SQL("CREATE INDEX ON {} (_line);").format(source),
        memory=sql.Literal(_MEMORY),
        settled=SETTLED,
        refused=REFUSED,
        changed=sql.Literal(CHANGED),
        row_states=sql.Literal(f"^({'|'.join((*ROW_STATES, DISCARDED))})"),
        key_constraints=sql.SQL("{}::text[]").format(sql.Literal(list(key_constraints))),
        unique_violation=sql.Literal(UNIQUE_VIOLATION),
        most_races=sql.Literal(_RACES),
        longest=sql.Literal(_LONGEST_RANGE),
        joins_off=_JOINS.format(sql.Literal("off")),
        joins_on=_JOINS.format(sql.Literal("on")),
    )
    # As a literal, not between dollar quotes, which a column's name could close.
    conn.execute(sql.SQL("DO {}").format(sql.Literal(body.as_string(conn))))


def refusals(conn: Connection) -> Iterator[Refusal]:
    """The rows the database refused in the last `settle` or `run_exactly` of this transaction, by line."""
    with conn.cursor(name="sluice_refusals") as cursor:
        cursor.itersize = FETCH
        cursor.execute(sql.SQL("SELECT * FROM {} ORDER BY line").format(REFUSED))
        for line, state, message, detail, column, constraint in cursor:
            yield Refusal(line, state, message, detail, column, constraint)
