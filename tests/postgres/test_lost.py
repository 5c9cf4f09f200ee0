"""Imports whose process is gone are found and ended; those that live are left alone, whatever is said of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from sluice import ledger
from sluice.database import connect
from sluice.errors import ImportCancelled, Superseded
from sluice.history import ImportRow
from sluice.lost import FREE_SECONDS, end_silent, silent_imports, verdict
from sluice.model import Counts, Status
from sluice.reporting import report_of
from tasks.retries import RETRY_DELAYS
from tests.postgres.import_bench import Bench
from tests.postgres.test_ledger import CLAIM, TABLE, a_chunk, commit_chunk

Connection = psycopg.Connection[Any]


def _claim_and_hang(url: str, said: Any) -> None:
    connection = connect(url)
    with ledger.table_lock(connection, TABLE, wait=False):
        claimed = ledger.claim(connection, CLAIM)
        commit_chunk(connection, claimed, a_chunk(), Counts(records=10, loaded=7, rejected=3))
        said.put(claimed)
        signal.pause()


@pytest.fixture
def hanging(database_url: str) -> Iterator[tuple[ledger.Claimed, Callable[[], None]]]:
    """An import in a process of its own that has committed a chunk, and how to kill it."""
    spawn = multiprocessing.get_context("spawn")
    said = spawn.Queue()
    process = spawn.Process(target=_claim_and_hang, args=(database_url, said))
    process.start()

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()

    yield said.get(timeout=60), kill
    kill()


@pytest.fixture
def killed(connection: Connection, hanging: tuple[ledger.Claimed, Callable[[], None]]) -> ImportRow:
    """An import whose process was killed, as the ledger has it."""
    _, kill = hanging
    kill()
    with ledger.table_lock(connection, TABLE, wait=True):  # the server notices a moment later
        pass
    (row,) = silent_imports(connection)
    return row


@pytest.mark.parametrize(
    ("run_state", "free_seconds", "expected"),
    [
        (None, FREE_SECONDS - 1, None),
        (None, FREE_SECONDS, Status.FAILED),
        ("CRASHED", 0, Status.FAILED),
        ("FAILED", 0, Status.FAILED),
        ("CANCELLED", 0, Status.CANCELLED),
    ],
)
def test_who_is_lost(run_state: str | None, free_seconds: float, expected: Status | None) -> None:
    assert verdict(run_state, free_seconds) == expected


def test_no_import_that_waits_for_its_database_counts_as_lost() -> None:
    assert sum(RETRY_DELAYS) + 10 * len(RETRY_DELAYS) < FREE_SECONDS


def test_an_import_that_lives_is_not_silent(
    connection: Connection, hanging: tuple[ledger.Claimed, Callable[[], None]]
) -> None:
    claimed, _ = hanging
    assert silent_imports(connection) == []
    assert not end_silent(connection, claimed.row, Status.FAILED)
    assert report_of(connection, claimed.import_id).message == ""


def test_a_killed_one_fails_with_what_it_had_committed_and_is_resumed(
    connection: Connection, killed: ImportRow
) -> None:
    assert "has no process" in report_of(connection, killed.id).message
    assert end_silent(connection, killed, Status.FAILED)
    row = ledger.get(connection, killed.id)
    assert (row.status, row.records, row.loaded, row.rejected) == ("failed", 10, 7, 3)
    assert f"`sluice resume {killed.id}`" in row.message
    assert silent_imports(connection) == []
    assert not end_silent(connection, killed, Status.FAILED)
    again = ledger.claim(connection, CLAIM)
    assert (again.import_id, again.attempt, len(again.done)) == (killed.id, 2, 1)


def test_one_that_was_taken_over_meanwhile_is_left_alone(connection: Connection, killed: ImportRow) -> None:
    again = ledger.claim(connection, CLAIM)
    assert not end_silent(connection, killed, Status.FAILED)
    assert ledger.get(connection, killed.id).status == "running"
    commit_chunk(connection, again, a_chunk(1), Counts(records=1, loaded=1))


@pytest.mark.parametrize(("status", "error"), [(Status.FAILED, Superseded), (Status.CANCELLED, ImportCancelled)])
def test_one_that_was_thought_dead_commits_nothing_more(
    connection: Connection, status: Status, error: type[Exception]
) -> None:
    claimed = ledger.claim(connection, CLAIM)  # lives, and has lost its lock
    assert end_silent(connection, claimed.row, status)
    with pytest.raises(error):
        commit_chunk(connection, claimed, a_chunk(), Counts(records=1, loaded=1))
    assert ledger.get(connection, claimed.import_id).records == 0


def test_the_list_of_imports_tells_of_it(bench: Bench) -> None:
    with connect(bench.url) as connection:
        ledger.claim(connection, CLAIM)
    said = bench.sluice("imports").stdout
    assert " 1  running" in said
    assert "Import #1 has no process: it was killed" in said
    assert "`sluice resume 1`" in said
