"""`load_chunk` against the rules in plain Python, however the file is cut."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from sluice.load import load_chunk
from sluice.model import Counts, Mode, OnDuplicate
from tests.postgres.load_model import (
    Connection,
    Model,
    Row,
    chunk_of,
    codes_of,
    counts_of,
    create_things,
    new_import,
    rows_table,
    things,
    things_plan,
)

WAYS = [
    (Mode.INSERT, OnDuplicate.SKIP),
    (Mode.INSERT, OnDuplicate.REJECT),
    (Mode.OVERWRITE, OnDuplicate.SKIP),
]


def random_row(dice: random.Random, keys: int, *, codes: bool) -> Row:
    code = dice.choice([None, f"c{dice.randrange(keys)}"]) if codes else None
    return (dice.randrange(keys), dice.choice([None, -1, 1, 1, 2, 3]), code)


def load_in_cuts(conn: Connection, plan: Any, rows: dict[int, Row], cuts: list[int]) -> tuple[Counts, dict[int, str]]:
    lines = list(rows)
    counts = Counts()
    codes: dict[int, str] = {}
    optimistic = True
    for start, end in pairwise([0, *cuts, len(lines)]):
        part = lines[start:end]
        with conn.transaction():
            outcome = load_chunk(
                conn, plan, chunk_of(rows_table(rows[line] for line in part), part), optimistic=optimistic
            )
        optimistic = not outcome.collided
        counts += counts_of(outcome)
        codes |= codes_of(outcome)
        assert [row.line for row in outcome.rejected] == sorted(codes_of(outcome))
    return counts, codes


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("lineage", [True, False])
@pytest.mark.parametrize(("mode", "on_duplicate"), WAYS)
def test_every_cut_gives_what_the_rules_say(
    connection: Connection, mode: Mode, on_duplicate: OnDuplicate, lineage: bool, seed: int
) -> None:
    dice = random.Random(seed)
    keys = dice.choice([3, 20, 200])
    before = {key: (key, dice.choice([None, 1, 2]), None) for key in range(keys) if dice.random() < 0.4}
    # The values of a second unique column are fought for by rows of different keys, in the order of the file. Not in
    # mode overwrite: there a value that another row of the same chunk gives up is free at once.
    rows = {2 * i + 2: random_row(dice, keys, codes=mode is Mode.INSERT) for i in range(dice.choice([1, 10, 60]))}
    create_things(connection, lineage=lineage, rows=before.values())
    binary = seed % 2 == 0  # how the rows are sent changes nothing
    plan = things_plan(0, mode, on_duplicate, lineage=lineage)
    model = Model(plan, dict(before))
    model.load(rows)

    for _ in range(3):
        connection.execute("TRUNCATE public.things, sluice.imports CASCADE")
        for row in before.values():
            connection.execute("INSERT INTO public.things (id, amount, code) VALUES (%s, %s, %s)", row)
        plan = things_plan(new_import(connection), mode, on_duplicate, lineage=lineage, binary=binary)
        cuts = sorted(dice.sample(range(1, len(rows)), min(dice.randrange(4), len(rows) - 1)))

        counts, codes = load_in_cuts(connection, plan, rows, cuts)

        assert counts == model.counts
        assert codes == model.codes
        assert things(connection) == sorted(model.table.values())
        query = "SELECT count(*) FROM sluice.before_images WHERE import_id = %s"
        images = connection.execute(query, [plan.import_id]).fetchone()
        assert images == (model.counts.updated,)
