"""Too many bad rows, and rules that only the whole file can break."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sluice.codes import Category
from sluice.errors import ExpectationFailed, ThresholdExceeded
from sluice.model import Commit, Counts
from tests.postgres.import_bench import ITEMS, Bench, assert_said, counts_of

HEADER = ["id", "amount", "note"]
COMMITS = pytest.mark.parametrize("commit", list(Commit))
CHUNK = 500


def items(bench: Bench, good: int, bad: int, *, bad_first: bool = False) -> str:
    rows = [[n, f"{n}.25", f"note {n}"] for n in range(good)]
    refused = [["x", "0", "bad"] for _ in range(bad)]
    return bench.file("items.csv", [HEADER, *(refused + rows if bad_first else rows + refused)])


@COMMITS
@pytest.mark.parametrize(
    "options",
    [{"max_rejects": "9"}, {"strict": True}, {"max_rejects": "0"}, {"max_rejects": "9%"}, {"max_rejects": "4.99%"}],
    ids=str,
)
def test_one_more_than_allowed_fails(bench: Bench, commit: Commit, options: dict[str, Any]) -> None:
    bench.dataset()
    bench.query(
        "CREATE TABLE items (id bigint PRIMARY KEY, amount numeric(8,2), note text, _import_id bigint, _line bigint)"
    )
    bench.query("INSERT INTO items VALUES (0, 1, 'was there')")
    source = items(bench, 90, 10)

    with pytest.raises(ThresholdExceeded, match="rows were rejected; allowed are") as caught:
        bench.run(source, dataset="items", mode="overwrite", commit=commit, chunk_bytes=CHUNK, **options)

    assert caught.value.import_id == 1
    assert [status for _, status, _ in bench.imports()] == ["failed"]
    if commit is Commit.ATOMIC:
        assert bench.rows(columns="id, note") == [(0, "was there")]
    report = bench.sluice("show", 1)
    assert "Failed" in report.stdout


@COMMITS
@pytest.mark.parametrize("limit", ["10", "10%", "11", "100%"])
def test_as_many_as_allowed_pass(bench: Bench, commit: Commit, limit: str) -> None:
    bench.dataset()

    report = bench.run(items(bench, 90, 10), dataset="items", commit=commit, max_rejects=limit, chunk_bytes=CHUNK)

    assert counts_of(report) == Counts(100, loaded=90, rejected=10)


@COMMITS
def test_the_import_stops_as_soon_as_the_limit_is_passed(bench: Bench, commit: Commit) -> None:
    bench.dataset()

    with pytest.raises(ThresholdExceeded):
        bench.run(
            items(bench, 2000, 20, bad_first=True), dataset="items", commit=commit, strict=True, chunk_bytes=CHUNK
        )

    assert bench.query("SELECT count(*) FROM sluice.chunks") == [(1,)]
    assert bench.query("SELECT count(*) < 50 FROM items") == [(True,)]


@COMMITS
def test_trying_again_gets_no_further_than_the_limit(bench: Bench, commit: Commit) -> None:
    bench.dataset()
    source = items(bench, 2000, 20, bad_first=True)

    for _ in range(3):
        with pytest.raises(ThresholdExceeded):
            bench.run(source, dataset="items", commit=commit, strict=True, chunk_bytes=CHUNK)

    assert bench.query("SELECT count(*) FROM sluice.chunks") == [(1,)]
    assert bench.imports() == [(1, "failed", 3)]


def test_the_program_says_which_limit_was_passed(bench: Bench) -> None:
    done = bench.sluice("import", "samples/leads.csv", "--dataset", "leads", "--strict")

    assert_said(done, 1, "rows were rejected", "--max-rejects", "sluice rejects")
    assert bench.query("SELECT count(*) FROM leads") == [(0,)]


MOSTLY = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "amount", "min_value": 10, "mostly": 0.9},
}


@COMMITS
def test_mostly_is_a_share_of_the_whole_file(bench: Bench, commit: Commit) -> None:
    """The first chunks hold nothing but bad rows; the file as a whole is within its tolerance."""
    bench.dataset(ITEMS, [MOSTLY])
    within = bench.file("a.csv", [HEADER, *([n, n, "x" * 20] for n in range(100))])
    beyond = bench.file(
        "b.csv", [HEADER, *([n, n - 1, "x" * 20] for n in range(1000, 1100)), *([n, n, "y"] for n in range(-12, 0))]
    )

    report = bench.run(within, dataset="items", commit=commit, chunk_bytes=CHUNK)
    assert counts_of(report) == Counts(100, loaded=90, rejected=10)

    with pytest.raises(ExpectationFailed, match="amount"):
        bench.run(beyond, dataset="items", commit=commit, chunk_bytes=CHUNK)
    assert [status for _, status, _ in bench.imports()] == ["completed_with_rejects", "failed"]
    # A progressive import keeps what it committed; an atomic one leaves nothing.
    assert len(bench.rows()) == (90 if commit is Commit.ATOMIC else 190)
    assert bench.query("SELECT records, rejected FROM sluice.imports WHERE id = 2") == [(112, 12)]


@COMMITS
@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_rules_about_the_table_judge_the_file(bench: Bench, commit: Commit, severity: str) -> None:
    count = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 200}, "severity": severity}
    mean = {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "amount", "min_value": 1000},
        "severity": severity,
    }
    bench.dataset(ITEMS, [count, mean])
    source = items(bench, 100, 0)

    if severity == "critical":
        with pytest.raises(ExpectationFailed, match="2 of its rules") as caught:
            bench.run(source, dataset="items", commit=commit, chunk_bytes=CHUNK)
        assert "expect_table_row_count_to_be_between" in str(caught.value)
        assert "expect_column_mean_to_be_between (amount)" in str(caught.value)
        assert len(bench.rows()) == (0 if commit is Commit.ATOMIC else 100)
        return
    report = bench.run(source, dataset="items", commit=commit, chunk_bytes=CHUNK)
    assert counts_of(report) == Counts(100, loaded=100)
    assert bench.query("SELECT suite_result -> 'success' FROM sluice.imports") == [(False,)]


@COMMITS
@pytest.mark.parametrize("severity", ["warning", "info"])
def test_rows_with_warnings_are_loaded_and_counted(bench: Bench, commit: Commit, severity: str) -> None:
    short = {
        "type": "expect_column_value_lengths_to_be_between",
        "kwargs": {"column": "note", "max_value": 6},
        "severity": severity,
    }
    bench.dataset(ITEMS, [short])

    report = bench.run(items(bench, 100, 2), dataset="items", commit=commit, chunk_bytes=CHUNK)

    assert counts_of(report) == Counts(102, loaded=100, rejected=2)
    assert report.warnings_by_rule == {"rule.expect_column_value_lengths_to_be_between": 90}
    assert report.errors_by_rule == {"type.bigint": 2}


UNIQUE = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "note"}}


@COMMITS
@pytest.mark.parametrize("mode", ["insert", "overwrite", "replace"])
def test_every_member_of_a_group_of_equal_values_is_rejected(bench: Bench, commit: Commit, mode: str) -> None:
    if (mode, commit) == ("replace", Commit.PROGRESSIVE):
        pytest.skip("replace is atomic")
    bench.dataset(
        ITEMS, [UNIQUE, {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}]
    )
    bench.query(
        "CREATE TABLE items (id bigint PRIMARY KEY, amount numeric(8,2), note text, _import_id bigint, _line bigint)"
    )
    bench.query("INSERT INTO items VALUES (1, 1.25, 'was there'), (2, 2.25, 'same as ever'), (7, 7.25, 'c')")
    pick = random.Random(3)
    filler = [[n, f"{n}.25", f"{pick.random()}"] for n in range(100, 160)]
    rows = [
        [1, "1.25", "a"],  # line 2: would update, or be skipped; equal to line 66
        [2, "2.25", "same as ever"],  # line 3: unchanged, or skipped
        [3, "-1", "b"],  # line 4: rejected for its amount, and as a member
        [4, "x", "d"],  # line 5: did not cast: no member, as in Great Expectations
        *filler,  # lines 6-65
        [5, "5.25", "a"],  # line 66
        [6, "6.25", "b"],  # line 67
        [7, "7.25", "c"],  # line 68: unchanged, or skipped; equal to line 69
        [8, "8.25", "c"],  # line 69
        [9, "9.25", "d"],  # line 70: alone
        [9, "9.50", "e"],  # line 71: a duplicate of the key
        [10, "1.25", ""],  # lines 72, 73: NULLs are not compared
        [11, "1.25", ""],
    ]
    source = bench.file("items.csv", [HEADER, *rows])

    report = bench.run(source, dataset="items", mode=mode, commit=commit, chunk_bytes=CHUNK)

    unique = "rule.expect_column_values_to_be_unique"
    assert bench.errors(columns="line, code") == [
        (2, unique), (4, "rule.expect_column_values_to_be_between"), (4, unique), (5, "type.numeric"),
        (66, unique), (67, unique), (68, unique), (69, unique), (71, "key.duplicate"),
    ]  # fmt: skip
    kinds = {
        "insert": Counts(72, loaded=63, skipped=1, rejected=8),
        "overwrite": Counts(72, loaded=63, unchanged=1, rejected=8),
        "replace": Counts(72, loaded=64, rejected=8),
    }
    assert counts_of(report) == kinds[mode]
    assert report.errors_by_rule[unique] == 6
    assert report.errors_by_category[Category.DUPLICATE] == 7
    there = [(1, "was there"), (2, "same as ever"), (7, "c")] if mode != "replace" else [(2, "same as ever")]
    assert bench.query("SELECT id, note FROM items WHERE id < 100 ORDER BY 1") == sorted(
        [*there, (9, "d"), (10, None), (11, None)]
    )
    assert dict(bench.rejected())[68] == b"7,7.25,c"
    assert bench.leftovers() == {}


@COMMITS
def test_rules_on_uniqueness_begin_with_chunks_that_have_nothing_to_compare(bench: Bench, commit: Commit) -> None:
    """Of the first rule the first chunk has only NULLs, the last one only values that did not cast."""
    pair = {
        "type": "expect_compound_columns_to_be_unique",
        "kwargs": {"column_list": ["amount", "note"], "ignore_row_if": "any_value_is_missing"},
    }
    bench.dataset(ITEMS, [UNIQUE, pair, {**UNIQUE, "kwargs": {"column": "amount"}, "severity": "warning"}])
    rows = [
        *([n, n, ""] for n in range(50)),
        *([n, n, f"n{n % 90}"] for n in range(50, 150)),
        *(["x", 1, "z"] for _ in range(50)),
    ]

    report = bench.run(bench.file("items.csv", [HEADER, *rows]), dataset="items", commit=commit, chunk_bytes=CHUNK)

    # n % 90: 50..59 come again as 140..149.
    assert report.errors_by_rule == {"rule.expect_column_values_to_be_unique": 20, "type.bigint": 50}
    assert counts_of(report) == Counts(200, loaded=130, rejected=70)
