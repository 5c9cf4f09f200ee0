"""Several processes load one import: the tables are those that one process leaves, whatever happens to them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from samples.make import write_customers
from sluice.database import connect
from sluice.errors import DatabaseUnavailable, ThresholdExceeded, WorkersLost
from sluice.importer import Progress
from sluice.model import Commit
from sluice.turns import LOCK_CLASS
from tests.postgres.conftest import new_database
from tests.postgres.import_bench import Bench, make_bench

CHUNK_BYTES = 20_000


@pytest.fixture
def other_bench(server_url: str, template: str, tmp_path: Path) -> Iterator[Bench]:
    """Another database, for the import by one process."""
    folder = tmp_path / "alone"
    folder.mkdir()
    with new_database(server_url, template) as url:
        yield make_bench(url, folder)


def rows(count: int, *, keys: int, seed: int) -> list[list[Any]]:
    """Items, of which many have a key that another has, near by or far away, and some are bad."""
    pick = random.Random(seed)
    found: list[list[Any]] = [["id", "amount", "note"]]
    for number in range(count):
        key = pick.randrange(keys) if pick.random() < 0.5 else max(0, number - pick.randrange(40))
        amount = "much" if pick.random() < 0.02 else f"{pick.randrange(10_000)}.{pick.randrange(100):02}"
        found.append([key, amount, f"note {number}"])
    return found


@pytest.mark.parametrize("commit", list(Commit))
@pytest.mark.parametrize("mode", ["insert", "overwrite", "replace"])
def test_keys_that_meet_across_chunks(bench: Bench, other_bench: Bench, mode: str, commit: Commit) -> None:
    if mode == "replace" and commit is Commit.PROGRESSIVE:
        pytest.skip("replace is atomic")
    for one, workers in ((bench, 3), (other_bench, 1)):
        one.dataset()
        options: dict[str, Any] = {"dataset": "items", "mode": mode, "commit": commit, "chunk_bytes": CHUNK_BYTES}
        one.run(one.file("1.csv", rows(6000, keys=9000, seed=1)), workers=workers, **options)
        one.run(one.file("2.csv", rows(6000, keys=9000, seed=2)), workers=workers, **options)
    for import_id in (1, 2):
        wanted, found = other_bench.end_state("public.items", import_id), bench.end_state("public.items", import_id)
        for name in wanted:
            assert found[name] == wanted[name], (import_id, name)
    assert bench.leftovers() == {}


def test_many_clean_rows_without_a_key(bench: Bench, other_bench: Bench) -> None:
    for one, workers in ((bench, 4), (other_bench, 1)):
        source = one.folder / "customers.csv"
        write_customers(source, None, rows=20_000, bad=0.02, seed=5, newlines=0.001)
        one.run(source, table="public.c", mode="append", all_text=True, workers=workers, chunk_bytes=100_000)
    wanted, found = other_bench.end_state("public.c"), bench.end_state("public.c")
    for name in wanted:
        assert found[name] == wanted[name], name


def test_what_is_committed_is_always_the_files_beginning(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("1.csv", [["id", "amount", "note"], *([n, "1", "x" * 50] for n in range(12_000))])
    ended, seen = threading.Event(), []

    def look() -> None:
        with connect(bench.url) as connection:
            query = "SELECT byte_start, byte_end FROM sluice.chunks WHERE byte_start >= 0 ORDER BY byte_start"
            while not ended.is_set():
                seen.append(connection.execute(query).fetchall())

    looking = threading.Thread(target=look)
    looking.start()
    bench.run(source, dataset="items", workers=3, chunk_bytes=CHUNK_BYTES)
    ended.set()
    looking.join()
    assert len({len(chunks) for chunks in seen}) > 10
    for chunks in seen:
        assert [start for start, _ in chunks] == [len("id,amount,note\n"), *(end for _, end in chunks)][: len(chunks)]


def workers_of_this_process() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "sluice.workers" in one.cmdline():
                found.append(one)
    return found


def test_a_worker_that_dies_is_replaced_by_the_others(bench: Bench, other_bench: Bench) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if len(killed) < 2:
            killed.append(workers_of_this_process()[0].pid)
            os.kill(killed[-1], signal.SIGKILL)

    for one in (bench, other_bench):
        one.dataset()
    content = rows(6000, keys=9000, seed=3)
    options: dict[str, Any] = {"dataset": "items", "chunk_bytes": CHUNK_BYTES}
    bench.run(bench.file("1.csv", content), workers=3, on_progress=kill, **options)
    other_bench.run(other_bench.file("1.csv", content), **options)
    assert len(killed) == 2
    wanted, found = other_bench.end_state("public.items"), bench.end_state("public.items")
    for name in wanted:
        assert found[name] == wanted[name], name


def test_when_all_have_died_the_import_fails_and_can_be_resumed(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("1.csv", [["id", "amount", "note"], *([n, "1", "x" * 50] for n in range(8000))])

    def kill(progress: Progress) -> None:
        for one in workers_of_this_process():
            one.kill()

    with pytest.raises(WorkersLost, match="SIGKILL"):
        bench.run(source, dataset="items", workers=2, on_progress=kill, chunk_bytes=CHUNK_BYTES)
    assert bench.imports() == [(1, "failed", 1)]
    report = bench.run(source, dataset="items", workers=2, chunk_bytes=CHUNK_BYTES)
    assert (report.import_id, report.loaded) == (1, 8000)
    assert bench.query("SELECT count(*), count(DISTINCT _line) FROM items") == [(8000, 8000)]


def test_too_many_rejects_stop_all_of_them_where_one_would_stop(bench: Bench, other_bench: Bench) -> None:
    content = [["id", "amount", "note"], *([n, "bad" if n > 3000 else "1", "x" * 50] for n in range(8000))]
    for one, workers in ((bench, 3), (other_bench, 1)):
        one.dataset()
        with pytest.raises(ThresholdExceeded):
            one.run(
                one.file("1.csv", content), dataset="items", max_rejects="100", workers=workers, chunk_bytes=CHUNK_BYTES
            )
    chunks = "SELECT byte_start, rejected FROM sluice.chunks ORDER BY 1"
    assert bench.query(chunks) == other_bench.query(chunks)
    assert workers_of_this_process() == []


def test_nobody_commits_after_the_import_was_stopped(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("1.csv", [["id", "amount", "note"], *([n, "1", "x" * 50] for n in range(20_000))])

    class Stop(BaseException):
        pass

    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        bench.run(source, dataset="items", workers=3, on_progress=stop, chunk_bytes=CHUNK_BYTES)
    assert workers_of_this_process() == []
    count = bench.query("SELECT count(*) FROM items")
    time.sleep(0.3)
    assert bench.query("SELECT count(*) FROM items") == count
    assert bench.imports() == [(1, "cancelled", 2)]


def test_a_lost_connection_of_one_is_told(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("1.csv", [["id", "amount", "note"], *([n, "1", "x" * 50] for n in range(20_000))])
    cut = threading.Event()

    def disconnect(progress: Progress) -> None:
        if not cut.is_set():
            cut.set()
            bench.query(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
                " WHERE d.datname = current_database() AND l.classid = %s",
                [LOCK_CLASS],
            )

    with pytest.raises(DatabaseUnavailable):
        bench.run(source, dataset="items", workers=2, on_progress=disconnect, chunk_bytes=CHUNK_BYTES)
    report = bench.run(source, dataset="items", chunk_bytes=CHUNK_BYTES)
    assert (report.import_id, report.loaded) == (1, 20_000)
