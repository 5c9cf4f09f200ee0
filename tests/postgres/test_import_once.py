"""Exactly once: the same content, two processes, a failure, a resume, and what must not be resumed."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from sluice.database import connect
from sluice.errors import (
    AlreadyImported,
    DatabaseUnavailable,
    ImportCancelled,
    SluiceError,
    SourceError,
    TableBusy,
    TerminalError,
    ThresholdExceeded,
    UsageError,
)
from sluice.importer import Progress
from sluice.model import Commit, Counts
from sluice.opening import opened
from sluice.request import request_of
from tests.postgres.import_bench import APPEND, Bench, assert_said, backend_of, counts_of, cut_at, half

HEADER = ["id", "amount", "note"]
COMMITS = pytest.mark.parametrize("commit", list(Commit))


def items(bench: Bench, count: int = 300, *, bad: int = 0, name: str = "items.csv") -> str:
    """`count` good rows, and `bad` ones after them."""
    good = [[n, f"{n}.25", f"note {n}"] for n in range(count)]
    return bench.file(name, [HEADER, *good, *(["x", "0", "bad"] for _ in range(bad))])


def test_the_same_file_is_refused_under_any_name(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    bench.run(source, dataset="items")

    copy = bench.file("copy.csv", Path(source).read_bytes())
    with pytest.raises(AlreadyImported, match=r"#1 .*300 records.*--force") as caught:
        bench.run(copy, dataset="items")

    assert caught.value.imported_as == 1
    assert len(bench.imports()) == 1
    assert len(bench.rows()) == 300
    assert_said(bench.sluice("import", copy, "--dataset", "items"), 1, "already imported", "#1", "--force")


def test_force_imports_once_more(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    bench.run(source, dataset="items")

    report = bench.run(source, dataset="items", force=True)

    assert (report.import_id, report.loaded) == (2, 300)
    assert len(bench.rows()) == 600
    with pytest.raises(AlreadyImported):
        bench.run(source, dataset="items")


@COMMITS
def test_two_processes_at_once_import_once(bench: Bench, commit: Commit) -> None:
    bench.dataset(APPEND)
    source = items(bench, 20_000)

    def sluice(wait: str) -> subprocess.CompletedProcess[str]:
        return bench.sluice("import", source, "--dataset", "items", "--commit", commit, *([wait] if wait else []))

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(sluice, ("", "--wait", "")))

    assert sorted(process.returncode for process in done) == [0, 1, 1]
    for process in done:
        assert "Traceback" not in process.stderr
        if process.returncode:
            assert "is writing to public.items" in process.stderr or "already imported" in process.stderr
    assert [(status, attempt) for _, status, attempt in bench.imports()] == [("completed", 1)]
    assert bench.query("SELECT count(*), count(DISTINCT id) FROM items") == [(20_000, 20_000)]


@COMMITS
def test_importing_a_failed_file_again_goes_on(bench: Bench, commit: Commit) -> None:
    bench.dataset(APPEND)
    source = items(bench, bad=3)
    half(bench, source, dataset="items", commit=commit)
    assert [status for _, status, _ in bench.imports()] == ["failed"]
    assert (len(bench.rows()) > 50) == (commit is Commit.PROGRESSIVE)
    assert bench.query("SELECT records > 50, bytes_done > 2000 FROM sluice.imports") == [(True, True)]

    report = bench.run(source, dataset="items", chunk_bytes=500)

    assert bench.imports() == [(1, "completed_with_rejects", 2)]
    assert counts_of(report) == Counts(303, loaded=300, rejected=3)
    assert bench.query("SELECT count(*), count(DISTINCT id) FROM items") == [(300, 300)]
    assert bench.query("SELECT attempt, count(*) FROM sluice.chunks WHERE byte_start >= 0 GROUP BY 1 ORDER BY 1")[
        0
    ] == (1, 5)
    assert bench.leftovers() == {}


@COMMITS
def test_resume_by_number_goes_on(bench: Bench, commit: Commit) -> None:
    bench.dataset(APPEND)
    source = items(bench, bad=3)
    half(bench, source, dataset="items", commit=commit)

    request = request_of(source, dataset="items", commit=commit)
    with cut_at(500), opened(request, bench.settings, resume=1) as running:
        for window in running.windows:
            running.load(window)
        report = running.finish()

    assert counts_of(report) == Counts(303, loaded=300, rejected=3)
    assert bench.imports() == [(1, "completed_with_rejects", 2)]
    with pytest.raises(UsageError, match="complete"):
        bench.run(source, dataset="items", resume=1)


def test_how_it_commits_is_settled_by_the_first_attempt(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items", commit="atomic")

    bench.run(source, dataset="items", commit="progressive", chunk_bytes=500)

    assert bench.query("SELECT count(*), count(DISTINCT id) FROM items") == [(300, 300)]
    assert bench.leftovers() == {}


def test_a_changed_file_is_not_resumed(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    before = bench.rows()
    items(bench, 301)

    with pytest.raises(SourceError, match="not the file any more") as caught:
        bench.run(source, dataset="items", resume=1, chunk_bytes=500)

    assert "Bring back that file" in str(caught.value)
    assert bench.rows() == before
    assert_said(bench.sluice("resume", 1), 1, "not the file any more", "Bring back that file")


def test_a_changed_dataset_is_not_resumed(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    bench.dataset(APPEND.replace("name: note, type: text", "name: note, type: text, trim: true"))

    with pytest.raises(TerminalError, match="dataset items was changed"):
        bench.run(source, dataset="items", resume=1, chunk_bytes=500)
    with pytest.raises(UsageError, match=r"#1 .* half-way"):
        bench.run(source, dataset="items", chunk_bytes=500)
    assert [status for _, status, _ in bench.imports()] == ["failed"]


def test_a_killed_import_of_other_options_is_not_doubled(bench: Bench) -> None:
    """As above, but of a process that died without a word: its import still says running."""
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    bench.query("UPDATE sluice.imports SET status = 'running', loaded = 0, finished_at = NULL")
    loaded = len(bench.rows())

    with pytest.raises(SluiceError, match="#1"):
        bench.run(source, dataset="items", null=["note 7"], chunk_bytes=500)

    assert len(bench.rows()) == loaded


def test_other_options_make_another_import(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    bench.run(source, dataset="items")

    assert bench.run(source, dataset="items", null=["note 7"]).import_id == 2
    with pytest.raises(AlreadyImported):
        bench.run(source, dataset="items", null=["note 7"], max_rejects="10")


def test_a_higher_limit_lets_a_failed_import_go_on(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench, bad=3)
    with pytest.raises(ThresholdExceeded):
        bench.run(source, dataset="items", max_rejects="2", chunk_bytes=500)

    report = bench.run(source, dataset="items", max_rejects="3", chunk_bytes=500)

    assert (report.import_id, report.rejected, report.loaded) == (1, 3, 300)


@COMMITS
def test_a_lost_connection_costs_nothing(bench: Bench, commit: Commit) -> None:
    bench.dataset(APPEND)
    source = items(bench)

    lost: list[list[int]] = []

    def cut_off(state: Progress) -> None:
        if len(lost) < 2 and state.counts.records > 50 * (len(lost) + 1):
            with connect(bench.url) as connection:
                pids = [pid for pid in backend_of(bench.url) if pid != connection.info.backend_pid]
                lost.append(pids)
                connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) pid", [pids])

    request = request_of(source, dataset="items", commit=commit)
    with cut_at(500), opened(request, bench.settings, on_progress=cut_off) as running:
        (window,) = running.windows
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                running.load(window)
        running.load(window)
        report = running.finish()

    assert len(lost) == 2
    assert counts_of(report) == Counts(300, loaded=300)
    assert bench.imports() == [(1, "completed", 1)]
    assert bench.query("SELECT count(*), count(DISTINCT id) FROM items") == [(300, 300)]
    assert bench.leftovers() == {}


@COMMITS
def test_a_connection_lost_before_the_end_costs_nothing(bench: Bench, commit: Commit) -> None:
    bench.dataset(APPEND)
    source = items(bench)

    with cut_at(500), opened(request_of(source, dataset="items", commit=commit), bench.settings) as running:
        for window in running.windows:
            running.load(window)
        importing = backend_of(bench.url)
        with psycopg.connect(bench.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) pid", [importing])
        with pytest.raises(DatabaseUnavailable):
            running.finish()
        report = running.finish()

    assert counts_of(report) == Counts(300, loaded=300)
    assert bench.imports() == [(1, "completed", 1)]
    assert bench.query("SELECT count(*), count(DISTINCT id) FROM items") == [(300, 300)]


def test_a_lost_connection_ends_an_import_that_nobody_retries(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)

    def cut_off(state: Progress) -> None:
        if state.counts.records > 100:
            with psycopg.connect(bench.url, autocommit=True) as connection:
                others = [pid for pid in backend_of(bench.url) if pid != connection.info.backend_pid]
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", [others[0]])

    with pytest.raises(DatabaseUnavailable):
        bench.run(source, dataset="items", chunk_bytes=500, on_progress=cut_off)

    assert [status for _, status, _ in bench.imports()] == ["failed"]
    assert bench.run(source, dataset="items", chunk_bytes=500).loaded == 300
    assert len(bench.rows()) == 300


def test_an_interrupt_cancels_and_can_be_resumed(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)

    def interrupt(state: Progress) -> None:
        if state.counts.records > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(source, dataset="items", chunk_bytes=500, on_progress=interrupt)
    assert [status for _, status, _ in bench.imports()] == ["cancelled"]

    bench.run(source, dataset="items", chunk_bytes=500)
    assert [status for _, status, _ in bench.imports()] == ["completed"]
    assert len(bench.rows()) == 300


def test_a_cancel_from_outside_stops_the_import(bench: Bench) -> None:
    from sluice import ledger

    bench.dataset(APPEND)
    source = items(bench)

    def cancel(state: Progress) -> None:
        if state.counts.records > 100:
            with connect(bench.url) as connection:
                ledger.cancel(connection, state.import_id)

    with pytest.raises(ImportCancelled, match="sluice resume"):
        bench.run(source, dataset="items", chunk_bytes=500, on_progress=cancel)

    assert [status for _, status, _ in bench.imports()] == ["cancelled"]
    assert 100 < len(bench.rows()) < 150


def test_a_table_takes_one_import_at_a_time(bench: Bench) -> None:
    bench.dataset(APPEND)
    first, second = items(bench), items(bench, 10, name="other.csv")

    with cut_at(500), opened(request_of(first, dataset="items"), bench.settings) as running:
        with pytest.raises(TableBusy, match=r"#1 of .*items\.csv is writing to public\.items"):
            bench.run(second, dataset="items")
        for window in running.windows:
            running.load(window)
        running.finish()
    assert bench.run(second, dataset="items").loaded == 10
