"""Atomic imports end as progressive ones do; a replaced table can be had back; staging is invisible and goes away."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from sluice.load import load_chunk
from sluice.loadplan import LoadPlan
from sluice.model import Counts, Mode, OnDuplicate, TableName
from sluice.publish import Adjustment, create_staging, drop_staging, publish, staging_plan
from tests.postgres.load_model import (
    Connection,
    Model,
    Row,
    chunk_of,
    codes_of,
    counts_of,
    create_things,
    new_import,
    raw_of,
    rows_table,
    things,
    things_plan,
)


def stage(conn: Connection, plan: LoadPlan, rows: dict[int, Row], size: int = 7) -> tuple[Counts, dict[int, str]]:
    """Create the staging table and load `rows` into it, `size` at a time."""
    with conn.transaction():
        staging = create_staging(conn, plan)
    lines = list(rows)
    counts, codes = Counts(), dict[int, str]()
    for start in range(0, len(lines), size):
        part = lines[start : start + size]
        with conn.transaction():
            outcome = load_chunk(conn, staging, chunk_of(rows_table(rows[line] for line in part), part))
        counts += counts_of(outcome)
        codes |= codes_of(outcome)
    return counts, codes


def publish_all(conn: Connection, plan: LoadPlan) -> Adjustment:
    with conn.transaction():
        return publish(conn, plan, raw_of)


def saved(conn: Connection, import_id: int) -> dict[int, str]:
    rows = conn.execute(
        "SELECT line, code FROM sluice.row_errors JOIN sluice.rejected_rows USING (import_id, line)"
        " WHERE import_id = %s AND raw = convert_to('line ' || line, 'UTF8') AND byte_offset = line * 10",
        [import_id],
    ).fetchall()
    return dict(rows)


def code(dice: random.Random, mode: Mode) -> str | None:
    """A value for the second unique column; see test_load_model.py for mode overwrite."""
    return None if mode is Mode.OVERWRITE else dice.choice([None, f"c{dice.randrange(40)}"])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lineage", [True, False])
@pytest.mark.parametrize(
    ("mode", "on_duplicate"),
    [
        (Mode.INSERT, OnDuplicate.SKIP),
        (Mode.INSERT, OnDuplicate.REJECT),
        (Mode.OVERWRITE, OnDuplicate.SKIP),
        (Mode.REPLACE, OnDuplicate.SKIP),
    ],
)
def test_atomic_ends_as_the_rules_say(
    connection: Connection, mode: Mode, on_duplicate: OnDuplicate, lineage: bool, seed: int
) -> None:
    dice = random.Random(seed)
    share = dice.choice([0, 0.4])
    before = {key: (key, dice.choice([None, 1, 2]), None) for key in range(40) if dice.random() < share}
    rows = {i: (dice.randrange(40), dice.choice([None, -1, 1, 2]), code(dice, mode)) for i in range(2, 52)}
    create_things(connection, lineage=lineage, rows=before.values())
    plan = things_plan(new_import(connection), mode, on_duplicate, lineage=lineage)
    model = Model(
        things_plan(0, Mode.INSERT) if mode is Mode.REPLACE else plan, {} if mode is Mode.REPLACE else dict(before)
    )
    model.load(rows)

    counts, codes = stage(connection, plan, rows)
    assert things(connection) == sorted(before.values())
    adjustment = publish_all(connection, plan)

    assert counts + adjustment.counts == model.counts
    # A row bad twice over, by a constraint and by its key, may be told the first reason at once.
    early = {line: "db.check_violation" for line in codes if model.codes[line] == "key.duplicate"}
    assert all(rows[line][1] == -1 for line in early)
    assert codes | saved(connection, plan.import_id) == model.codes | early
    assert sum(adjustment.errors.values()) == adjustment.counts.rejected == len(saved(connection, plan.import_id))
    assert things(connection) == sorted(model.table.values())
    assert connection.execute("SELECT to_regclass(%s)", [str(staging_plan(plan).into)]).fetchone() == (None,)
    images = connection.execute("SELECT op, image ->> 'id' FROM sluice.before_images").fetchall()
    if mode is Mode.REPLACE:
        assert sorted(images) == sorted(("delete", str(key)) for key in before)
    else:
        assert len(images) == model.counts.updated
    if lineage:
        marks = connection.execute("SELECT count(*) FROM things WHERE _import_id = %s AND _line >= 2", [plan.import_id])
        assert marks.fetchone() == (model.counts.loaded + model.counts.updated,)


def test_what_only_the_target_knows_comes_out_at_publication(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(1, 1, "one")])
    connection.execute(
        """
        CREATE TABLE owners (id bigint PRIMARY KEY);
        INSERT INTO owners VALUES (1), (2);
        ALTER TABLE things ADD FOREIGN KEY (amount) REFERENCES owners;
        CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.id = 5 THEN RAISE 'not five'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER judge BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION judge()
        """
    )
    plan = things_plan(new_import(connection))
    rows = {
        2: (2, 9, None),
        3: (3, 1, "one"),
        4: (4, 2, "x"),
        5: (5, 1, None),
        6: (6, 1, "x"),
        7: (7, -1, None),
        8: (1, 1, "y"),
    }

    counts, codes = stage(connection, plan, rows)
    adjustment = publish_all(connection, plan)

    assert codes == {}
    assert saved(connection, plan.import_id) == {
        2: "db.foreign_key_violation",
        3: "db.unique_violation",
        5: "db.refused",
        6: "db.unique_violation",
        7: "db.check_violation",
    }
    assert adjustment.errors == {
        "db.foreign_key_violation": 1,
        "db.unique_violation": 2,
        "db.refused": 1,
        "db.check_violation": 1,
    }
    assert counts + adjustment.counts == Counts(records=7, loaded=1, skipped=1, rejected=5)
    value = connection.execute('SELECT "column", value FROM sluice.row_errors WHERE line = 2').fetchone()
    assert value == ("amount", "9")


def test_staging_leaves_out_what_the_import_does_not_fill(connection: Connection) -> None:
    connection.execute(
        """
        CREATE TABLE t (
            id bigserial PRIMARY KEY, name text NOT NULL, state text NOT NULL DEFAULT 'new',
            size int, twice int GENERATED ALWAYS AS (size * 2) STORED CHECK (twice < 100),
            CHECK (state <> 'new' OR size > 0))
        """
    )
    plan = LoadPlan(new_import(connection), TableName("public", "t"), ("name", "size"), mode=Mode.APPEND, lineage=False)
    with connection.transaction():
        staging = create_staging(connection, plan)
        table = pa.table({"name": ["a", None, "c", "d"], "size": [1, 1, 50, 0]})
        outcome = load_chunk(connection, staging, chunk_of(table))
        assert codes_of(outcome) == {3: "db.not_null_violation", 4: "db.check_violation"}

    adjustment = publish_all(connection, plan)

    assert adjustment == Adjustment(Counts(loaded=-1, rejected=1), {"db.check_violation": 1})
    assert saved(connection, plan.import_id) == {5: "db.check_violation"}
    assert connection.execute("SELECT name, state, size, twice FROM t").fetchall() == [("a", "new", 1, 2)]


def test_publication_is_undone_with_its_transaction(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(1, 1, None)])
    plan = things_plan(new_import(connection), Mode.REPLACE)
    stage(connection, plan, {2: (7, 7, None)})

    with connection.transaction(force_rollback=True):
        publish(connection, plan, raw_of)

    assert things(connection) == [(1, 1, None)]
    publish_all(connection, plan)
    assert things(connection) == [(7, 7, None)]


def test_a_table_that_others_refer_to_is_emptied_row_by_row(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(1, 1, None), (2, 2, None)])
    connection.execute(
        "CREATE TABLE notes (thing int REFERENCES things ON DELETE CASCADE); INSERT INTO notes VALUES (1)"
    )
    plan = things_plan(new_import(connection), Mode.REPLACE)
    stage(connection, plan, {2: (2, 9, None)})

    publish_all(connection, plan)

    assert things(connection) == [(2, 9, None)]
    images = connection.execute("SELECT line, key, image -> 'amount' FROM sluice.before_images ORDER BY key").fetchall()
    assert images == [(None, [1], 1), (None, [2], 2)]


def test_a_row_that_others_refer_to_cannot_be_replaced(connection: Connection) -> None:
    create_things(connection, lineage=True, rows=[(1, 1, None)])
    connection.execute("CREATE TABLE notes (thing int REFERENCES things); INSERT INTO notes VALUES (1)")
    plan = things_plan(new_import(connection), Mode.REPLACE)
    stage(connection, plan, {2: (2, 9, None)})

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        publish_all(connection, plan)

    assert things(connection) == [(1, 1, None)]


def test_dropping_staging_twice_is_fine(connection: Connection) -> None:
    create_things(connection, lineage=False)
    plan = things_plan(new_import(connection))
    create_staging(connection, plan)
    drop_staging(connection, plan.import_id)
    drop_staging(connection, plan.import_id)
    found: Any = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'staging%'").fetchone()
    assert found == (0,)
