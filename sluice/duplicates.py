"""Uniqueness rules that are not the key, judged over the whole file once its last chunk is in.

As Great Expectations sees it every member of a group of equal values breaks the rule, the first one too. So rows
that are in the table by now may have to leave it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from psycopg import sql

from sluice.codes import category_of
from sluice.errors import TargetError
from sluice.exactly import Connection
from sluice.loadplan import LoadPlan
from sluice.model import Counts, Severity
from sluice.publish import Adjustment
from sluice.rejects import MAX_TEXT, save_rejects
from sluice.route import ERRORS_SCHEMA, RejectedRow

if TYPE_CHECKING:
    from sluice.rules import UniqueRule

_FLAGGED = sql.Identifier("pg_temp", "sluice_flagged")
_LINES = sql.Identifier("pg_temp", "sluice_lines")

#: Rejected rows held in memory at a time.
_BATCH = 5000


def flag_duplicates(
    conn: Connection, plan: LoadPlan, rules: Sequence[UniqueRule], read_raw: Callable[[int, int], bytes]
) -> Adjustment:
    """Find every record whose value under a uniqueness rule occurs more than once in the file.

    Those of critical rules become rejects: a loaded row is deleted, an updated one put back as it was, a record
    that was rejected already gains an error. Those of other rules are counted as warnings. Must run inside a
    transaction of the caller's, after the last chunk and before `publish`. Empties `unique_values`.

    Args:
        plan: how the chunks were loaded; the staging table's for an atomic import.
        rules: in the order of their numbers in `unique_values`.
        read_raw: (byte offset, length) -> the record's bytes as they stand in the file; called with ascending
            offsets.

    Raises:
        TargetError: the table has neither a key nor `_line`, so a loaded row cannot be told from others.
        psycopg.Error: a row cannot be taken out again, because rows of other tables refer to it.
    """
    _find(conn, plan.import_id)
    counted = dict(conn.execute(sql.SQL("SELECT rule, count(*) FROM {} GROUP BY rule").format(_FLAGGED)).fetchall())
    conn.execute("DELETE FROM sluice.unique_values WHERE import_id = %s", [plan.import_id])
    critical = [i for i, rule in enumerate(rules) if rule.severity is Severity.CRITICAL]
    moved = _take_out(conn, plan, critical) if any(i in counted for i in critical) else {}
    if moved:
        _save_errors(conn, plan.import_id, {i: rules[i] for i in critical})
        _save_rows(conn, plan.import_id, read_raw)
    conn.execute(sql.SQL("DROP TABLE {}").format(_FLAGGED))
    moved.pop("rejected", None)
    return Adjustment(
        Counts(rejected=sum(moved.values()), **{kind: -number for kind, number in moved.items()}),
        errors=_by_code(rules, counted, critical),
        warnings=_by_code(rules, counted, [i for i in range(len(rules)) if i not in critical]),
        by_rule=counted,
    )


def _by_code(rules: Sequence[UniqueRule], counted: dict[int, int], which: Sequence[int]) -> dict[str, int]:
    codes: dict[str, int] = {}
    for i in which:
        if i in counted:
            codes[rules[i].code] = codes.get(rules[i].code, 0) + counted[i]
    return codes


def _find(conn: Connection, import_id: int) -> None:
    conn.execute(
        sql.SQL(
            """
            DROP TABLE IF EXISTS {flagged};
            CREATE TEMPORARY TABLE sluice_flagged ON COMMIT DROP AS
            SELECT v.rule, v.line, v.byte_offset, v.byte_length, v.value FROM sluice.unique_values v
            JOIN (SELECT rule, value FROM sluice.unique_values WHERE import_id = {import_id}
                  GROUP BY rule, value HAVING count(*) > 1) d USING (rule, value)
            WHERE v.import_id = {import_id}
            """
        ).format(flagged=_FLAGGED, import_id=import_id)
    )


def _take_out(conn: Connection, plan: LoadPlan, critical: Sequence[int]) -> dict[str, int]:
    """Take the records of these rules out of the table; how many had ended as what."""
    conn.execute(
        sql.SQL(
            """
            DROP TABLE IF EXISTS {lines};
            CREATE TEMPORARY TABLE sluice_lines ON COMMIT DROP AS
            SELECT f.line, f.byte_offset, f.byte_length, k.key::jsonb AS key,
                CASE WHEN EXISTS (SELECT FROM sluice.rejected_rows r
                                  WHERE r.import_id = {import_id} AND r.line = f.line) THEN 'rejected'
                     WHEN EXISTS (SELECT FROM sluice.before_images b WHERE b.import_id = {import_id}
                                  AND b.line = f.line AND b.op = 'update') THEN 'updated'
                     ELSE coalesce(k.kind, 'loaded') END AS kind
            FROM (SELECT DISTINCT line, byte_offset, byte_length FROM {flagged} WHERE rule = ANY ({critical}::int[])) f
            LEFT JOIN sluice.touched_keys k ON k.import_id = {import_id} AND k.line = f.line
            """
        ).format(lines=_LINES, flagged=_FLAGGED, import_id=plan.import_id, critical=sql.Literal(list(critical)))
    )
    conn.execute(_delete(plan))
    if plan.keyed:
        conn.execute(_put_back(conn, plan))
    for table in ("before_images", "touched_keys"):
        conn.execute(
            sql.SQL("DELETE FROM sluice.{} m USING {} l WHERE m.import_id = {} AND m.line = l.line").format(
                sql.Identifier(table), _LINES, plan.import_id
            )
        )
    return dict(conn.execute(sql.SQL("SELECT kind, count(*) FROM {} GROUP BY kind").format(_LINES)).fetchall())


def _delete(plan: LoadPlan) -> sql.Composed:
    if not (plan.lineage or plan.keyed):
        raise TargetError(
            f"Rows of {plan.into} break a uniqueness rule, but without a key and without lineage nobody can tell"
            " which rows of the table they are.",
            hint="Set `lineage: true`, give the dataset a key, or load with `--commit atomic`.",
        )
    if plan.lineage:
        return sql.SQL(
            "DELETE FROM {} t USING {} l WHERE t._import_id = {} AND t._line = l.line AND l.kind = 'loaded'"
        ).format(plan.table, _LINES, plan.import_id)
    return sql.SQL(
        "DELETE FROM {target} t USING {lines} l, jsonb_populate_record(NULL::{target}, jsonb_build_object({key})) r"
        " WHERE l.kind = 'loaded' AND {same}"
    ).format(
        target=plan.table,
        lines=_LINES,
        key=sql.SQL(", ").join(
            sql.SQL("{}, l.key -> {}").format(sql.Literal(name), i) for i, name in enumerate(plan.key)
        ),
        same=_same(plan),
    )


def _put_back(conn: Connection, plan: LoadPlan) -> sql.Composed:
    """Overwritten rows as they were before, every column of them that can be written."""
    names = conn.execute(
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' AND attidentity <> 'a'",
        [plan.table.as_string(conn)],
    ).fetchall()
    return sql.SQL(
        "UPDATE {target} t SET {sets} FROM {lines} l"
        " JOIN sluice.before_images b ON b.import_id = {import_id} AND b.line = l.line,"
        " jsonb_populate_record(NULL::{target}, b.image) r WHERE l.kind = 'updated' AND {same}"
    ).format(
        target=plan.table,
        sets=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("r", name)) for (name,) in names
        ),
        lines=_LINES,
        import_id=plan.import_id,
        same=_same(plan),
    )


def _same(plan: LoadPlan) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("r", name)) for name in plan.key
    )


def _save_errors(conn: Connection, import_id: int, rules: dict[int, UniqueRule]) -> None:
    described = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                map(sql.Literal, (number, rule.column, rule.code, str(category_of(rule.code)), rule.message))
            )
        )
        for number, rule in rules.items()
    ]
    conn.execute(
        sql.SQL(
            """
            INSERT INTO sluice.row_errors (import_id, line, "column", code, category, message, value)
            SELECT {import_id}, f.line, d.col::text, d.code, d.category, left(d.message, {most}), left(f.value, {most})
            FROM {flagged} f JOIN (VALUES {described}) d (rule, col, code, category, message) ON d.rule = f.rule
            ORDER BY f.line, f.rule
            """
        ).format(import_id=import_id, flagged=_FLAGGED, described=sql.SQL(", ").join(described), most=MAX_TEXT)
    )


def _save_rows(conn: Connection, import_id: int, read_raw: Callable[[int, int], bytes]) -> None:
    """Keep the records that were not rejected before."""
    for batch in _batches(conn):
        rejected = [RejectedRow(line, offset, read_raw(offset, length)) for line, offset, length in batch]
        save_rejects(conn, import_id, rejected, ERRORS_SCHEMA.empty_table())


def _batches(conn: Connection) -> Iterator[list[tuple[int, int, int]]]:
    query = sql.SQL("SELECT line, byte_offset, byte_length FROM {} WHERE kind <> 'rejected' ORDER BY line")
    with conn.cursor(name="sluice_lines") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(query.format(_LINES))
        while batch := list(islice(cursor, _BATCH)):
            yield batch
