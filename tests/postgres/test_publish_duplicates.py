"""Uniqueness over the whole file: every member of a group of equal values leaves the table again."""

from __future__ import annotations

import psycopg
import pyarrow as pa
import pytest

from sluice.duplicates import flag_duplicates
from sluice.errors import TargetError
from sluice.load import LoadPlan, load_chunk
from sluice.model import Counts, Mode, Severity
from sluice.publish import Adjustment, create_staging, publish
from sluice.rejects import save_rejects, save_unique_values
from sluice.route import UNIQUE_SCHEMA
from sluice.rules import UniqueRule
from tests.postgres.load_model import (
    Connection,
    Row,
    chunk_of,
    counts_of,
    create_things,
    new_import,
    raw_of,
    rows_table,
    things,
    things_plan,
)

UNIQUE = "expect_column_values_to_be_unique"
RULE = f"rule.{UNIQUE}"


def rule(column: str = "code", severity: Severity = Severity.CRITICAL) -> UniqueRule:
    return UniqueRule(
        index=0,
        code=RULE,
        columns=(column,),
        severity=severity,
        mostly=1.0,
        message=f"{column} is not unique",
        configuration={},
        ignore_row_if="any_value_is_missing",
    )


def read_raw(offset: int, length: int) -> bytes:
    """The raw bytes of `raw_of`'s rows."""
    assert length == 6
    return raw_of(offset // 10).raw


def load(conn: Connection, plan: LoadPlan, rows: dict[int, Row]) -> Counts:
    """Load rows and keep the values of rule 0, their code, and of rule 1, their amount."""
    with conn.transaction():
        outcome = load_chunk(conn, plan, chunk_of(rows_table(rows.values()), list(rows)))
        save_rejects(conn, plan.import_id, outcome.rejected, outcome.errors)
        values = [
            {"rule": number, "line": line, "byte_offset": line * 10, "byte_length": 6, "value": str(value)}
            for number, column in ((0, 2), (1, 1))
            for line, row in rows.items()
            if (value := row[column]) is not None
        ]
        save_unique_values(conn, plan.import_id, pa.Table.from_pylist(values, UNIQUE_SCHEMA))
    return counts_of(outcome)


def flag(conn: Connection, plan: LoadPlan, *rules: UniqueRule) -> Adjustment:
    with conn.transaction():
        return flag_duplicates(conn, plan, rules, read_raw)


def rejected(conn: Connection, plan: LoadPlan) -> list[tuple[int, bytes, list[str]]]:
    return conn.execute(
        "SELECT line, raw, array_agg(code || '=' || coalesce(value, '') ORDER BY code, value) FROM sluice.rejected_rows"
        " JOIN sluice.row_errors USING (import_id, line) WHERE import_id = %s GROUP BY line, raw ORDER BY line",
        [plan.import_id],
    ).fetchall()


def free_code(conn: Connection) -> None:
    """Let the table itself not care about codes."""
    conn.execute("ALTER TABLE things DROP CONSTRAINT things_code")


@pytest.mark.parametrize("lineage", [True, False])
def test_every_kind_of_row_is_taken_back(connection: Connection, lineage: bool) -> None:
    create_things(connection, lineage=lineage, rows=[(1, 10, "old"), (2, 20, "x"), (3, 30, "y")])
    free_code(connection)
    if lineage:
        connection.execute("UPDATE things SET _import_id = 99, _line = id")
    plan = things_plan(new_import(connection), Mode.OVERWRITE, lineage=lineage)
    counts = load(
        connection, plan, {2: (1, 11, "x"), 3: (2, 20, "x"), 4: (4, 40, "x"), 5: (4, 41, "x"), 6: (5, 50, "z")}
    )
    assert counts == Counts(records=5, loaded=2, updated=1, unchanged=1, rejected=1)

    adjustment = flag(connection, plan, rule())

    assert adjustment == Adjustment(Counts(loaded=-1, updated=-1, unchanged=-1, rejected=3), {RULE: 4}, by_rule={0: 4})
    assert (counts + adjustment.counts).balanced
    assert things(connection) == [(1, 10, "old"), (2, 20, "x"), (3, 30, "y"), (5, 50, "z")]
    assert rejected(connection, plan) == [
        (2, b"line 2", [f"{RULE}=x"]),
        (3, b"line 3", [f"{RULE}=x"]),
        (4, b"line 4", [f"{RULE}=x"]),
        (5, b"line 5", ["key.duplicate=4", f"{RULE}=x"]),
    ]
    if lineage:
        marks = connection.execute("SELECT _import_id, _line FROM things ORDER BY id").fetchall()
        assert marks == [(99, 1), (99, 2), (99, 3), (plan.import_id, 6)]
    for table in ("before_images", "unique_values"):
        assert connection.execute(f"SELECT count(*) FROM sluice.{table}").fetchone() == (0,)


def test_skipped_rows_count_as_rejected(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(1, 10, "old")])
    free_code(connection)
    plan = things_plan(new_import(connection))
    counts = load(connection, plan, {2: (1, 1, "x"), 3: (2, 2, "x"), 4: (3, 3, None), 5: (4, 3, None)})

    adjustment = flag(connection, plan, rule(), rule("amount", Severity.WARNING))

    assert counts + adjustment.counts == Counts(records=4, loaded=2, rejected=2)
    assert adjustment.errors == {RULE: 2}
    assert adjustment.warnings == {RULE: 2}
    assert things(connection) == [(1, 10, "old"), (3, 3, None), (4, 3, None)]


def test_a_row_that_breaks_two_rules_is_one_row_with_two_errors(connection: Connection) -> None:
    create_things(connection, lineage=True)
    free_code(connection)
    plan = things_plan(new_import(connection))
    load(connection, plan, {2: (1, 5, "x"), 3: (2, 5, "x"), 4: (3, 6, "x")})

    adjustment = flag(connection, plan, rule(), rule("amount"))

    assert adjustment == Adjustment(Counts(loaded=-3, rejected=3), {RULE: 5}, by_rule={0: 3, 1: 2})
    assert [errors for _, _, errors in rejected(connection, plan)] == [
        [f"{RULE}=5", f"{RULE}=x"],
        [f"{RULE}=5", f"{RULE}=x"],
        [f"{RULE}=x"],
    ]
    categories = connection.execute(
        'SELECT DISTINCT category, "column", message FROM sluice.row_errors ORDER BY 2'
    ).fetchall()
    assert categories == [("duplicate", "amount", "amount is not unique"), ("duplicate", "code", "code is not unique")]


def test_atomic_imports_take_them_out_of_staging(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(3, 1, "old")])
    plan = things_plan(new_import(connection), Mode.OVERWRITE)
    with connection.transaction():
        staging = create_staging(connection, plan)
    # The first row with key 1 breaks the rule, so that the second holds it.
    counts = load(connection, staging, {2: (1, 1, "x"), 3: (1, 2, "y"), 4: (2, 3, "x"), 5: (3, 3, "z")})

    with connection.transaction():
        counts += flag_duplicates(connection, staging, [rule()], read_raw).counts
        counts += publish(connection, plan, raw_of).counts

    assert counts == Counts(records=4, loaded=1, updated=1, rejected=2)
    assert things(connection) == [(1, 2, "y"), (3, 3, "z")]


def test_nothing_to_find_is_nothing(connection: Connection) -> None:
    create_things(connection, lineage=False)
    plan = things_plan(new_import(connection), Mode.APPEND, lineage=False)
    load(connection, plan, {2: (1, 1, "x"), 3: (2, 2, "y")})

    assert flag(connection, plan, rule()) == Adjustment()


def test_without_key_and_lineage_rows_cannot_be_found_again(connection: Connection) -> None:
    connection.execute("CREATE TABLE things (id int, amount bigint, code text)")
    plan = things_plan(new_import(connection), Mode.APPEND, lineage=False)
    load(connection, plan, {2: (1, 1, "x"), 3: (2, 2, "x")})

    with pytest.raises(TargetError, match="lineage"):
        flag(connection, plan, rule())
    assert len(things(connection)) == 2


def test_a_row_that_others_refer_to_by_now_cannot_be_taken_out(connection: Connection) -> None:
    create_things(connection, lineage=True)
    free_code(connection)
    connection.execute("CREATE TABLE notes (thing int REFERENCES things)")
    plan = things_plan(new_import(connection))
    load(connection, plan, {2: (1, 1, "x"), 3: (2, 2, "x")})
    connection.execute("INSERT INTO notes VALUES (1)")

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        flag(connection, plan, rule())


def test_a_put_back_row_is_the_same_in_every_type(connection: Connection) -> None:
    connection.execute(
        """
        CREATE TABLE things (
            id int CONSTRAINT things_key PRIMARY KEY, amount bigint, code text, f float8, n numeric, d date,
            ts timestamptz, u uuid, j jsonb, b bytea, a text[], r int4range, i interval, c char(5),
            g int GENERATED ALWAYS AS (id * 2) STORED, s int GENERATED ALWAYS AS IDENTITY);
        INSERT INTO things (id, amount, code, f, n, d, ts, u, j, b, a, r, i, c) VALUES
            (1, 1, 'a', 0.1, 1.50, '0001-01-01', '2020-01-01 01:02:03.000004+02', gen_random_uuid(),
             '{"a": [1, null]}', '\\x00ff', '{a,NULL,"b c"}', '[1,5)', '1 day 2 hours', 'ab'),
            (2, 2, NULL, 'NaN', 'Infinity', 'infinity', '-infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL)
        """
    )
    before = connection.execute("SELECT t::text FROM things t ORDER BY id").fetchall()
    plan = things_plan(new_import(connection), Mode.OVERWRITE, lineage=False)
    assert load(connection, plan, {2: (1, 7, "x"), 3: (2, 8, "x")}).updated == 2
    assert connection.execute("SELECT t::text FROM things t ORDER BY id").fetchall() != before

    flag(connection, plan, rule())

    assert connection.execute("SELECT t::text FROM things t ORDER BY id").fetchall() == before
