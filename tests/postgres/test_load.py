"""Rows the database refuses: exactly they are rejected, with the reason; everything else is in the table."""

from __future__ import annotations

import threading

import psycopg
import pyarrow as pa
import pytest

from sluice.database import connect
from sluice.load import LoadPlan, Outcome, encode, load_chunk
from sluice.model import Mode, OnDuplicate, TableName
from tests.postgres.load_model import (
    Connection,
    Row,
    chunk_of,
    codes_of,
    create_things,
    new_import,
    raw_of,
    rows_table,
    things,
    things_plan,
)


def load(conn: Connection, plan: LoadPlan, *rows: Row, first_line: int = 2, optimistic: bool = True) -> Outcome:
    chunk = chunk_of(rows_table(rows), range(first_line, first_line + len(rows)))
    with conn.transaction():
        return load_chunk(conn, plan, chunk, encode(plan, chunk), optimistic=optimistic)


def errors(outcome: Outcome) -> list[tuple[int, str | None, str, str, str | None]]:
    table = outcome.errors
    names = ("line", "column", "code", "message", "value")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def load_text(conn: Connection, table: str, columns: dict[str, list[str | None]]) -> Outcome:
    """Append text columns to a table without lineage: what its types do not take, they must refuse."""
    plan = LoadPlan(new_import(conn), TableName("public", table), tuple(columns), mode=Mode.APPEND, lineage=False)
    with conn.transaction():
        return load_chunk(conn, plan, chunk_of(pa.table(columns, pa.schema([(c, pa.string()) for c in columns]))))


@pytest.fixture
def table(connection: Connection) -> Connection:
    create_things(connection, lineage=True, rows=[(1, 10, "one"), (2, 20, "two")])
    return connection


def test_a_chunk_without_conflict_goes_straight_in(table: Connection) -> None:
    outcome = load(table, things_plan(new_import(table)), (3, 1, "a"), (4, 1, "b"))

    assert (outcome.loaded, outcome.collided, outcome.rejected, outcome.errors.num_rows) == (2, False, [], 0)
    assert table.execute("SELECT count(*) FROM sluice.touched_keys").fetchone() == (0,)


def test_duplicates_say_which_line_has_the_key(table: Connection) -> None:
    plan = things_plan(new_import(table))

    load(table, plan, (3, 1, None), (1, 1, None))
    outcome = load(table, plan, (4, 1, None), (4, 2, None), (3, 9, None), (1, 7, None), first_line=4)

    assert outcome.rejected == [raw_of(5), raw_of(6), raw_of(7)]
    assert errors(outcome) == [
        (5, "id", "key.duplicate", "Line 4 of this file has the same key (id).", "4"),
        (6, "id", "key.duplicate", "Line 2 of this file has the same key (id).", "3"),
        (7, "id", "key.duplicate", "Line 3 of this file has the same key (id).", "1"),
    ]
    assert set(outcome.errors["category"].to_pylist()) == {"duplicate"}


def test_a_key_of_the_table_is_rejected_where_the_dataset_says_so(table: Connection) -> None:
    plan = things_plan(new_import(table), on_duplicate=OnDuplicate.REJECT)

    outcome = load(table, plan, (1, 1, None), (1, 1, None))

    message = "A row of public.things has the same key (id)."
    assert [error[3] for error in errors(outcome)] == [message, message]


def test_overwriting_keeps_the_row_as_it_was(table: Connection) -> None:
    first, second = things_plan(new_import(table), Mode.OVERWRITE), things_plan(new_import(table), Mode.OVERWRITE)
    load(table, first, (1, 11, "one"))

    outcome = load(table, second, (1, 12, None), (2, 20, "two"), (3, 30, None))

    assert (outcome.updated, outcome.unchanged, outcome.loaded) == (1, 1, 1)
    images = table.execute(
        "SELECT line, op, key, image FROM sluice.before_images WHERE import_id = %s", [second.import_id]
    )
    assert images.fetchall() == [
        (2, "update", [1], {"id": 1, "amount": 11, "code": "one", "_import_id": first.import_id, "_line": 2})
    ]
    rows = table.execute("SELECT id, _import_id, _line FROM things ORDER BY id").fetchall()
    assert rows == [(1, second.import_id, 2), (2, None, None), (3, second.import_id, 4)]


def test_an_update_the_database_refuses_leaves_the_row_and_its_key(table: Connection) -> None:
    plan = things_plan(new_import(table), Mode.OVERWRITE)

    outcome = load(table, plan, (1, -1, None), (1, 5, "two"), (1, 6, "x"), (1, 7, "y"))

    assert codes_of(outcome) == {2: "db.check_violation", 3: "db.unique_violation", 5: "key.duplicate"}
    assert things(table) == [(1, 6, "x"), (2, 20, "two")]
    assert table.execute("SELECT line FROM sluice.before_images").fetchall() == [(4,)]


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.OVERWRITE])
def test_a_rejected_row_does_not_hold_its_key(table: Connection, mode: Mode) -> None:
    plan = things_plan(new_import(table), mode)

    load(table, plan, (5, -1, None), (5, -2, None))
    outcome = load(table, plan, (5, -3, None), (5, 4, None), (5, 5, None), first_line=4)

    assert codes_of(outcome) == {4: "db.check_violation", 6: "key.duplicate"}
    assert (5, 4, None) in things(table)


def test_every_constraint_has_its_code(connection: Connection) -> None:
    connection.execute(
        """
        CREATE TABLE parents (id int PRIMARY KEY);
        INSERT INTO parents VALUES (1);
        CREATE TABLE rows (
            parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED,
            needed text NOT NULL,
            amount int CONSTRAINT amount_positive CHECK (amount > 0),
            code text CONSTRAINT code_once UNIQUE DEFERRABLE INITIALLY DEFERRED,
            span int4range, EXCLUDE USING gist (span WITH &&))
        """
    )
    rows: list[tuple[int | None, str | None, int | None, str | None, str | None]] = [
        (1, "a", 1, "x", "[1,5)"),
        (9, "a", 1, None, None),
        (1, None, 1, None, None),
        (1, "a", 0, None, None),
        (1, "a", 1, "x", None),
        (1, "a", 1, None, "[4,6)"),
        (None, "a", None, None, None),
    ]
    names = ("parent", "needed", "amount", "code", "span")
    plan = LoadPlan(new_import(connection), TableName("public", "rows"), names, mode=Mode.APPEND, lineage=False)
    table = pa.table([pa.array([row[i] for row in rows]) for i in range(5)], names=list(names))

    with connection.transaction():
        outcome = load_chunk(connection, plan, chunk_of(table))

    assert outcome.loaded == 2
    assert errors(outcome) == [
        (3, "parent", "db.foreign_key_violation",
         'insert or update on table "rows" violates foreign key constraint "rows_parent_fkey":'
         ' Key (parent)=(9) is not present in table "parents".', "9"),
        (4, "needed", "db.not_null_violation",
         'null value in column "needed" of relation "rows" violates not-null constraint', None),
        (5, "amount", "db.check_violation",
         'new row for relation "rows" violates check constraint "amount_positive"', "0"),
        (6, "code", "db.unique_violation",
         'duplicate key value violates unique constraint "code_once": Key (code)=(x) already exists.', "x"),
        (7, "span", "db.exclusion_violation",
         'conflicting key value violates exclusion constraint "rows_span_excl":'
         " Key (span)=([4,6)) conflicts with existing key (span)=([1,5)).", "[4,6)"),
    ]  # fmt: skip
    assert outcome.errors["category"].to_pylist() == ["other", "missing_value", "other", "duplicate", "other"]


def test_values_a_type_refuses_are_rejected_with_their_column(connection: Connection) -> None:
    connection.execute(
        """
        CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'no');
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE TABLE rows (a varchar(3), b char(2), c short, d mood, e numeric(4, 2), f date, g int[])
        """
    )
    good: list[str | None] = ["abc", "xy", "abc", "good", "99.99", "2024-02-29", "{1,2}"]
    bad: list[str | None] = ["abcd", "xyz", "abcd", "sad", "100", "2023-02-29", "{1,x}"]
    rows: list[list[str | None]] = [
        good,
        *([*good[:i], bad[i], *good[i + 1 :]] for i in range(7)),
        [*good[:2], "no", *good[3:]],
        [None] * 7,
    ]

    outcome = load_text(connection, "rows", {name: [row[i] for row in rows] for i, name in enumerate("abcdefg")})

    assert outcome.loaded == 2
    assert [(line, column, value) for line, column, _, _, value in errors(outcome)] == [
        *((i + 3, name, bad[i]) for i, name in enumerate("abcdefg")),
        (10, "c", "no"),
    ]
    assert list(codes_of(outcome).values()) == ["db.data_exception"] * 7 + ["db.check_violation"]
    assert errors(outcome)[0][3] == "value too long for type character varying(3)"
    assert connection.execute("SELECT * FROM rows WHERE a IS NOT NULL").fetchone() is not None


def test_triggers_may_refuse_discard_or_change_rows(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(100, 1, None)])
    connection.execute(
        """
        CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.code = 'raise' THEN RAISE EXCEPTION 'I do not like %', NEW.id;
            ELSIF NEW.code = 'custom' THEN RAISE EXCEPTION 'custom' USING ERRCODE = '45000';
            ELSIF NEW.code = 'discard' THEN RETURN NULL;
            ELSIF NEW.code = 'becomes 100' THEN NEW.id := 100;
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER judge BEFORE INSERT OR UPDATE ON things FOR EACH ROW EXECUTE FUNCTION judge()
        """
    )
    plan = things_plan(new_import(connection), Mode.OVERWRITE)

    outcome = load(
        connection, plan, (1, 1, None), (2, 1, "raise"), (3, 1, "custom"), (4, 1, "discard"), (5, 1, "becomes 100"),
        (100, 2, "discard"), (6, 1, "b"),
    )  # fmt: skip

    assert [(line, code, message) for line, _, code, message, _ in errors(outcome)] == [
        (3, "db.refused", "I do not like 2"),
        (4, "db.refused", "custom"),
        (5, "db.refused", "a trigger discarded the row without an error"),
        (6, "key.duplicate", "A row of public.things has the same key (id)."),
        (7, "db.refused", "a trigger discarded the row without an error"),
    ]
    assert things(connection) == [(1, 1, None), (6, 1, "b"), (100, 1, None)]
    assert connection.execute("SELECT count(*) FROM sluice.before_images").fetchone() == (0,)


def test_a_text_too_long_for_its_index_is_a_bad_row(connection: Connection) -> None:
    connection.execute("CREATE TABLE rows (a text UNIQUE)")
    incompressible = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(5000))

    outcome = load_text(connection, "rows", {"a": ["x", incompressible, "y"]})

    assert outcome.loaded == 2
    assert codes_of(outcome) == {3: "db.refused"}


def test_bad_rows_among_many_lines_are_found_wherever_they_are(connection: Connection) -> None:
    create_things(connection, lineage=True)
    bad = {0, 1, 2, 500, 777, 1023, 1024, 4999}
    rows = [(i, -1 if i in bad else i, f"two\nlines {i}") for i in range(5000)]

    outcome = load(connection, things_plan(new_import(connection)), *rows)

    assert [row.line - 2 for row in outcome.rejected] == sorted(bad)
    assert outcome.loaded == 5000 - len(bad)
    assert connection.execute("SELECT count(*) FROM things WHERE id = _line - 2").fetchone() == (outcome.loaded,)


def test_equal_keys_may_be_written_differently(connection: Connection) -> None:
    """1.0 and 1.00 are one key to the database."""
    connection.execute("CREATE TABLE t (k numeric CONSTRAINT t_key PRIMARY KEY, v json)")
    connection.execute("INSERT INTO t VALUES (1.0, '{}'), (2, '{}')")
    plan = LoadPlan(
        new_import(connection), TableName("public", "t"), ("k", "v"), ("k",), frozenset({"t_key"}), Mode.OVERWRITE,
        lineage=False,
    )  # fmt: skip
    cuts: list[list[tuple[str, str]]] = [
        [("1.00", "{}"), ("2.0", "[]")],
        [("1.000", "[]"), ("2", "{}")],
        [("3", "1")],
        [("3.0", "2")],
    ]
    line, found = 2, []
    for rows in cuts:
        table = pa.table({"k": [k for k, _ in rows], "v": [v for _, v in rows]})
        with connection.transaction():
            outcome = load_chunk(connection, plan, chunk_of(table, range(line, line + len(rows))))
        line += len(rows)
        found.append((outcome.loaded, outcome.updated, outcome.unchanged, len(outcome.rejected)))

    assert found == [(0, 1, 1, 0), (0, 0, 0, 2), (1, 0, 0, 0), (0, 0, 0, 1)]


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("DROP TABLE things", "42P01"),
        ("ALTER TABLE things DROP COLUMN code", "42703"),
        ("ALTER TABLE things ADD CHECK (1 / (amount - amount) > 0)", None),
        ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM nothing(); END';"
         "CREATE TRIGGER f BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION f()", "42883"),
        ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(9); END';"
         "CREATE TRIGGER f BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION f();"
         "SET statement_timeout = 200", "57014"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("optimistic", [True, False])
def test_errors_that_are_not_about_rows_end_the_import(
    table: Connection, statement: str, state: str | None, optimistic: bool
) -> None:
    plan = things_plan(new_import(table))
    table.execute("DELETE FROM things")
    table.execute(statement)
    if state is None:
        outcome = load(table, plan, (3, 1, "a"), optimistic=optimistic)
        assert codes_of(outcome) == {2: "db.data_exception"}
        return
    with pytest.raises(psycopg.Error) as caught:
        load(table, plan, (3, 1, "a"), optimistic=optimistic)
    assert caught.value.sqlstate == state


def test_a_lost_connection_is_no_bad_row(table: Connection, database_url: str) -> None:
    plan = things_plan(new_import(table))
    with connect(database_url) as other:
        table.execute("SELECT pg_terminate_backend(%s)", [other.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            load_chunk(other, plan, chunk_of(rows_table([(3, 1, None)])))
    assert len(things(table)) == 2


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.OVERWRITE])
def test_other_writers_of_the_same_keys_cost_no_exactness(table: Connection, database_url: str, mode: Mode) -> None:
    """Another session inserts, changes and deletes the same keys all the while."""
    plan = things_plan(new_import(table), mode)
    stop = threading.Event()

    def disturb() -> None:
        with connect(database_url) as other:
            turn = 0
            while not stop.is_set():
                turn += 1
                other.execute("INSERT INTO things (id, amount) VALUES (%s, 7) ON CONFLICT DO NOTHING", [turn * 7 % 400])
                other.execute("UPDATE things SET amount = 8 WHERE id = %s AND _import_id IS NULL", [turn * 3 % 400])
                other.execute("DELETE FROM things WHERE id = %s AND _import_id IS NULL", [turn * 5 % 400])

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        outcomes = [
            load(table, plan, *((i % 400, 1, None) for i in range(n, n + 20)), first_line=n + 2)
            for n in range(0, 800, 20)
        ]
    finally:
        stop.set()
        thread.join()

    rejected = [row.line for outcome in outcomes for row in outcome.rejected]
    total = sum(o.loaded + o.updated + o.unchanged + o.skipped for o in outcomes)
    assert rejected == list(range(402, 802))
    assert total == 400
    mine = table.execute("SELECT count(*) FROM things WHERE _import_id = %s", [plan.import_id]).fetchone()
    assert mine == (sum(o.loaded + o.updated for o in outcomes),)
    images = table.execute("SELECT count(*), count(DISTINCT line) FROM sluice.before_images").fetchone()
    assert images == (sum(o.updated for o in outcomes),) * 2


def test_two_failing_chunks_fit_in_one_transaction(table: Connection) -> None:
    plan = things_plan(new_import(table))
    with table.transaction():
        for line in (2, 3):
            load_chunk(table, plan, chunk_of(rows_table([(1, 1, None)]), [line]))
    assert table.execute("SHOW enable_hashjoin").fetchone() == ("on",)


def test_an_empty_chunk_is_nothing(table: Connection) -> None:
    assert load(table, things_plan(new_import(table))) == Outcome()


@pytest.mark.parametrize("lineage", [True, False])
def test_one_key_in_all_rows_most_of_them_bad(connection: Connection, lineage: bool) -> None:
    """Each row may be the first to hold the key, so each must be tried: it once took a time cubic in their number."""
    create_things(connection, lineage=lineage)
    plan = things_plan(new_import(connection), lineage=lineage)
    rows: list[Row] = [*((7, -1, None) for _ in range(3000)), (7, 1, None), (7, 2, None)]

    outcome = load(connection, plan, *rows)

    assert list(codes_of(outcome).values()) == ["db.check_violation"] * 3000 + ["key.duplicate"]
    assert things(connection) == [(7, 1, None)]
