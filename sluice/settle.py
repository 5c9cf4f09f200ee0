"""Rows of a source table into the target, exactly: set-based where all is well, row by row only around a bad row.

For a range of lines (`sluice.exactly` finds the ranges that the database takes) it does, set-based:

1. say of every row what it is: `loaded`, `updated`, `unchanged`, `skipped`, `taken` (the key was in the table, mode
   insert with on_duplicate reject) or `duplicate` (the key was met earlier in the file);
2. mode overwrite: keep the rows as they were, then update them;
3. insert the new ones;
4. write down the keys that leave no mark in the table.

Ranges come in file order, and a refused row leaves no trace: so the first good row with a key wins, and there is one
order, the file's, however it was cut into chunks. One thing is kinder than one row at a time would be: within a range
that is taken as a whole, a value of another unique column that an update gives up is free for every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from sluice.exactly import FETCH, IN_RANGE, NOTHING, REFUSED, SETTLED, Connection, run_exactly
from sluice.loadplan import LoadPlan
from sluice.model import Mode, OnDuplicate
from sluice.refusals import CHANGED, DISCARDED, is_row_error
from sluice.statements import insert_columns, key_text, list_columns, same_key, values
from sluice.suspects import find_suspects, scout

#: Types without an equality of their own (or one that compares areas, not points): compared as text.
_NO_EQUALITY = ("json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle")


@dataclass(frozen=True, slots=True)
class Taken:
    """A row rejected because of its key: `first_line` of the file has it, or (None) a row that was in the table."""

    line: int
    first_line: int | None


def settle(conn: Connection, plan: LoadPlan, source: sql.Identifier, *, last: bool = False) -> dict[str, int]:
    """Bring every row of `source` (the plan's columns and `_line`, unique) to where it belongs.

    Args:
        last: no more rows of the import will follow, so a range of everything need not write its keys down.

    Returns:
        How many rows ended as each kind, refused ones left out. `refusals` and `taken` tell the rest, until the
        transaction ends or the next call.
    """
    scouted = find_suspects(conn, plan, source)
    run_exactly(
        conn,
        _keyed(conn, plan, source, last) if plan.keyed else _insert_plain(plan, source),
        source,
        key_constraints=sorted(plan.key_constraints) if plan.keyed else [],
        scout=scout(plan, source) if scouted else NOTHING,
    )
    if plan.keyed:
        rows = conn.execute(sql.SQL("SELECT kind, count(*) FROM {} GROUP BY kind").format(SETTLED)).fetchall()
        return dict(rows)
    total, refused = conn.execute(
        sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})").format(source, REFUSED)
    ).fetchone() or (0, 0)
    return {"loaded": total - refused}


def insert_all(conn: Connection, plan: LoadPlan, source: sql.Identifier) -> bool:
    """Insert every row of `source`, or, if the database refuses any, none: False."""
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} s ORDER BY {}").format(
        plan.table, insert_columns(plan), values(plan), source, list_columns(plan.order or ("_line",), "s")
    )
    expected = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(source)).fetchone()
    try:
        with conn.transaction():
            done = conn.execute(statement).rowcount
            if (done,) != expected:
                raise psycopg.Rollback
    except psycopg.Error as error:
        if not is_row_error(error.sqlstate):
            raise
        return False
    return bool(expected == (done,))


def taken(conn: Connection) -> Iterator[Taken]:
    """The rows the last `settle` rejected because of their key, by line."""
    query = sql.SQL(
        "SELECT line, CASE kind WHEN 'duplicate' THEN first_line END FROM {}"
        " WHERE kind IN ('duplicate', 'taken') ORDER BY line"
    ).format(SETTLED)
    with conn.cursor(name="sluice_taken") as cursor:
        cursor.itersize = FETCH
        cursor.execute(query)
        for line, first_line in cursor:
            yield Taken(line, first_line)


def _keyed(conn: Connection, plan: LoadPlan, source: sql.Identifier, last: bool) -> sql.Composable:
    equal = _equal(conn, plan)
    parts = [_classify(plan, source, equal)]
    if plan.mode is Mode.OVERWRITE:
        parts.append(_update(plan, source, equal))
    parts.append(_insert_keyed(plan, source))
    touch = _touch(plan)
    parts.append(sql.SQL("IF work.indexed THEN {} END IF;").format(touch) if last else touch)
    return sql.SQL("\n").join(parts)


def _classify(plan: LoadPlan, source: sql.Identifier, equal: sql.Composable) -> sql.Composable:
    # A key's text is taken from the table's row where there is one: 1.0 and 1.00 are one key, but two texts.
    overwrite = plan.mode is Mode.OVERWRITE
    return sql.SQL(
        """
        INSERT INTO {settled}
        SELECT m._line,
            CASE WHEN k.line IS NOT NULL OR m.mine THEN 'duplicate'
                 WHEN m.there AND {rejects} THEN 'taken'
                 WHEN m.first_line < m._line THEN 'duplicate'
                 WHEN NOT m.there THEN 'loaded'
                 WHEN m.equal THEN {equal_is}
                 ELSE 'updated' END,
            CASE WHEN k.line IS NOT NULL THEN k.line WHEN m.mine THEN m.mine_line ELSE m.first_line END,
            m.key
        FROM (
            SELECT s._line, s.first_line, {exists} AS there, {exists} AND {mine} AS mine, {mine_line} AS mine_line,
                {equal} AS equal, CASE WHEN {exists} THEN {t_text} ELSE {s_text} END AS key
            FROM (SELECT {columns}, s._line, min(s._line) OVER (PARTITION BY {s_key}) AS first_line
                  FROM {source} s WHERE s._line {in_range}) s
            LEFT JOIN {target} t ON {same_key}
            OFFSET 0 -- or the key's text is put together twice
        ) m LEFT JOIN LATERAL (
            SELECT k.line FROM sluice.touched_keys k WHERE k.import_id = {import_id} AND k.key = m.key
            OFFSET 0 -- or a range of one line may read all of the import's keys
        ) k ON true;
        """
    ).format(
        settled=SETTLED,
        rejects=not overwrite and plan.on_duplicate is OnDuplicate.REJECT,
        equal_is="unchanged" if overwrite else "skipped",
        exists=sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", plan.key[0])),
        mine=sql.SQL("t._import_id IS NOT DISTINCT FROM {}").format(plan.import_id) if plan.lineage else False,
        mine_line=sql.SQL("t._line" if plan.lineage else "NULL::bigint"),
        equal=equal,
        t_text=key_text(plan, "t"),
        s_text=key_text(plan, "s"),
        # Sorted for the window: only what is looked at.
        columns=list_columns(plan.columns if overwrite else plan.key, "s"),
        s_key=list_columns(plan.key, "s"),
        source=source,
        in_range=IN_RANGE,
        target=plan.table,
        same_key=same_key(plan),
        import_id=plan.import_id,
    )


def _update(plan: LoadPlan, source: sql.Identifier, equal: sql.Composable) -> sql.Composable:
    # The rows are locked and compared again, so that each image is of the very row that is overwritten.
    assigned = [name for name in plan.columns if name not in plan.key]
    sets: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("s", name)) for name in assigned
    ]
    if plan.lineage:
        sets += [sql.SQL("_import_id = {}").format(plan.import_id), sql.SQL("_line = s._line")]
    return sql.SQL(
        """
        SELECT count(*) INTO work.expected FROM {settled} d WHERE d.kind = 'updated' AND d.line {in_range};
        IF work.expected > 0 THEN
            INSERT INTO sluice.before_images (import_id, line, op, key, image)
            SELECT {import_id}, s._line, 'update', jsonb_build_array({t_key}), to_jsonb(t)
            FROM {settled} d JOIN {source} s ON s._line = d.line JOIN {target} t ON {same_key}
            WHERE d.kind = 'updated' AND d.line {in_range} AND NOT ({equal})
            FOR UPDATE OF t;
            GET DIAGNOSTICS work.done = ROW_COUNT;
            IF work.done <> work.expected THEN
                RAISE EXCEPTION 'another transaction keeps changing the rows to overwrite' USING ERRCODE = {changed};
            END IF;
            UPDATE {target} t SET {sets} FROM {settled} d JOIN {source} s ON s._line = d.line
            WHERE d.kind = 'updated' AND d.line {in_range} AND {same_key};
            {check}
        END IF;
        """
    ).format(
        settled=SETTLED,
        in_range=IN_RANGE,
        import_id=plan.import_id,
        t_key=list_columns(plan.key, "t"),
        source=source,
        target=plan.table,
        same_key=same_key(plan),
        equal=equal,
        changed=sql.Literal(CHANGED),
        sets=sql.SQL(", ").join(sets),
        check=_CHECK_DONE,
    )


_CHECK_DONE = sql.SQL(
    """
    GET DIAGNOSTICS work.done = ROW_COUNT;
    IF work.done <> work.expected THEN
        RAISE EXCEPTION 'a trigger discarded the row without an error' USING ERRCODE = {discarded};
    END IF;
    """
).format(discarded=sql.Literal(DISCARDED))


def _insert_keyed(plan: LoadPlan, source: sql.Identifier) -> sql.Composable:
    # COPY writes identity columns that are listed, GENERATED ALWAYS or not; so must every INSERT here.
    return sql.SQL(
        """
        SELECT count(*) INTO work.expected FROM {settled} d WHERE d.kind = 'loaded' AND d.line {in_range};
        INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {values} FROM {settled} d JOIN {source} s ON s._line = d.line
        WHERE d.kind = 'loaded' AND d.line {in_range} ORDER BY s._line;
        {check}
        """
    ).format(
        settled=SETTLED,
        in_range=IN_RANGE,
        target=plan.table,
        columns=insert_columns(plan),
        values=values(plan),
        source=source,
        check=_CHECK_DONE,
    )


def _insert_plain(plan: LoadPlan, source: sql.Identifier) -> sql.Composable:
    return sql.SQL(
        """
        SELECT count(*) INTO work.expected FROM {source} s WHERE s._line {in_range};
        INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {values} FROM {source} s WHERE s._line {in_range} ORDER BY s._line;
        {check}
        """
    ).format(
        source=source,
        in_range=IN_RANGE,
        target=plan.table,
        columns=insert_columns(plan),
        values=values(plan),
        check=_CHECK_DONE,
    )


def _touch(plan: LoadPlan) -> sql.Composable:
    kinds = ["skipped", "unchanged"] if plan.lineage else ["skipped", "unchanged", "loaded", "updated"]
    return sql.SQL(
        """
        INSERT INTO sluice.touched_keys (import_id, key, line, kind)
        SELECT {import_id}, d.key, d.line, d.kind FROM {settled} d
        WHERE d.kind = ANY ({kinds}::text[]) AND d.line {in_range};
        """
    ).format(import_id=plan.import_id, settled=SETTLED, kinds=sql.Literal(kinds), in_range=IN_RANGE)


def _equal(conn: Connection, plan: LoadPlan) -> sql.Composable:
    if plan.mode is not Mode.OVERWRITE:
        return sql.SQL("true")
    query = "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid"
    query += " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND (y.typname = ANY (%s)"
    query += " OR y.typbasetype <> 0 AND pg_catalog.format_type(y.typbasetype, NULL) = ANY (%s))"
    names = list(_NO_EQUALITY)
    rows = conn.execute(query, [plan.table.as_string(conn), names, names]).fetchall()
    as_text = {name for (name,) in rows}
    compared = [name for name in plan.columns if name not in plan.key]
    if not compared:
        return sql.SQL("true")
    return sql.SQL(" AND ").join(
        sql.SQL("s.{0}{1} IS NOT DISTINCT FROM t.{0}{1}").format(
            sql.Identifier(name), sql.SQL("::text" if name in as_text else "")
        )
        for name in compared
    )
