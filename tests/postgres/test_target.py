"""The target table: created from a dataset, compared with it, refused with reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest

from sluice.database import connect
from sluice.errors import DatabaseError, TargetError
from sluice.model import Column, ColumnType, Dataset, ExtraColumns, Mode, TableName, TypeName
from sluice.target import TargetPlan, compare, create_table, ensure_target, inspect_table

Connection = psycopg.Connection[Any]

TYPES = {
    "a_text": ColumnType(TypeName.TEXT),
    "an_integer": ColumnType(TypeName.INTEGER),
    "a_bigint": ColumnType(TypeName.BIGINT),
    "a_numeric": ColumnType(TypeName.NUMERIC, 12, 2),
    "any_numeric": ColumnType(TypeName.NUMERIC),
    "a_double": ColumnType(TypeName.DOUBLE),
    "a_boolean": ColumnType(TypeName.BOOLEAN),
    "a_date": ColumnType(TypeName.DATE, format="%d.%m.%Y"),
    "a_timestamp": ColumnType(TypeName.TIMESTAMP),
    "a_moment": ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%d %H:%M:%S%z"),
    "a_uuid": ColumnType(TypeName.UUID),
    "a_json": ColumnType(TypeName.JSON),
}
ALL = Dataset(
    "all types",
    TableName("public", "All Types"),
    tuple(Column(name, type_, required=name == "a_text") for name, type_ in TYPES.items()),
    key=("an_integer", "a_date"),
)
PEOPLE = Dataset(
    "people",
    TableName("public", "people"),
    (Column("id", ColumnType(TypeName.INTEGER)), Column("name", ColumnType(TypeName.TEXT))),
    key=("id",),
)


def plan_for(connection: Connection, ddl: LiteralString, dataset: Dataset = PEOPLE) -> TargetPlan:
    connection.execute(ddl)
    return ensure_target(connection, dataset)


def test_a_table_is_created_as_the_dataset_says(connection: Connection) -> None:
    plan = ensure_target(connection, replace(ALL, extra_columns=ExtraColumns.KEEP))
    assert plan.columns == (*TYPES, "_extra")
    assert plan.key == ("an_integer", "a_date")
    assert plan.key_constraints == {"All Types_pkey"}
    assert (plan.lineage, plan.extra, plan.notes) == (True, True, ())
    made = inspect_table(connection, ALL.table)
    assert made is not None
    assert {column.name: column.type for column in made.columns} == {
        "a_text": "text",
        "an_integer": "integer",
        "a_bigint": "bigint",
        "a_numeric": "numeric(12,2)",
        "any_numeric": "numeric",
        "a_double": "double precision",
        "a_boolean": "boolean",
        "a_date": "date",
        "a_timestamp": "timestamp without time zone",
        "a_moment": "timestamp with time zone",
        "a_uuid": "uuid",
        "a_json": "jsonb",
        "_extra": "jsonb",
        "_import_id": "bigint",
        "_line": "bigint",
    }
    assert {column.name for column in made.columns if column.not_null} == {"a_text", "an_integer", "a_date"}
    assert ensure_target(connection, replace(ALL, extra_columns=ExtraColumns.KEEP)) == plan


def test_lineage_and_key_can_be_left_out(connection: Connection) -> None:
    plan = ensure_target(connection, replace(PEOPLE, lineage=False, mode=Mode.APPEND))
    assert (plan.key, plan.key_constraints, plan.lineage, plan.notes) == ((), frozenset(), False, ())
    made = inspect_table(connection, PEOPLE.table)
    assert made is not None
    assert [column.name for column in made.columns] == ["id", "name"]
    assert made.unique_indexes == ()


def test_a_missing_schema_is_created(connection: Connection) -> None:
    dataset = replace(PEOPLE, table=TableName("new schema", 'odd "name'))
    assert ensure_target(connection, dataset).table == dataset.table


def test_creating_can_be_rolled_back(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        ensure_target(connection, PEOPLE)
    assert inspect_table(connection, PEOPLE.table) is None


def test_a_table_of_ones_own_without_lineage_says_what_that_rules_out(connection: Connection) -> None:
    plan = plan_for(connection, "CREATE TABLE people (name varchar(20), id bigint UNIQUE, born date DEFAULT now())")
    assert plan.columns == ("id", "name")
    assert plan.key_constraints == {"people_id_key"}
    assert not plan.lineage
    assert [note for note in plan.notes if "cannot be undone" in note]


def test_keys_are_found_under_every_name_the_database_reports(connection: Connection) -> None:
    plan = plan_for(
        connection,
        """
        CREATE TABLE people (id int NOT NULL, name text) PARTITION BY RANGE (id);
        CREATE TABLE people_1 PARTITION OF people FOR VALUES FROM (0) TO (10);
        CREATE TABLE people_2 PARTITION OF people FOR VALUES FROM (10) TO (20);
        ALTER TABLE people ADD CONSTRAINT people_key UNIQUE (id);
        CREATE UNIQUE INDEX another ON people (id) INCLUDE (name);
        """,
    )
    assert plan.key_constraints >= {"people_key", "another", "people_1_id_key", "people_2_id_key"}
    connection.execute("INSERT INTO people VALUES (11, 'x')")
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        connection.execute("INSERT INTO people VALUES (11, 'x')")
    assert refused.value.diag.constraint_name in plan.key_constraints


def test_domains_and_enumerations_count_as_what_they_are(connection: Connection) -> None:
    plan = plan_for(
        connection,
        """
        CREATE DOMAIN number AS integer; CREATE DOMAIN positive AS number DEFAULT 1 NOT NULL CHECK (VALUE > 0);
        CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE TABLE people (id positive PRIMARY KEY, name mood, rank positive);
        """,
    )
    assert plan.columns == ("id", "name")


@pytest.mark.parametrize(
    ("ddl", "reason"),
    [
        ("CREATE TABLE people (id int PRIMARY KEY)", "column name is missing"),
        ("CREATE TABLE people (id date PRIMARY KEY, name text)", "column id is date, which would not keep"),
        (
            "CREATE TABLE people (id int PRIMARY KEY, name text, age int NOT NULL)",
            "column age is NOT NULL without a default, and the dataset does not fill it",
        ),
        (
            "CREATE TABLE people (id int PRIMARY KEY, name text, _line bigint NOT NULL)",
            "column _line is NOT NULL without a default",
        ),
        ("CREATE TABLE people (id int, name text)", r"no unique index on exactly the key \(id\)"),
        ("CREATE TABLE people (id int, name text, UNIQUE (id, name))", "no unique index on exactly"),
        ("CREATE TABLE people (id int UNIQUE DEFERRABLE, name text)", "no unique index on exactly"),
        (
            "CREATE TABLE people (id int, name text); CREATE UNIQUE INDEX ON people (id) WHERE id > 0",
            "no unique index on exactly",
        ),
        ("CREATE TABLE people (id int, name text); CREATE UNIQUE INDEX ON people (abs(id))", "no unique index"),
        (
            "CREATE TABLE people (id int PRIMARY KEY, name text GENERATED ALWAYS AS ('x') STORED)",
            "column name is generated by the database",
        ),
        ("CREATE VIEW people AS SELECT 1 AS id, 'x' AS name", "it is a view"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(connection: Connection, ddl: LiteralString, reason: str) -> None:
    with pytest.raises(TargetError, match=reason) as refused:
        plan_for(connection, ddl)
    assert "public.people does not fit dataset people" in str(refused.value)


def test_all_that_is_wrong_is_said_at_once(connection: Connection) -> None:
    with pytest.raises(TargetError) as refused:
        plan_for(connection, "CREATE TABLE people (id text, age int NOT NULL)")
    for reason in ("column id is text", "column name is missing", "column age is NOT NULL", "no unique index"):
        assert reason in str(refused.value)


def test_overwrite_needs_what_it_needs(connection: Connection) -> None:
    overwrite = replace(PEOPLE, mode=Mode.OVERWRITE)
    with pytest.raises(TargetError, match="cannot be overwritten"):
        plan_for(
            connection,
            "CREATE TABLE people (id int UNIQUE, name text, no int GENERATED ALWAYS AS IDENTITY)",
            replace(overwrite, columns=(*PEOPLE.columns, Column("no", ColumnType(TypeName.INTEGER)))),
        )
    assert ensure_target(connection, overwrite).key == ("id",), "where the dataset does not fill it, it may be there"
    with pytest.raises(TargetError, match="needs a key"):
        ensure_target(connection, replace(overwrite, key=()))


def test_extra_columns_need_their_column(connection: Connection) -> None:
    with pytest.raises(TargetError, match="no column _extra"):
        plan_for(
            connection,
            "CREATE TABLE people (id int PRIMARY KEY, name text)",
            replace(PEOPLE, extra_columns=ExtraColumns.KEEP),
        )


MARKS = "_import_id bigint, _line bigint"


@pytest.mark.parametrize(
    ("ddl", "order"),
    [
        (f"CREATE TABLE people (id int PRIMARY KEY, name text, {MARKS})", ("id",)),
        (f"CREATE TABLE people (id int PRIMARY KEY, name text, age int, {MARKS})", ("id",)),
        ("CREATE TABLE people (id int PRIMARY KEY, name text)", ()),
        (f"CREATE TABLE people (id int PRIMARY KEY, name text, number serial, {MARKS})", ()),
        (f"CREATE TABLE people (id int PRIMARY KEY, name text, n int GENERATED ALWAYS AS IDENTITY, {MARKS})", ()),
        (f"CREATE TABLE people (id int PRIMARY KEY, name text, {MARKS}) PARTITION BY RANGE (id)", ()),
        (
            f"CREATE TABLE people (id int PRIMARY KEY, name text, {MARKS}); CREATE INDEX ON people USING brin (_line)",
            (),
        ),
        (f"CREATE TABLE people (id int PRIMARY KEY, name text, {MARKS}); CLUSTER people USING people_pkey", ()),
        (
            f"CREATE TABLE people (id int PRIMARY KEY, name text, {MARKS});"
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER f BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION f()",
            (),
        ),
    ],
)
def test_rows_may_be_sorted_where_nobody_can_tell(
    connection: Connection, ddl: LiteralString, order: tuple[str, ...]
) -> None:
    assert plan_for(connection, ddl).order == order


def test_rows_without_a_key_are_not_sorted(connection: Connection) -> None:
    ddl: LiteralString = f"CREATE TABLE people (id int PRIMARY KEY, name text, {MARKS})"
    assert plan_for(connection, ddl, replace(PEOPLE, mode=Mode.APPEND)).order == ()


NUMERIC_4 = ColumnType(TypeName.NUMERIC, 10, 4)
FITTING = [
    (ColumnType(TypeName.TEXT), "text varchar varchar(5) char(5) inet interval time", "int bytea date uuid time(0)"),
    (
        ColumnType(TypeName.INTEGER),
        "smallint int bigint numeric numeric(3) numeric(9,2) float8",
        "real text numeric(9,-2)",
    ),
    (ColumnType(TypeName.BIGINT), "int bigint numeric numeric(30)", "float8 text"),
    (NUMERIC_4, "numeric numeric(10,4) numeric(5,4) numeric(20,6)", "numeric(10,2) numeric(10) float8 int"),
    (ColumnType(TypeName.NUMERIC), "numeric", "numeric(30,10) float8"),
    (ColumnType(TypeName.NUMERIC, 10), "numeric(10) numeric(10,2)", "numeric(10,-1) int"),
    (ColumnType(TypeName.DOUBLE), "float8 numeric", "real numeric(30,10)"),
    (ColumnType(TypeName.BOOLEAN), "boolean", "int text"),
    (ColumnType(TypeName.DATE), "date timestamp timestamptz", "text time"),
    (ColumnType(TypeName.TIMESTAMP), "timestamp timestamptz timestamp(6)", "date timestamp(0) timestamp(3)"),
    (ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S"), "timestamp(0) timestamptz", "date"),
    (ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S%z"), "timestamptz timestamptz(0)", "timestamp date"),
    (ColumnType(TypeName.UUID), "uuid text varchar", "char(36) int"),
    (ColumnType(TypeName.JSON), "json jsonb text", "varchar(10) int"),
]


@pytest.mark.parametrize(("type_", "good", "bad"), FITTING)
def test_types_fit_when_no_value_is_altered_silently(
    connection: Connection, type_: ColumnType, good: str, bad: str
) -> None:
    dataset = Dataset("d", TableName("public", "t"), (Column("c", type_),), lineage=False)
    for name in (good + " " + bad).split():
        connection.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (c {name})".encode())
        if name in good.split():
            assert ensure_target(connection, dataset).columns == ("c",), name
        else:
            with pytest.raises(TargetError, match="would not keep every"):
                ensure_target(connection, dataset)


def test_notes_say_what_one_should_know(connection: Connection) -> None:
    connection.execute(
        """
        CREATE UNLOGGED TABLE t (c timestamptz, d char(3), _import_id bigint, _line bigint);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
        """
    )
    columns = (Column("c", ColumnType(TypeName.TIMESTAMP)), Column("d", ColumnType(TypeName.TEXT)))
    notes = ensure_target(connection, Dataset("d", TableName("public", "t"), columns)).notes
    assert len(notes) == 4
    for said in ("unlogged", "row triggers", "taken as UTC", "blanks at the end"):
        assert any(said in note for note in notes)


# --- rights ----------------------------------------------------------------------------------------------------


def test_rights_are_checked_before_a_row_is_read(
    connection: Connection, database_url: str, make_role: Callable[[], str], as_role: Callable[[str, str], str]
) -> None:
    role = make_role()
    connection.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
    connection.execute("CREATE SCHEMA closed; CREATE TABLE closed.people (id int PRIMARY KEY, name text)")
    with connect(as_role(database_url, role)) as other:
        with pytest.raises(TargetError, match="lacks the right to SELECT and INSERT"):
            ensure_target(other, PEOPLE)
        connection.execute(f"GRANT SELECT, INSERT ON people TO {role}".encode())
        assert ensure_target(other, PEOPLE).key == ("id",)
        with pytest.raises(TargetError, match="lacks the right to UPDATE"):
            ensure_target(other, replace(PEOPLE, mode=Mode.OVERWRITE))
        connection.execute("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
        with pytest.raises(TargetError, match="row-level security"):
            ensure_target(other, PEOPLE)
        with pytest.raises(DatabaseError, match="may not use schema closed"):
            ensure_target(other, replace(PEOPLE, table=TableName("closed", "people")))
        for schema in ("public", "new"):
            with pytest.raises(TargetError, match="does not exist and this role may not create it"):
                create_table(other, replace(PEOPLE, table=TableName(schema, "more")))


def test_a_definition_that_postgresql_refuses_is_a_target_error(connection: Connection) -> None:
    twice = replace(PEOPLE, columns=(*PEOPLE.columns, *PEOPLE.columns))
    with pytest.raises(TargetError, match=r"cannot be created: column .* specified more than once"):
        create_table(connection, twice)


def test_comparing_needs_no_database(connection: Connection) -> None:
    ensure_target(connection, PEOPLE)
    seen = inspect_table(connection, PEOPLE.table)
    assert seen is not None
    connection.close()
    assert compare(PEOPLE, seen).columns == ("id", "name")
