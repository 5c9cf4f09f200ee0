"""What PostgreSQL's catalog says about a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from sluice.database import translated
from sluice.errors import DatabaseError
from sluice.model import TableName

Connection = psycopg.Connection[Any]

_KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column as PostgreSQL has it. `type` is for people, `base` the type's internal name with domains resolved
    (enumerations are `enum`), `modifier` its type modifier (-1: none). A default may be the domain's. `plain` says that
    the type comes with PostgreSQL: it is no domain, and of no extension or user."""

    name: str
    type: str
    base: str
    modifier: int
    not_null: bool
    has_default: bool
    generated: bool
    always_identity: bool
    plain: bool

    @property
    def scale(self) -> int | None:
        """A numeric's scale, None for one that holds any; it may be negative (PostgreSQL 15)."""
        return None if self.modifier < 0 else (((self.modifier - 4) & 0x7FF) ^ 0x400) - 0x400


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index that holds for every row at once: valid, immediate, neither partial nor on expressions.
    `names` are its own and those of its partitions, by which an error may name it."""

    columns: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class TargetTable:
    """What a table looks like to this role. `rights` are those of SELECT, INSERT, UPDATE it has on some column.
    `arranged` says that the order in which its rows lie is of use: it is clustered, or has a BRIN index."""

    table: TableName
    kind: str
    columns: tuple[TargetColumn, ...]
    unique_indexes: tuple[UniqueIndex, ...] = ()
    rights: frozenset[str] = frozenset({"SELECT", "INSERT", "UPDATE"})
    unlogged: bool = False
    row_triggers: bool = False
    row_security: bool = False
    arranged: bool = False

    def column(self, name: str) -> TargetColumn | None:
        return next((column for column in self.columns if column.name == name), None)


@translated()
def inspect_table(connection: Connection, table: TableName) -> TargetTable | None:
    """The table as it is, or None. Reads the catalog only; needs no right on the table.

    Raises:
        DatabaseError: this role may not use the schema.
    """
    found = connection.execute(_RELATION, [table.schema, table.name]).fetchone()
    if found is None:
        return None
    oid, kind, usable, *facts = found
    if not usable:
        raise DatabaseError(
            f"This role may not use schema {table.schema}.", hint=f"Grant it: GRANT USAGE ON SCHEMA {table.schema}."
        )
    select, insert, update, unlogged, row_triggers, row_security, arranged = facts
    rights = {"SELECT": select, "INSERT": insert, "UPDATE": update}
    return TargetTable(
        table=table,
        kind=_KINDS.get(kind, "relation of another kind"),
        columns=tuple(TargetColumn(*column) for column in connection.execute(_COLUMNS, {"oid": oid}).fetchall()),
        unique_indexes=tuple(
            UniqueIndex(frozenset(columns), frozenset(names))
            for columns, names in connection.execute(_UNIQUE_INDEXES, [oid]).fetchall()
        ),
        rights=frozenset(right for right, granted in rights.items() if granted),
        unlogged=unlogged,
        row_triggers=row_triggers,
        row_security=row_security,
        arranged=arranged,
    )


_RELATION = """
SELECT c.oid, c.relkind::text, has_schema_privilege(n.oid, 'USAGE'),
       has_any_column_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'INSERT'),
       has_any_column_privilege(c.oid, 'UPDATE'),
       c.relpersistence = 'u',
       EXISTS (SELECT FROM pg_trigger AS t
               WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 1 = 1 AND t.tgenabled <> 'D'),
       c.relrowsecurity AND row_security_active(c.oid),
       EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_am AS m ON m.oid = x.relam
               WHERE i.indrelid = c.oid AND (i.indisclustered OR m.amname = 'brin'))
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

#: A domain stands for its base type, through as many domains as there are.
_COLUMNS = """
WITH RECURSIVE resolved AS (
    SELECT a.attnum, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS not_null, a.atthasdef AS has_default
    FROM pg_attribute AS a
    WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT r.attnum, t.typbasetype, t.typtypmod, r.not_null OR t.typnotnull,
           r.has_default OR t.typdefault IS NOT NULL
    FROM resolved AS r JOIN pg_type AS t ON t.oid = r.type AND t.typtype = 'd'
)
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'e' THEN 'enum' ELSE t.typname END, r.modifier, r.not_null,
       r.has_default OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
       t.oid = a.atttypid AND t.typnamespace = 'pg_catalog'::regnamespace
FROM resolved AS r
JOIN pg_type AS t ON t.oid = r.type AND t.typtype <> 'd'
JOIN pg_attribute AS a ON a.attnum = r.attnum AND a.attrelid = %(oid)s
ORDER BY a.attnum
"""

#: A violation in a partition is reported under the name of the partition's own index.
_UNIQUE_INDEXES = """
SELECT
    ARRAY(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) AS number
          JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = number),
    ARRAY(SELECT c.relname::text FROM pg_class AS c
          WHERE c.oid = i.indexrelid OR c.oid IN (SELECT relid FROM pg_partition_tree(i.indexrelid)))
FROM pg_index AS i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
"""
