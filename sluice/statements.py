"""Pieces of SQL about a plan's columns. The aliases are the same everywhere: s is the source, t the target."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from sluice.loadplan import LoadPlan


def list_columns(columns: Sequence[str], alias: str | None = None) -> sql.Composed:
    """`"a", "b"`, or `s."a", s."b"`."""
    names = [sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in columns]
    return sql.SQL(", ").join(names)


def insert_columns(plan: LoadPlan) -> sql.Composed:
    """The columns an INSERT fills; `values` are theirs."""
    return list_columns(loaded_columns(plan))


def loaded_columns(plan: LoadPlan) -> tuple[str, ...]:
    """The columns a load writes, lineage included."""
    return (*plan.columns, "_import_id", "_line") if plan.lineage else plan.columns


def values(plan: LoadPlan) -> sql.Composed:
    """What an INSERT takes from the source's row."""
    filled = list_columns(plan.columns, "s")
    return sql.SQL("{}, {}, s._line").format(filled, plan.import_id) if plan.lineage else filled


def key_text(plan: LoadPlan, alias: str) -> sql.Composed:
    """The key as `touched_keys` holds it."""
    return sql.SQL("jsonb_build_array({})::text").format(list_columns(plan.key, alias))


def same_key(plan: LoadPlan) -> sql.Composed:
    """Whether the two rows have the same key."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("s", name)) for name in plan.key
    )
