"""The four modes and both ways to commit, twice in a row; how a file is cut changes nothing."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sluice.codes import Category
from sluice.errors import UsageError
from sluice.model import Commit, Counts, Mode
from tests.postgres.import_bench import APPEND, ITEMS, Bench, counts_of

HEADER = ["id", "amount", "note"]
FIRST = [HEADER, *([n, f"{n}.50", f"first {n}"] for n in range(1, 101)), [50, "0.00", "again"], ["x", "1.00", "bad"]]
#: 51-100 as they were, 101-140 changed (41-50 of the first file among them), 141-160 new.
SECOND = [
    HEADER,
    *([n, f"{n}.50", f"first {n}"] for n in range(51, 101)),
    *([n, f"{n}.99", "changed"] for n in range(41, 51)),
    *([n, f"{n}.50", "new"] for n in range(141, 161)),
    [141, "7.00", "twice"],
    [1, "many", "bad"],
]

#: As the dataset would make it.
TABLE = "id bigint PRIMARY KEY, amount numeric(8,2), note text, _import_id bigint, _line bigint"

COMMITS = pytest.mark.parametrize("commit", list(Commit))


def load_both(bench: Bench, commit: Commit, mode: Mode) -> Counts:
    bench.dataset(ITEMS if mode is not Mode.APPEND else APPEND)
    first = bench.run(bench.file("1.csv", FIRST), dataset="items", mode=mode, commit=commit, chunk_bytes=300)
    if mode is Mode.APPEND:
        assert counts_of(first) == Counts(102, loaded=101, rejected=1)
    else:
        assert counts_of(first) == Counts(102, loaded=100, rejected=2)
        assert bench.errors() == [(102, "id", "key.duplicate", "50"), (103, "id", "type.bigint", "x")]
    second = bench.run(bench.file("2.csv", SECOND), dataset="items", mode=mode, commit=commit, chunk_bytes=300)
    assert bench.leftovers() == {}
    assert [status for _, status, _ in bench.imports()] == ["completed_with_rejects"] * 2
    return counts_of(second)


@COMMITS
def test_insert_leaves_rows_that_are_there_alone(bench: Bench, commit: Commit) -> None:
    assert load_both(bench, commit, Mode.INSERT) == Counts(82, loaded=20, skipped=60, rejected=2)

    assert bench.rows(columns="id, amount::text, note, _import_id") == [
        *((n, f"{n}.50", f"first {n}", 1) for n in range(1, 101)),
        *((n, f"{n}.50", "new", 2) for n in range(141, 161)),
    ]
    assert bench.query("SELECT count(*) FROM sluice.before_images") == [(0,)]


@COMMITS
def test_insert_may_reject_rows_that_are_there(bench: Bench, commit: Commit) -> None:
    bench.dataset(f"{ITEMS}on_duplicate: reject\n")
    bench.run(bench.file("1.csv", FIRST), dataset="items", commit=commit, chunk_bytes=300)

    report = bench.run(bench.file("2.csv", SECOND), dataset="items", commit=commit, chunk_bytes=300)

    assert counts_of(report) == Counts(82, loaded=20, rejected=62)
    assert report.errors_by_rule == {"key.duplicate": 61, "type.numeric": 1}
    assert report.errors_by_category[Category.DUPLICATE] == 61


@COMMITS
def test_overwrite_updates_what_differs_and_keeps_what_was(bench: Bench, commit: Commit) -> None:
    assert load_both(bench, commit, Mode.OVERWRITE) == Counts(82, loaded=20, updated=10, unchanged=50, rejected=2)

    assert bench.rows(columns="id, amount::text, note, _import_id") == [
        *((n, f"{n}.50", f"first {n}", 1) for n in range(1, 41)),
        *((n, f"{n}.99", "changed", 2) for n in range(41, 51)),
        *((n, f"{n}.50", f"first {n}", 1) for n in range(51, 101)),
        *((n, f"{n}.50", "new", 2) for n in range(141, 161)),
    ]
    images = bench.query("SELECT import_id, op, key, image FROM sluice.before_images ORDER BY key")
    assert images == [
        (2, "update", [n], {"id": n, "amount": n + 0.5, "note": f"first {n}", "_import_id": 1, "_line": n + 1})
        for n in range(41, 51)
    ]


@COMMITS
def test_append_takes_every_good_row(bench: Bench, commit: Commit) -> None:
    assert load_both(bench, commit, Mode.APPEND) == Counts(82, loaded=81, rejected=1)

    assert bench.query("SELECT _import_id, count(*) FROM items GROUP BY 1 ORDER BY 1") == [(1, 101), (2, 81)]


def test_replace_swaps_the_content(bench: Bench) -> None:
    assert load_both(bench, Commit.ATOMIC, Mode.REPLACE) == Counts(82, loaded=80, rejected=2)

    assert len(bench.rows()) == 80
    assert bench.query("SELECT DISTINCT _import_id FROM items") == [(2,)]
    assert bench.query("SELECT op, count(*) FROM sluice.before_images GROUP BY 1") == [("delete", 100)]


def test_replace_is_never_progressive(bench: Bench) -> None:
    bench.dataset()
    with pytest.raises(UsageError, match="one transaction"):
        bench.run(bench.file("1.csv", FIRST), dataset="items", mode="replace", commit="progressive")
    assert bench.imports() == []
    bench.dataset(f"{ITEMS}commit: progressive\n")
    bench.run(bench.file("1.csv", FIRST), dataset="items", mode="replace")
    assert bench.query("SELECT plan ->> 'commit' FROM sluice.imports") == [("atomic",)]


RULES = [
    {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 1}},
    {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "note", "max_value": 8}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "note"}},
    {
        "type": "expect_column_values_to_not_match_regex",
        "kwargs": {"column": "note", "regex": "7"},
        "severity": "warning",
    },
    {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "amount", "min_value": 0, "max_value": 1000}},
]


def messy(seed: int, rows: int) -> str:
    """Hostile CSV: line ends of three kinds, records over several lines, blank lines, every kind of bad row."""
    pick = random.Random(seed)
    lines = ["id,amount,note"]
    for number in range(rows):
        note = pick.choice(
            [f"note {number % 700}", f'"two\nlines {number % 60}"', f'"a ""quoted"" {number}"', "", '""']
        )
        row = f"{pick.randrange(rows)},{pick.randrange(-500, 10_000) / 100:.2f},{note}"
        if pick.random() < 0.1:
            row = pick.choice(
                [f"{number}", f"{row},more", f'{number},1.5,st"ray', f"x{row}", "", f"{number},1,\xff", " "]
            )
        lines.append(row)
    return pick.choice(["\n", "\r\n"]).join(lines)


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.OVERWRITE, Mode.REPLACE])
@COMMITS
def test_how_a_file_is_cut_changes_nothing(bench: Bench, commit: Commit, mode: Mode) -> None:
    if (mode, commit) == (Mode.REPLACE, Commit.PROGRESSIVE):
        pytest.skip("replace is atomic")
    content = messy(7, 3000).encode("latin-1").replace(b"\xff", b"\xff\xfe")
    states = []
    for size in (1_000, 10_000, 16 << 20):
        table = f"cut_{size}.items"
        bench.dataset(ITEMS.replace("public.items", table), RULES)
        bench.query(f"CREATE SCHEMA cut_{size}")
        bench.query(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, amount numeric(8,2), note text CHECK (note <> 'note 3'),"
            " _import_id bigint, _line bigint)"
        )
        bench.query(f"INSERT INTO {table} SELECT n, n, 'old ' || n FROM generate_series(1, 3000, 17) n")
        source = bench.file("messy.csv", content)
        report = bench.run(source, dataset="items", mode=mode, commit=commit, chunk_bytes=size, encoding="utf-8")
        state = bench.end_state(table, report.import_id)
        del state["images"]
        state["errors"] = [
            (*error[:4], error[4].replace(f"staging_{report.import_id}", "items"), error[5])
            for error in state["errors"]
        ]
        chunks = "SELECT count(*) > %s FROM sluice.chunks WHERE import_id = %s AND byte_start >= 0"
        assert bench.query(chunks, [len(content) // size // 2, report.import_id]) == [(True,)]
        states.append(state)

    for name, expected in states[2].items():
        assert states[0][name] == expected, name
        assert states[1][name] == expected, name
    (counts,) = states[0]["counts"]
    assert counts[0] > 2500
    assert {"csv.column_count", "csv.encoding", "csv.stray_quote", "db.check_violation", "key.duplicate"} < set(
        counts[7]
    )


@pytest.mark.parametrize(("commit", "most"), [(Commit.PROGRESSIVE, 10), (Commit.ATOMIC, 0)])
def test_rows_go_in_by_key_and_a_small_file_as_it_is(bench: Bench, commit: Commit, most: int) -> None:
    bench.dataset(ITEMS)
    ids = random.Random(1).sample(range(1000), 200)
    file = bench.file("items.csv", [HEADER, *([n, "1", ""] for n in ids)])

    bench.run(file, dataset="items", commit=commit)
    assert [n for (n,) in bench.query("SELECT id FROM items ORDER BY ctid")] == ids

    bench.query("DROP TABLE items")
    bench.run(file, dataset="items", commit=commit, chunk_bytes=700, force=True)
    lying = bench.query("SELECT id, _line - 2 FROM items ORDER BY ctid")
    assert [ids[at] for _, at in lying] == [n for n, _ in lying]
    assert sum(before > after for (before, _), (after, _) in pairwise(lying)) <= most


def test_rows_the_table_numbers_are_numbered_in_the_order_of_the_file(bench: Bench) -> None:
    bench.query(f"CREATE TABLE items ({TABLE}, number serial)")
    bench.dataset(ITEMS)
    ids = random.Random(1).sample(range(1000), 200)

    bench.run(bench.file("1.csv", [HEADER, *([n, "1", ""] for n in ids)]), dataset="items", chunk_bytes=700)

    assert [n for (n,) in bench.query("SELECT id FROM items ORDER BY number")] == ids


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.OVERWRITE, Mode.REPLACE])
def test_sent_by_key_or_not_the_end_is_the_same(bench: Bench, mode: Mode) -> None:
    """Some chunks go straight in, some hold keys that earlier rows have."""
    bench.dataset(ITEMS)
    dice = random.Random(2)
    rows = [[dice.randrange(3000), f"{dice.randrange(10_000)}.5", "x"] for _ in range(500)]
    file = bench.file("items.csv", [HEADER, *rows])
    commit = Commit.ATOMIC if mode is Mode.REPLACE else Commit.PROGRESSIVE
    ends = []
    for chunk_bytes in (None, 300):
        bench.query(
            "DROP TABLE IF EXISTS items; TRUNCATE sluice.imports, sluice.before_images, sluice.rejected_rows,"
            " sluice.row_errors RESTART IDENTITY CASCADE;"
            f" CREATE TABLE items ({TABLE}); INSERT INTO items (id) SELECT generate_series(1, 100)"
        )
        bench.run(file, dataset="items", mode=mode, commit=commit, chunk_bytes=chunk_bytes)
        ends.append(bench.end_state("items"))

    assert ends[0] == ends[1]
    assert ends[0]["errors"]
