"""The target table: made from a dataset, or looked at and compared with it before the first row is read.

Which column types fit is decided by one rule: PostgreSQL must store the value unaltered or refuse it loudly (a
refusal is routed like any bad row). So `integer` may go into `smallint` and `text` into `varchar(10)`, but
`numeric(10,4)` may not go into `numeric(10,2)`, which rounds, nor a `timestamp` into a `date`, which cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from sluice.catalog import Connection, TargetColumn, TargetTable, UniqueIndex, inspect_table
from sluice.database import translated
from sluice.errors import TargetError
from sluice.model import Column, ColumnType, Dataset, ExtraColumns, Mode, TableName, TypeName
from sluice.wire import wire_types

__all__ = [
    "EXTRA",
    "LINEAGE",
    "TargetColumn",
    "TargetPlan",
    "TargetTable",
    "UniqueIndex",
    "columns_ddl",
    "compare",
    "create_table",
    "ensure_target",
    "fits",
    "has_zone",
    "inspect_table",
    "type_ddl",
]

#: Added to a loaded table unless `lineage: false`: which import a row came from, and from which physical line.
LINEAGE = ("_import_id", "_line")
#: Where `extra_columns: keep` puts what the dataset does not know, as one JSON object a row.
EXTRA = "_extra"


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """How a dataset's rows meet a table.

    Attributes:
        columns: what is written, in the dataset's order, `_extra` last where extra columns are kept; no lineage.
        key: the dataset's key; empty in mode append.
        key_constraints: the names under which the database reports a violation of exactly that key.
        lineage: the table has `_import_id` and `_line`, and they are filled.
        extra: `_extra` is filled.
        wire: the types to send `columns` as in COPY's binary format; None where one of them cannot be.
        order: the columns by which rows may be sorted before they go in; empty where the file's order counts.
        notes: what the operator should know, for the report.
    """

    table: TableName
    columns: tuple[str, ...]
    key: tuple[str, ...]
    key_constraints: frozenset[str]
    lineage: bool
    extra: bool
    wire: tuple[str, ...] | None = None
    order: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


# --- making it -------------------------------------------------------------------------------------------------


def ensure_target(connection: Connection, dataset: Dataset) -> TargetPlan:
    """The plan for the dataset's table, which is created when there is none. Hold the table's lock.

    Raises:
        TargetError: the table does not fit, or may not be created or written.
    """
    existing = inspect_table(connection, dataset.table)
    if existing is None:
        create_table(connection, dataset)
        existing = inspect_table(connection, dataset.table)
        if existing is None:
            raise TargetError(f"Table {dataset.table} was dropped while the import began.")
    return compare(dataset, existing)


def create_table(connection: Connection, dataset: Dataset) -> None:
    """CREATE TABLE, and its schema where it is missing.

    Raises:
        TargetError: this role may not, or PostgreSQL refuses the definition.
    """
    statement = sql.SQL("CREATE TABLE {} ({})").format(
        sql.Identifier(dataset.table.schema, dataset.table.name), sql.SQL(", ").join(columns_ddl(dataset))
    )
    try:
        with connection.transaction():
            # Not CREATE SCHEMA IF NOT EXISTS: it asks for the right to create one even where it exists.
            found = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [dataset.table.schema])
            if found.rowcount == 0:
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(dataset.table.schema)))
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise TargetError(
            f"Table {dataset.table} does not exist and this role may not create it: {error.diag.message_primary}.",
            hint=f"Grant CREATE on schema {dataset.table.schema}, or create the table.",
        ) from error
    except psycopg.ProgrammingError as error:
        raise TargetError(f"Table {dataset.table} cannot be created: {error.diag.message_primary}.") from error
    except psycopg.Error:
        with translated():
            raise


def columns_ddl(dataset: Dataset) -> list[sql.Composed]:
    """The column definitions of the dataset's table, and its primary key. Mode append has no key."""
    definitions = [_column_ddl(column) for column in dataset.columns]
    if dataset.extra_columns is ExtraColumns.KEEP:
        definitions.append(sql.SQL("{} jsonb").format(sql.Identifier(EXTRA)))
    if dataset.lineage:
        definitions += [sql.SQL("{} bigint").format(sql.Identifier(name)) for name in LINEAGE]
    if key := _key(dataset):
        definitions.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, key))))
    return definitions


def _column_ddl(column: Column) -> sql.Composed:
    not_null = sql.SQL(" NOT NULL" if column.required else "")
    return sql.SQL("{} {}{}").format(sql.Identifier(column.name), type_ddl(column.type), not_null)


def type_ddl(type_: ColumnType) -> sql.Composable:
    """A dataset's type as PostgreSQL's."""
    if type_.name is TypeName.NUMERIC and type_.precision is not None:
        if type_.scale is None:
            return sql.SQL("numeric({})").format(sql.Literal(type_.precision))
        return sql.SQL("numeric({}, {})").format(sql.Literal(type_.precision), sql.Literal(type_.scale))
    if type_.name is TypeName.TIMESTAMP and has_zone(type_):
        return sql.SQL("timestamptz")
    return _TYPES[type_.name]


_TYPES = {
    TypeName.TEXT: sql.SQL("text"),
    TypeName.INTEGER: sql.SQL("integer"),
    TypeName.BIGINT: sql.SQL("bigint"),
    TypeName.NUMERIC: sql.SQL("numeric"),
    TypeName.DOUBLE: sql.SQL("double precision"),
    TypeName.BOOLEAN: sql.SQL("boolean"),
    TypeName.DATE: sql.SQL("date"),
    TypeName.TIMESTAMP: sql.SQL("timestamp"),
    TypeName.UUID: sql.SQL("uuid"),
    TypeName.JSON: sql.SQL("jsonb"),
}


def has_zone(type_: ColumnType) -> bool:
    """Whether a timestamp's format reads an offset, so that its values are points in time."""
    return "%z" in (type_.format or "").replace("%%", "")


def _key(dataset: Dataset) -> tuple[str, ...]:
    return () if dataset.mode is Mode.APPEND else dataset.key


# --- comparing -------------------------------------------------------------------------------------------------


def compare(dataset: Dataset, existing: TargetTable) -> TargetPlan:
    """Whether the dataset's rows can go into the table as it is, and how. Pure.

    Raises:
        TargetError: they cannot; the message names every column and what is wrong with it.
    """
    problems = [*_table_problems(dataset, existing), *_column_problems(dataset, existing)]
    key = _key(dataset)
    indexes = [index for index in existing.unique_indexes if key and index.columns == frozenset(key)]
    if key and not indexes:
        problems.append(f"there is no unique index on exactly the key ({', '.join(key)})")
    if problems:
        raise TargetError(
            f"{existing.kind.capitalize()} {existing.table} does not fit dataset {dataset.name}: "
            f"{'; '.join(problems)}.",
            hint="Change the table, or the dataset.",
        )
    lineage = dataset.lineage and _has_lineage(existing)
    extra = dataset.extra_columns is ExtraColumns.KEEP
    return TargetPlan(
        table=existing.table,
        columns=(*(column.name for column in dataset.columns), *((EXTRA,) if extra else ())),
        key=key,
        key_constraints=frozenset().union(*(index.names for index in indexes)),
        lineage=lineage,
        extra=extra,
        wire=_wire(dataset, existing),
        order=key if lineage and _is_indifferent(dataset, existing) else (),
        notes=tuple(_notes(dataset, existing, lineage)),
    )


def _wire(dataset: Dataset, existing: TargetTable) -> tuple[str, ...] | None:
    types = [(column.name, column.type) for column in dataset.columns]
    if dataset.extra_columns is ExtraColumns.KEEP:
        types.append((EXTRA, ColumnType(TypeName.JSON)))
    pairs = [(type_, existing.column(name)) for name, type_ in types]
    return wire_types((type_, there.base if there is not None and there.plain else None) for type_, there in pairs)


def _is_indifferent(dataset: Dataset, existing: TargetTable) -> bool:
    """Whether rows that come in another order end up the same, but for where they lie: no trigger sees them, none gets
    a number, none is for a partition."""
    filled = {EXTRA, *LINEAGE, *(column.name for column in dataset.columns)}
    numbered = any(column.has_default and column.name not in filled for column in existing.columns)
    return existing.kind == "table" and not (existing.row_triggers or existing.arranged or numbered)


def _table_problems(dataset: Dataset, existing: TargetTable) -> Iterator[str]:
    if existing.kind not in ("table", "partitioned table"):
        yield f"it is a {existing.kind}, and rows can be loaded into tables only"
    needed = ["SELECT", "INSERT", *(["UPDATE"] if dataset.mode is Mode.OVERWRITE else [])]
    if missing := [right for right in needed if right not in existing.rights]:
        yield f"this role lacks the right to {' and '.join(missing)}"
    if existing.row_security:
        yield "row-level security applies to this role, and COPY does not work under it"
    if dataset.mode is Mode.OVERWRITE and not dataset.key:
        yield "mode overwrite needs a key"


def _column_problems(dataset: Dataset, existing: TargetTable) -> Iterator[str]:
    for column in dataset.columns:
        there = existing.column(column.name)
        if there is None:
            yield f"column {column.name} is missing"
        elif there.generated:
            yield f"column {column.name} is generated by the database and cannot be filled"
        elif there.always_identity and dataset.mode is Mode.OVERWRITE and column.name not in dataset.key:
            yield f"column {column.name} is GENERATED ALWAYS AS IDENTITY and cannot be overwritten"
        elif not fits(column.type, there):
            yield f"column {column.name} is {there.type}, which would not keep every {_described(column.type)} as it is"
    filled = {column.name for column in dataset.columns} | set(
        LINEAGE if dataset.lineage and _has_lineage(existing) else ()
    )
    if dataset.extra_columns is ExtraColumns.KEEP:
        filled.add(EXTRA)
        extra = existing.column(EXTRA)
        if extra is None or extra.base not in ("json", "jsonb"):
            yield f"extra columns are to be kept, and there is no column {EXTRA} of type jsonb"
    for there in existing.columns:
        if there.not_null and not there.has_default and not there.generated and there.name not in filled:
            yield f"column {there.name} is NOT NULL without a default, and the dataset does not fill it"


#: Dataset type -> PostgreSQL types that keep its every value, or refuse it; further conditions are in `fits`.
_FITTING: dict[TypeName, frozenset[str]] = {
    TypeName.TEXT: frozenset({"text", "varchar", "bpchar", "citext", "enum", "xml"})
    | {"inet", "cidr", "macaddr", "macaddr8", "interval", "time", "timetz"},
    TypeName.INTEGER: frozenset({"int2", "int4", "int8", "float8", "numeric"}),
    TypeName.BIGINT: frozenset({"int2", "int4", "int8", "numeric"}),  # a float8 keeps 53 bits
    TypeName.NUMERIC: frozenset({"numeric"}),
    TypeName.DOUBLE: frozenset({"float8", "numeric"}),
    TypeName.BOOLEAN: frozenset({"bool"}),
    TypeName.DATE: frozenset({"date", "timestamp", "timestamptz"}),
    TypeName.TIMESTAMP: frozenset({"timestamp", "timestamptz"}),
    TypeName.UUID: frozenset({"uuid", "text", "varchar"}),
    TypeName.JSON: frozenset({"json", "jsonb", "text"}),
}


def fits(type_: ColumnType, there: TargetColumn) -> bool:
    """Whether the column stores every value of the type unaltered, or refuses it."""
    if there.base not in _FITTING[type_.name]:
        return False
    if there.base == "numeric" and there.scale is not None:  # digits beyond the scale are rounded away silently
        whole = type_.name in (TypeName.INTEGER, TypeName.BIGINT)
        scale = 0 if whole or (type_.precision is not None and type_.scale is None) else type_.scale
        return scale is not None and there.scale >= scale
    if there.base in ("time", "timetz", "interval"):
        return there.modifier == -1  # time(0) rounds
    if type_.name is TypeName.TIMESTAMP:
        if has_zone(type_) and there.base != "timestamptz":
            return False
        # timestamp(0) rounds fractions of a second; without %f (or in ISO 8601) there may be some
        fractions = type_.format is None or "%f" in type_.format
        return not fractions or there.modifier in (-1, 6)
    return True


#: PostgreSQL types whose values a dataset's type describes, besides numeric.
_READ_AS = {
    **dict.fromkeys(("int2", "int4"), TypeName.INTEGER),
    "int8": TypeName.BIGINT,
    "float8": TypeName.DOUBLE,
    "bool": TypeName.BOOLEAN,
    "date": TypeName.DATE,
    "timestamp": TypeName.TIMESTAMP,
    "uuid": TypeName.UUID,
    **dict.fromkeys(("json", "jsonb"), TypeName.JSON),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "enum"), TypeName.TEXT),
}


def type_for(inferred: ColumnType, there: TargetColumn) -> ColumnType:
    """The type to read a file's column as, whose values would allow `inferred`, so that it goes into this column:
    the column's own where `inferred` does not fit, and a value that is not of it is a reject of its row."""
    if fits(inferred, there):
        return inferred
    if there.base == "numeric" and there.modifier >= 0:
        return ColumnType(TypeName.NUMERIC, ((there.modifier - 4) >> 16) & 0xFFFF, max(there.scale or 0, 0))
    return ColumnType(_READ_AS[there.base]) if there.base in _READ_AS else inferred


def _described(type_: ColumnType) -> str:
    if type_.name is TypeName.NUMERIC and type_.precision is not None:
        return f"numeric({type_.precision},{type_.scale or 0})"
    return f"{type_.name} with %z" if has_zone(type_) else str(type_.name)


def _has_lineage(existing: TargetTable) -> bool:
    columns = [existing.column(name) for name in LINEAGE]
    return all(column is not None and column.base == "int8" for column in columns)


def _notes(dataset: Dataset, existing: TargetTable, lineage: bool) -> Iterator[str]:
    if dataset.lineage and not lineage:
        yield (
            f"{existing.table} has no {' and '.join(LINEAGE)} (bigint), so rows are loaded without; "
            "rows inserted by this import cannot be undone."
        )
    if existing.unlogged:
        yield f"{existing.table} is unlogged: a crash of the server empties it."
    if existing.row_triggers:
        yield f"{existing.table} has row triggers, which may change rows or leave them out."
    for column in dataset.columns:
        there = existing.column(column.name)
        if there is not None and there.base == "timestamptz" and not has_zone(column.type):
            yield f"Column {column.name} is {there.type}: values without an offset are taken as UTC."
        if there is not None and there.base == "bpchar":
            yield f"Column {column.name} is {there.type}: blanks at the end of a value do not count."
