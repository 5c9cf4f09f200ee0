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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from sluice.exactly import FETCH, IN_RANGE, REFUSED, SETTLED, Connection, run_exactly
from sluice.loadplan import LoadPlan
from sluice.model import Mode, OnDuplicate
from sluice.refusals import CHANGED, DISCARDED, is_row_error

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
    step = _keyed(conn, plan, source, last) if plan.keyed else _insert(plan, source, keyed=False)
    run_exactly(conn, step, source, key_constraints=sorted(plan.key_constraints) if plan.keyed else [])
    if plan.keyed:
        rows = conn.execute(sql.SQL("SELECT kind, count(*) FROM {} GROUP BY kind").format(SETTLED)).fetchall()
        return dict(rows)
    total, refused = conn.execute(
        sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})").format(source, REFUSED)
    ).fetchone() or (0, 0)
    return {"loaded": total - refused}


def insert_all(conn: Connection, plan: LoadPlan, source: sql.Identifier) -> bool:
    """Insert every row of `source`, or, if the database refuses any, none: False."""
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} s ORDER BY s._line").format(
        plan.table, list_columns(loaded_columns(plan)), _values(plan), source
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


def list_columns(columns: Sequence[str], alias: str | None = None) -> sql.Composed:
    """`"a", "b"`, or `s."a", s."b"`."""
    names = [sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in columns]
    return sql.SQL(", ").join(names)


def _keyed(conn: Connection, plan: LoadPlan, source: sql.Identifier, last: bool) -> sql.Composable:
    equal = _equal(conn, plan)
    parts = [_classify(plan, source, equal)]
    if plan.mode is Mode.OVERWRITE:
        parts.append(_update(plan, source, equal))
    parts.append(_insert(plan, source, keyed=True))
    touch = _touch(plan, source)
    parts.append(sql.SQL("IF work.indexed THEN {} END IF;").format(touch) if last else touch)
    return sql.SQL("\n").join(parts)


def _classify(plan: LoadPlan, source: sql.Identifier, equal: sql.Composable) -> sql.Composable:
    # A key's text is taken from the table's row where there is one: 1.0 and 1.00 are one key, but two texts.
    mine = sql.SQL("t._import_id IS NOT DISTINCT FROM {}").format(plan.import_id) if plan.lineage else sql.SQL("false")
    exists = sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", plan.key[0]))
    if plan.mode is Mode.OVERWRITE:
        met: sql.Composable = sql.SQL("CASE WHEN {} THEN 'unchanged' ELSE 'updated' END").format(equal)
    else:
        met = sql.Literal("skipped")
    rejects = plan.mode is not Mode.OVERWRITE and plan.on_duplicate is OnDuplicate.REJECT
    return sql.SQL(
        """
        INSERT INTO {settled}
        SELECT s._line,
            CASE WHEN k.key IS NOT NULL OR {exists} AND {mine} THEN 'duplicate'
                 WHEN {exists} AND {rejects} THEN 'taken'
                 WHEN s.sluice_first < s._line THEN 'duplicate'
                 WHEN {exists} THEN {met}
                 ELSE 'loaded' END,
            CASE WHEN k.key IS NOT NULL THEN k.line WHEN {exists} AND {mine} THEN {mine_line} ELSE s.sluice_first END
        FROM (SELECT {columns}, s._line, min(s._line) OVER (PARTITION BY {s_key}) AS sluice_first
              FROM {source} s WHERE s._line {in_range}) s
        LEFT JOIN {target} t ON {same_key}
        LEFT JOIN sluice.touched_keys k ON k.import_id = {import_id}
            AND k.key = CASE WHEN {exists} THEN {t_text} ELSE {s_text} END;
        """
    ).format(
        settled=SETTLED,
        exists=exists,
        mine=mine,
        mine_line=sql.SQL("t._line" if plan.lineage else "NULL"),
        rejects=rejects,
        met=met,
        columns=list_columns(plan.columns, "s"),
        s_key=list_columns(plan.key, "s"),
        source=source,
        in_range=IN_RANGE,
        target=plan.table,
        same_key=_same_key(plan),
        import_id=plan.import_id,
        t_text=key_text(plan, "t"),
        s_text=key_text(plan, "s"),
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
        same_key=_same_key(plan),
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


def _insert(plan: LoadPlan, source: sql.Identifier, *, keyed: bool) -> sql.Composable:
    # COPY writes identity columns that are listed, GENERATED ALWAYS or not; so must this.
    which = sql.SQL("s._line {}").format(IN_RANGE)
    if keyed:
        which = sql.SQL("d.kind = 'loaded' AND d.line {}").format(IN_RANGE)
    joined = sql.SQL("{} s").format(source)
    if keyed:
        joined = sql.SQL("{} d JOIN {} s ON s._line = d.line").format(SETTLED, source)
    counted = sql.SQL("{} d").format(SETTLED) if keyed else joined
    return sql.SQL(
        """
        SELECT count(*) INTO work.expected FROM {counted} WHERE {which};
        INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {values} FROM {joined} WHERE {which} ORDER BY s._line;
        {check}
        """
    ).format(
        counted=counted,
        which=which,
        target=plan.table,
        columns=list_columns(loaded_columns(plan)),
        values=_values(plan),
        joined=joined,
        check=_CHECK_DONE,
    )


def _touch(plan: LoadPlan, source: sql.Identifier) -> sql.Composable:
    kinds = ["skipped", "unchanged"] if plan.lineage else ["skipped", "unchanged", "loaded", "updated"]
    return sql.SQL(
        """
        INSERT INTO sluice.touched_keys (import_id, key, line, kind)
        SELECT {import_id}, CASE WHEN {exists} THEN {t_text} ELSE {s_text} END, d.line, d.kind
        FROM {settled} d JOIN {source} s ON s._line = d.line LEFT JOIN {target} t ON {same_key}
        WHERE d.kind = ANY ({kinds}) AND d.line {in_range};
        """
    ).format(
        import_id=plan.import_id,
        exists=sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", plan.key[0])),
        t_text=key_text(plan, "t"),
        s_text=key_text(plan, "s"),
        settled=SETTLED,
        source=source,
        target=plan.table,
        same_key=_same_key(plan),
        kinds=sql.Literal(kinds),
        in_range=IN_RANGE,
    )


def key_text(plan: LoadPlan, alias: str) -> sql.Composed:
    """The key as `touched_keys` holds it."""
    return sql.SQL("jsonb_build_array({})::text").format(list_columns(plan.key, alias))


def loaded_columns(plan: LoadPlan) -> tuple[str, ...]:
    """The columns a load writes, lineage included."""
    return (*plan.columns, "_import_id", "_line") if plan.lineage else plan.columns


def _values(plan: LoadPlan) -> sql.Composed:
    values = list_columns(plan.columns, "s")
    return sql.SQL("{}, {}, s._line").format(values, plan.import_id) if plan.lineage else values


def _same_key(plan: LoadPlan) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("s", name)) for name in plan.key
    )


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
