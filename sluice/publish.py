"""Atomic imports: chunks are copied into a staging table, which one transaction brings into the target at the end.

What becomes of a row that has a good key neighbour, or that the target refuses, is decided at `publish`, row by row
in the file's order, by the very steps that a progressive import takes chunk by chunk: so both end alike. Only what
is certain is refused at once: values of the wrong type, and, where nothing can come before them, the target's NOT
NULL and CHECK constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice

import psycopg
from psycopg import sql

from sluice.exactly import Connection, refusals
from sluice.loadplan import LoadPlan
from sluice.model import Counts, Mode, TableName
from sluice.names import SCHEMA
from sluice.refusals import RowError, constraint_columns, duplicate, errors_table, explain, value_of
from sluice.rejects import save_rejects
from sluice.route import RejectedRow
from sluice.settle import insert_all, settle, taken
from sluice.statements import list_columns

#: Rejected rows held in memory at a time.
_BATCH = 5000

#: Why TRUNCATE may be refused where DELETE is not: other tables refer to it (feature_not_supported), no right to
#: (insufficient_privilege), it is a view (wrong_object_type), or it is in use by this session (object_in_use).
_NO_TRUNCATE = frozenset({"0A000", "42501", "42809", "55006"})


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What an import's counts must be corrected by: `counts` add up to nothing, and may be negative.

    `errors` and `warnings` are how many were found, by code; `by_rule` are those of uniqueness rules, by position.
    """

    counts: Counts = field(default_factory=Counts)
    errors: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    by_rule: dict[int, int] = field(default_factory=dict)


def staging_plan(plan: LoadPlan) -> LoadPlan:
    """How chunks go into the staging table of an atomic import; `plan` is how its rows go into the target."""
    return LoadPlan(
        plan.import_id, _staging(plan.import_id), plan.columns, mode=Mode.APPEND, lineage=True, wire=plan.wire
    )


def create_staging(conn: Connection, plan: LoadPlan) -> LoadPlan:
    """Create the staging table, empty, and return the plan to load it by. `plan` is the target's."""
    staging = staging_plan(plan)
    if _constraints_hold(conn, plan):
        _create_alike(conn, plan, staging)
    else:
        conn.execute(
            sql.SQL(
                "CREATE TABLE {} AS SELECT {}, NULL::bigint AS _import_id, NULL::bigint AS _line FROM {} WITH NO DATA"
            ).format(staging.table, list_columns(plan.columns), plan.table)
        )
    return staging


def _constraints_hold(conn: Connection, plan: LoadPlan) -> bool:
    """Whether a row that breaks a constraint is bad whatever else there is: not where its key may have it skipped
    before the constraints are looked at, nor where a trigger may mend it."""
    if plan.keyed and plan.mode is Mode.INSERT:
        return False
    before_row = 1 | 2  # TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE, catalog/pg_trigger.h
    triggers = conn.execute(
        "SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgtype & %s = %s",
        [plan.table.as_string(conn), before_row, before_row],
    )
    return triggers.rowcount == 0


def _create_alike(conn: Connection, plan: LoadPlan, staging: LoadPlan) -> None:
    conn.execute(
        sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING CONSTRAINTS INCLUDING GENERATED)").format(staging.table, plan.table)
    )
    # Columns the import does not fill would stay empty here, and a constraint that looks at one cannot be judged yet:
    # CASCADE drops it too. Generated columns stay as long as all they are made of does.
    unfilled = conn.execute(
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND attgenerated = '' AND attname <> ALL (%s)",
        [staging.table.as_string(conn), [*plan.columns, "_import_id", "_line"]],
    ).fetchall()
    changes = [sql.SQL("DROP COLUMN {} CASCADE").format(sql.Identifier(name)) for (name,) in unfilled]
    changes += [
        sql.SQL("ADD COLUMN IF NOT EXISTS {} bigint").format(sql.Identifier(n)) for n in ("_import_id", "_line")
    ]
    conn.execute(sql.SQL("ALTER TABLE {} {}").format(staging.table, sql.SQL(", ").join(changes)))


def drop_staging(conn: Connection, import_id: int) -> None:
    """Drop an import's staging table, if it has one."""
    staging = _staging(import_id)
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(staging.schema, staging.name)))


def publish(conn: Connection, plan: LoadPlan, reject_row: Callable[[int], RejectedRow]) -> Adjustment:
    """Bring the staged rows into the target by the plan's mode, save the rows it refuses, drop the staging table.

    Must run inside a transaction of the caller's; no chunk may be staged at the same time.

    Args:
        plan: the target's.
        reject_row: the physical line a staged row starts on -> its rejected row; called with ascending lines.

    Returns:
        The correction of counts that say `loaded` of every staged row.

    Raises:
        psycopg.Error: whatever is not about a row; also a row of a replaced table that others refer to.
    """
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    if plan.mode is Mode.REPLACE:
        _empty(conn, plan)
        plan = replace(plan, mode=Mode.INSERT if plan.key else Mode.APPEND)
    kinds, errors = _bring(conn, plan)
    codes = _save(conn, plan, errors, reject_row)
    rejected = sum(codes.values())
    drop_staging(conn, plan.import_id)
    others = {kind: kinds.get(kind, 0) for kind in ("updated", "unchanged", "skipped")}
    return Adjustment(Counts(loaded=-rejected - sum(others.values()), rejected=rejected, **others), codes)


def _bring(conn: Connection, plan: LoadPlan) -> tuple[dict[str, int], Iterable[RowError]]:
    staged = staging_plan(plan).table
    if plan.keyed:
        if plan.mode is Mode.INSERT and insert_all(conn, plan, staged):
            return {}, ()
        # Without statistics the planner takes millions of staged rows for a handful.
        conn.execute(sql.SQL("ANALYZE {}").format(staged))
    kinds = settle(conn, plan, staged, last=True)
    columns = constraint_columns(conn, plan)
    found: list[Iterator[RowError]] = [(explain(refusal, plan, columns) for refusal in refusals(conn))]
    if plan.keyed:
        found.append(duplicate(row.line, plan, row.first_line) for row in taken(conn))
    return kinds, merge(*found, key=lambda error: error.line)


def _save(
    conn: Connection, plan: LoadPlan, errors: Iterable[RowError], reject_row: Callable[[int], RejectedRow]
) -> dict[str, int]:
    """Save the rejected rows, in batches; how many by code."""
    staged = staging_plan(plan).table
    codes: dict[str, int] = {}
    remaining = iter(errors)
    while batch := list(islice(remaining, _BATCH)):
        if not codes:
            conn.execute(sql.SQL("CREATE INDEX ON {} (_line)").format(staged))
        values = _values(conn, plan, batch)
        save_rejects(conn, plan.import_id, [reject_row(error.line) for error in batch], errors_table(batch, values))
        for error in batch:
            codes[error.code] = codes.get(error.code, 0) + 1
    return codes


def _values(conn: Connection, plan: LoadPlan, errors: list[RowError]) -> list[str | None]:
    """The offending values, as text. The lines of rows refused while they were scouted are negative by now."""
    lines = [error.line for error in errors]
    texts = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in plan.columns]
    query = sql.SQL("SELECT abs(_line), {} FROM {} WHERE _line = ANY ({}::bigint[])").format(
        sql.SQL(", ").join(texts), staging_plan(plan).table, sql.Literal(lines + [-line for line in lines])
    )
    rows = {line: dict(zip(plan.columns, values, strict=True)) for line, *values in conn.execute(query)}
    return [value_of(plan, error.column, rows[error.line].get) for error in errors]


def _empty(conn: Connection, plan: LoadPlan) -> None:
    """Keep every row of the target as a before-image, and remove it."""
    # Without the lock a row that is added between the two statements would go without an image.
    conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(plan.table))
    key = list_columns(plan.key, "t") if plan.key else sql.SQL("")
    conn.execute(
        sql.SQL(
            "INSERT INTO sluice.before_images (import_id, line, op, key, image)"
            " SELECT {}, NULL, 'delete', jsonb_build_array({}), to_jsonb(t) FROM {} t"
        ).format(plan.import_id, key, plan.table)
    )
    try:
        with conn.transaction():
            conn.execute(sql.SQL("TRUNCATE {}").format(plan.table))
    except psycopg.Error as error:
        if error.sqlstate not in _NO_TRUNCATE:
            raise
        conn.execute(sql.SQL("DELETE FROM {}").format(plan.table))


def _staging(import_id: int) -> TableName:
    return TableName(SCHEMA, f"staging_{import_id}")
