"""The ledger on a real server: claims, locks, fences, sums, the identity."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from sluice import ledger
from sluice.database import connect
from sluice.errors import (
    AlreadyImported,
    IdentityMismatch,
    ImportCancelled,
    SluiceError,
    Superseded,
    TableBusy,
    UsageError,
)
from sluice.ledger import ADJUSTMENT, Claim, Claimed
from sluice.model import Chunk, Counts, Status, TableName
from sluice.rejects import MAX_TEXT
from sluice.route import ERRORS_SCHEMA, UNIQUE_SCHEMA, RejectedRow

Connection = psycopg.Connection[Any]

TABLE = TableName("public", "customers")
CLAIM = Claim(
    dataset="customers",
    table=TABLE,
    source="file:///data/customers.csv",
    sha256="ab" * 32,
    size=1000,
    fingerprint="f1",
    options={"mode": "insert"},
    dialect={"delimiter": ";"},
    plan={"columns": ["a", "b"]},
    bytes_total=900,
    flow_run_id="run-1",
    started_by="test",
)


def a_chunk(index: int = 0) -> Chunk:
    return Chunk(index=index, byte_start=100 * index, byte_end=100 * index + 100, first_line=10 * index + 2, lines=10)


def commit_chunk(connection: Connection, claimed: Claimed, chunk: Chunk, counts: Counts, **told: Any) -> None:
    """One chunk's transaction, with as many rejects as counted."""
    errors: dict[str, int] = told.get("errors", {"type.integer": counts.rejected} if counts.rejected else {})
    with connection.transaction():
        ledger.fence(connection, claimed.import_id, claimed.attempt)
        rows = [RejectedRow(chunk.first_line + n, chunk.byte_start + n, b"x;y") for n in range(counts.rejected)]
        ledger.save_rejects(connection, claimed.import_id, rows, an_error_table([row.line for row in rows]))
        ledger.record_chunk(
            connection,
            claimed.import_id,
            claimed.attempt,
            chunk,
            counts,
            errors,
            told.get("warnings", {}),
            None,
            told.get("seconds", 0.5),
        )


def an_error_table(lines: list[int], **columns: list[str | None]) -> pa.Table:
    size = len(lines)
    values: dict[str, list[Any]] = {
        "line": lines,
        "column": ["age"] * size,
        "code": ["type.integer"] * size,
        "category": ["invalid_format"] * size,
        "message": ["not an integer"] * size,
        "value": ["x"] * size,
    }
    return pa.table(values | columns, schema=ERRORS_SCHEMA)


# --- claim -----------------------------------------------------------------------------------------------------


def test_a_claim_is_a_row_that_says_what_is_imported(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    assert (claimed.attempt, claimed.resumed, claimed.done) == (1, False, ())
    row = ledger.get(connection, claimed.import_id)
    assert row == claimed.row
    assert (row.table, row.status, row.source, row.size) == (TABLE, "running", CLAIM.source, 1000)
    assert (row.options, row.dialect, row.plan) == (CLAIM.options, CLAIM.dialect, CLAIM.plan)


def test_the_same_content_is_refused_with_a_sentence_that_helps(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    commit_chunk(connection, claimed, a_chunk(), Counts(records=10_000, loaded=9_800, rejected=200))
    ledger.finish(connection, claimed.import_id, 1, Status.COMPLETED_WITH_REJECTS, "done")
    with pytest.raises(AlreadyImported) as refused:
        ledger.claim(connection, CLAIM)
    assert refused.value.imported_as == claimed.import_id
    assert f"already imported into public.customers as #{claimed.import_id} on 20" in str(refused.value)
    assert "10,000 records, 9,800 rows written, 200 rejected. Use --force" in str(refused.value)


def test_another_fingerprint_is_another_import(connection: Connection) -> None:
    first = ledger.claim(connection, CLAIM)
    assert ledger.claim(connection, replace(CLAIM, fingerprint="f2")).import_id != first.import_id


def test_force_imports_a_complete_one_again_and_resumes_an_unfinished_one(connection: Connection) -> None:
    first = ledger.claim(connection, CLAIM)
    ledger.finish(connection, first.import_id, 1, Status.COMPLETED, "")
    forced = ledger.claim(connection, replace(CLAIM, force=True))
    assert forced.import_id != first.import_id
    assert forced.row.force_no == 1
    again = ledger.claim(connection, replace(CLAIM, force=True))
    assert (again.import_id, again.attempt, again.resumed) == (forced.import_id, 2, True)
    with pytest.raises(AlreadyImported) as refused:
        ledger.claim(connection, CLAIM)
    assert refused.value.imported_as == first.import_id


def test_an_undone_import_leaves_its_content_free(connection: Connection) -> None:
    first = ledger.claim(connection, CLAIM)
    connection.execute("UPDATE sluice.imports SET status = 'undone' WHERE id = %s", [first.import_id])
    assert not ledger.claim(connection, CLAIM).resumed
    with pytest.raises(UsageError, match="was undone"):
        ledger.resume(connection, first.import_id)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_failed_import_is_resumed_from_what_it_committed(connection: Connection, status: Status) -> None:
    first = ledger.claim(connection, CLAIM)
    commit_chunk(connection, first, a_chunk(0), Counts(records=10, loaded=10))
    commit_chunk(connection, first, a_chunk(2), Counts(records=10, loaded=9, rejected=1))
    failed = ledger.fail(connection, first.import_id, 1, status, "the disk was full")
    assert (failed.status, failed.message, failed.counts) == (
        status,
        "the disk was full",
        Counts(records=20, loaded=19, rejected=1),
    )
    assert failed.bytes_done == 200

    second = ledger.claim(connection, replace(CLAIM, dialect={"delimiter": ","}, options={"max_rejects": 5}))
    assert second.resumed
    assert second.import_id == first.import_id
    assert second.attempt > first.attempt
    assert [(done.byte_start, done.byte_end, done.first_line, done.lines) for done in second.done] == [
        (0, 100, 2, 10),
        (200, 300, 22, 10),
    ]
    assert second.row.dialect == CLAIM.dialect, "what was decided for the first rows holds for all"
    assert second.row.options == {"max_rejects": 5}
    assert (second.row.status, second.row.message, second.row.finished_at) == ("running", "", None)
    commit_chunk(connection, second, a_chunk(1), Counts(records=10, loaded=10))
    done = ledger.finish(connection, second.import_id, second.attempt, Status.COMPLETED_WITH_REJECTS, "")
    assert done.counts == Counts(records=30, loaded=29, rejected=1)
    assert done.bytes_done == done.bytes_total == 900


def test_resume_by_number(connection: Connection) -> None:
    with pytest.raises(UsageError, match="no import #4711"):
        ledger.resume(connection, 4711)
    first = ledger.claim(connection, CLAIM)
    assert ledger.resume(connection, first.import_id).attempt == 2
    ledger.finish(connection, first.import_id, 2, Status.COMPLETED, "")
    with pytest.raises(UsageError, match="nothing to resume"):
        ledger.resume(connection, first.import_id)


def test_text_that_postgresql_cannot_hold_is_replaced(connection: Connection) -> None:
    hostile = {"header\0": ["a\0b", "\ud800", float("nan"), {"x": pa.scalar(1).as_py()}]}
    claimed = ledger.claim(connection, replace(CLAIM, source="file:///a\0b.csv", plan=hostile))
    assert claimed.row.source == "file:///a\ufffdb.csv"
    assert claimed.row.plan == {"header\ufffd": ["a\ufffdb", "?", None, {"x": 1}]}


# --- locks -----------------------------------------------------------------------------------------------------


def test_a_table_is_held_by_one_session(connection: Connection, database_url: str) -> None:
    with ledger.table_lock(connection, TABLE, wait=False), connect(database_url) as other:
        claimed = ledger.claim(connection, CLAIM)
        expected = rf"Import #{claimed.import_id} of file:///data/customers\.csv is writing to public\.customers"
        with pytest.raises(TableBusy, match=expected), ledger.table_lock(other, TABLE, wait=False):
            pass
        with pytest.raises(TableBusy, match=expected):
            ledger.claim(other, CLAIM)
        with pytest.raises(TableBusy, match=expected):
            ledger.resume(other, claimed.import_id)
        with ledger.table_lock(other, TableName("public", "people"), wait=False):
            pass
    with connect(database_url) as other, ledger.table_lock(other, TABLE, wait=False):
        assert ledger.claim(other, CLAIM).resumed, "running, but its session is gone"


def test_a_lock_lost_with_its_connection_does_not_undo_what_was_done(connection: Connection, database_url: str) -> None:
    with connect(database_url) as other, ledger.table_lock(other, TABLE, wait=False):
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [other.info.backend_pid])
    with ledger.table_lock(connection, TABLE, wait=False):
        assert ledger.imports(connection) == []


def test_waiting_for_a_table(connection: Connection, database_url: str) -> None:
    got = threading.Event()

    def wait() -> None:
        with connect(database_url) as other, ledger.table_lock(other, TABLE, wait=True):
            got.set()

    with ledger.table_lock(connection, TABLE, wait=False):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.3)
    thread.join(10)
    assert got.is_set()


def _import_once(url: str, start: Any, answers: Any) -> None:
    with connect(url) as connection:
        start.wait()
        try:
            with ledger.table_lock(connection, TABLE, wait=True):
                claimed = ledger.claim(connection, CLAIM)
                commit_chunk(connection, claimed, a_chunk(), Counts(records=1, loaded=1))
                ledger.finish(connection, claimed.import_id, claimed.attempt, Status.COMPLETED, "")
                answers.put(("imported", claimed.import_id))
        except SluiceError as error:
            answers.put((type(error).__name__, getattr(error, "imported_as", None)))


def test_of_processes_that_import_the_same_file_one_does_and_the_others_are_told(database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(3), spawn.Queue()
    processes = [spawn.Process(target=_import_once, args=(database_url, start, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    said = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    import_id = said[-1][1]
    assert said == [("AlreadyImported", import_id), ("AlreadyImported", import_id), ("imported", import_id)]


def test_claims_without_a_lock_still_make_one_row(connection: Connection, database_url: str) -> None:
    """The unique index alone, with everybody at once: one row, however the attempts fall."""
    start = threading.Barrier(8)

    def attempt(_: int) -> int:
        with connect(database_url) as other:
            start.wait()
            return ledger.claim(other, CLAIM).attempt

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == list(range(1, 9))
    assert connection.execute("SELECT count(*), max(attempt) FROM sluice.imports").fetchone() == (1, 8)


def _claim_and_hang(url: str, answers: Any) -> None:
    connection = connect(url)
    with ledger.table_lock(connection, TABLE, wait=False):
        claimed = ledger.claim(connection, CLAIM)
        commit_chunk(connection, claimed, a_chunk(), Counts(records=10, loaded=10))
        answers.put(claimed.import_id)
        signal.pause()


def test_a_killed_import_is_resumed(connection: Connection, database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=_claim_and_hang, args=(database_url, answers))
    process.start()
    import_id = answers.get(timeout=60)
    with pytest.raises(TableBusy), ledger.table_lock(connection, TABLE, wait=False):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with ledger.table_lock(connection, TABLE, wait=True):
        claimed = ledger.claim(connection, CLAIM)
    assert (claimed.import_id, claimed.attempt, len(claimed.done)) == (import_id, 2, 1)


# --- fence -----------------------------------------------------------------------------------------------------


def test_a_superseded_attempt_cannot_commit(connection: Connection) -> None:
    first = ledger.claim(connection, CLAIM)
    second = ledger.claim(connection, CLAIM)
    with pytest.raises(Superseded, match=r"Attempt 1 of import .* at attempt 2"):
        commit_chunk(connection, first, a_chunk(), Counts(records=1, loaded=1))
    with pytest.raises(Superseded):
        ledger.finish(connection, first.import_id, 1, Status.COMPLETED, "")
    with pytest.raises(Superseded):
        ledger.fail(connection, first.import_id, 1, Status.FAILED, "late")
    commit_chunk(connection, second, a_chunk(), Counts(records=1, loaded=1))


def test_a_cancelled_import_cannot_commit(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    assert ledger.cancel(connection, claimed.import_id)
    assert not ledger.cancel(connection, claimed.import_id)
    with pytest.raises(ImportCancelled, match="what it had committed is kept"):
        commit_chunk(connection, claimed, a_chunk(), Counts(records=1, loaded=1))
    assert ledger.get(connection, claimed.import_id).status == "cancelled"


def test_a_resume_waits_for_the_chunk_being_committed(connection: Connection, database_url: str) -> None:
    first = ledger.claim(connection, CLAIM)
    resumed: list[Claimed] = []

    def resume() -> None:
        with connect(database_url) as other:
            resumed.append(ledger.claim(other, CLAIM))

    with connection.transaction():
        ledger.fence(connection, first.import_id, 1)
        thread = threading.Thread(target=resume)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        ledger.record_chunk(connection, first.import_id, 1, a_chunk(), Counts(records=1, loaded=1), {}, {}, None, 0.1)
    thread.join(10)
    assert [done.byte_start for done in resumed[0].done] == [0], "and it sees that chunk"


def test_chunks_of_one_attempt_commit_side_by_side(connection: Connection, database_url: str) -> None:
    claimed = ledger.claim(connection, CLAIM)
    meet = threading.Barrier(2, timeout=10)

    def load(index: int) -> None:
        with connect(database_url) as other, other.transaction():
            ledger.fence(other, claimed.import_id, claimed.attempt)
            meet.wait()
            ledger.record_chunk(
                other, claimed.import_id, 1, a_chunk(index), Counts(records=1, loaded=1), {}, {}, None, 0.1
            )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load, range(2)))
    assert ledger.totals(connection, claimed.import_id).counts.loaded == 2


def test_a_chunk_commits_once(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    commit_chunk(connection, claimed, a_chunk(), Counts(records=1, loaded=1))
    with pytest.raises(Superseded, match="committed already"):
        commit_chunk(connection, claimed, a_chunk(), Counts(records=1, loaded=1))
    assert ledger.totals(connection, claimed.import_id).counts == Counts(records=1, loaded=1)


def test_all_of_it_can_be_a_dry_run(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        claimed = ledger.claim(connection, CLAIM)
        commit_chunk(connection, claimed, a_chunk(), Counts(records=2, loaded=1, rejected=1))
        row = ledger.finish(connection, claimed.import_id, 1, Status.COMPLETED_WITH_REJECTS, "")
        assert row.counts.rejected == 1
    assert ledger.imports(connection) == []


# --- the end ---------------------------------------------------------------------------------------------------


def test_totals_add_up_with_adjustments(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    commit_chunk(connection, claimed, a_chunk(0), Counts(records=10, loaded=8, rejected=2, blank_lines=1))
    commit_chunk(
        connection,
        claimed,
        a_chunk(1),
        Counts(records=10, loaded=5, updated=2, unchanged=2, skipped=1),
        warnings={"rule.expect_column_values_to_match_regex": 3},
    )
    for line in (1001, 1002):  # a uniqueness rule, at the end, twice
        with connection.transaction():
            ledger.fence(connection, claimed.import_id, 1)
            rows = [RejectedRow(line, line, b"dup")]
            errors = an_error_table([line], code=["rule.expect_column_values_to_be_unique"], category=["duplicate"])
            ledger.save_rejects(connection, claimed.import_id, rows, errors)
            ledger.record_chunk(
                connection,
                claimed.import_id,
                1,
                ADJUSTMENT,
                Counts(loaded=-1, rejected=1),
                {"rule.expect_column_values_to_be_unique": 1},
                {},
                None,
                0.1,
            )
    row = ledger.finish(
        connection, claimed.import_id, 1, Status.COMPLETED_WITH_REJECTS, "4 rejected", {"success": False, "x": [1, 2]}
    )
    assert row.counts == Counts(records=20, loaded=11, updated=2, unchanged=2, skipped=1, rejected=4, blank_lines=1)
    assert row.errors_by_rule == {"type.integer": 2, "rule.expect_column_values_to_be_unique": 2}
    assert row.errors_by_category == {"invalid_format": 2, "duplicate": 2}
    assert row.warnings_by_rule == {"rule.expect_column_values_to_match_regex": 3}
    assert row.suite_result == {"success": False, "x": [1, 2]}
    assert (row.status, row.message) == ("completed_with_rejects", "4 rejected")
    assert row.finished_at is not None
    assert 0 < row.seconds < 60


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(records=10, loaded=9), "10 records are not 9 loaded"),
        (Counts(records=10, loaded=11), "does not add up"),
    ],
)
def test_counts_that_do_not_add_up_fail_the_import(connection: Connection, counts: Counts, expected: str) -> None:
    claimed = ledger.claim(connection, CLAIM)
    commit_chunk(connection, claimed, a_chunk(), counts)
    with pytest.raises(IdentityMismatch, match=expected):
        ledger.finish(connection, claimed.import_id, 1, Status.COMPLETED, "")
    assert ledger.get(connection, claimed.import_id).status == "running"
    assert ledger.fail(connection, claimed.import_id, 1, Status.FAILED, "bug").status == "failed"


@pytest.mark.parametrize("lost", ["rejected_rows", "row_errors"])
def test_a_rejected_row_without_its_bytes_or_its_reason_fails_the_import(connection: Connection, lost: str) -> None:
    claimed = ledger.claim(connection, CLAIM)
    commit_chunk(connection, claimed, a_chunk(), Counts(records=10, loaded=8, rejected=2))
    connection.execute(f"DELETE FROM sluice.{lost} WHERE line = 2".encode())
    with pytest.raises(IdentityMismatch, match="counted 2 rejected rows"):
        ledger.finish(connection, claimed.import_id, 1, Status.COMPLETED_WITH_REJECTS, "")


def test_seconds_are_those_of_all_attempts(connection: Connection) -> None:
    first = ledger.claim(connection, CLAIM)
    commit_chunk(connection, first, a_chunk(0), Counts(records=1, loaded=1), seconds=0.0)
    # As if it had begun 60 s before its last commit, was killed, and lay there for a day.
    connection.execute(
        "UPDATE sluice.imports SET started_at = now() - interval '1 day 60 s' WHERE id = %s", [first.import_id]
    )
    connection.execute("UPDATE sluice.chunks SET committed_at = now() - interval '1 day'")
    second = ledger.claim(connection, CLAIM)
    commit_chunk(connection, second, a_chunk(1), Counts(records=1, loaded=1), seconds=30.0)
    row = ledger.finish(connection, second.import_id, second.attempt, Status.COMPLETED, "")
    assert 90 <= row.seconds < 100


def test_the_end_clears_working_rows_and_a_failure_keeps_them(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    values = {"rule": [0], "line": [2], "byte_offset": [0], "byte_length": [3], "value": ["v" * 5000]}
    ledger.save_unique_values(connection, claimed.import_id, pa.table(values, schema=UNIQUE_SCHEMA))
    connection.execute("INSERT INTO sluice.touched_keys VALUES (%s, '[1]', 2, 'skipped')", [claimed.import_id])
    ledger.fail(connection, claimed.import_id, 1, Status.FAILED, "")
    kept = "SELECT (SELECT count(*) FROM sluice.touched_keys), (SELECT sum(length(value)) FROM sluice.unique_values)"
    assert connection.execute(kept).fetchone() == (1, 5000)
    resumed = ledger.resume(connection, claimed.import_id)
    ledger.finish(connection, claimed.import_id, resumed.attempt, Status.COMPLETED, "")
    assert connection.execute(kept).fetchone() == (0, None)


# --- rejects and history ---------------------------------------------------------------------------------------


HOSTILE = [b"", b"plain", b'"quoted, \r\n"', b"\\.", b"\x00\xff\\x41", "é;ü".encode("latin-1"), b"\\N", b"'; DROP--"]


def test_rejected_rows_come_back_byte_for_byte(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    rows = [RejectedRow(line, 10 * line, raw) for line, raw in enumerate(HOSTILE, 1)]
    texts: list[str | None] = ["", "NULL", None, "\\.", "a\0b", "\\N", '"', "line\r\nbreak\n\\.\n"]
    errors = an_error_table([row.line for row in rows], value=texts, message=[t or "-" for t in texts])
    ledger.save_rejects(connection, claimed.import_id, rows, errors)
    found = list(ledger.rejected(connection, claimed.import_id))
    assert [(row.line, row.byte_offset, row.raw) for row in found] == [(r.line, r.byte_offset, r.raw) for r in rows]
    assert [row.errors[0].value for row in found] == [t and t.replace("\0", "\ufffd") for t in texts]
    assert {row.state for row in found} == {"open"}


def test_long_texts_are_cut_with_an_ellipsis(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    texts: list[str | None] = ["ü" * MAX_TEXT, "ü" * (MAX_TEXT + 1), None]
    rows = [RejectedRow(line, line, b"") for line in (1, 2, 3)]
    ledger.save_rejects(connection, claimed.import_id, rows, an_error_table([1, 2, 3], value=texts))
    values = [row.errors[0].value for row in ledger.rejected(connection, claimed.import_id)]
    assert values == ["ü" * MAX_TEXT, "ü" * (MAX_TEXT - 1) + "…", None]


def test_rejected_rows_by_rule_category_and_state(connection: Connection) -> None:
    claimed = ledger.claim(connection, CLAIM)
    rows = [RejectedRow(line, line, b"r") for line in (1, 2, 3)]
    errors = an_error_table(
        [1, 2, 2, 3],
        code=["csv.nul", "type.integer", "type.required", "type.required"],
        category=["invalid_format", "invalid_format", "missing_value", "missing_value"],
    )
    ledger.save_rejects(connection, claimed.import_id, rows, errors)
    connection.execute("UPDATE sluice.rejected_rows SET state = 'replayed' WHERE line = 3")

    def lines(**wanted: str) -> list[int]:
        return [row.line for row in ledger.rejected(connection, claimed.import_id, **wanted)]

    assert lines() == [1, 2, 3]
    assert lines(rule="type.required") == [2, 3]
    assert lines(category="invalid_format") == [1, 2]
    assert lines(category="invalid_format", rule="type.required") == []
    assert lines(state="open") == [1, 2]
    second = next(row for row in ledger.rejected(connection, claimed.import_id) if row.line == 2)
    assert [error.code for error in second.errors] == ["type.integer", "type.required"]


def test_history_progress_and_views(connection: Connection) -> None:
    first = ledger.claim(connection, CLAIM)
    commit_chunk(connection, first, a_chunk(0), Counts(records=10, loaded=8, rejected=2), seconds=0.01)
    live = ledger.progress(connection, first.import_id)
    assert (live.status, live.bytes_done, live.bytes_total, live.chunks) == ("running", 100, 900, 1)
    assert live.counts == Counts(records=10, loaded=8, rejected=2)
    assert live.seconds_left is not None
    assert live.seconds_left > 0
    ledger.finish(connection, first.import_id, 1, Status.COMPLETED_WITH_REJECTS, "")
    assert ledger.progress(connection, first.import_id).bytes_done == 900

    second = ledger.claim(connection, replace(CLAIM, dataset="people", fingerprint="f2"))
    assert [row.id for row in ledger.imports(connection)] == [second.import_id, first.import_id]
    assert [row.id for row in ledger.imports(connection, "customers")] == [first.import_id]
    assert [row.id for row in ledger.imports(connection, limit=1)] == [second.import_id]

    details = ledger.show(connection, first.import_id)
    assert [(rule.code, rule.errors, rule.rows, rule.first_line) for rule in details.rules] == [
        ("type.integer", 2, 2, 2)
    ]
    assert [chunk.records for chunk in details.chunks] == [10]
    assert details.open_rejects == 2
    assert details.rows_per_second > 0
    assert [sample.line for sample in ledger.samples(connection, first.import_id)] == [2, 3]
    history = connection.execute(
        "SELECT rejected_percent, first_error_line, first_error_column, first_error_code FROM sluice.import_history"
        " WHERE id = %s",
        [first.import_id],
    ).fetchone()
    assert history is not None
    assert (float(history[0]), *history[1:]) == (20.0, 2, "age", "type.integer")
