"""A large file is read through once, however often its import is begun; any doubt about it, and it is read again."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sluice import first_pass, opening
from sluice.errors import AlreadyImported, SourceError
from sluice.model import Counts
from sluice.records import RECORD_LIMIT
from sluice.source import Snapshot, snapshot
from tests.postgres.import_bench import APPEND, Bench, counts_of, half

ALL = Counts(303, loaded=300, rejected=3)


@pytest.fixture(autouse=True)
def every_file_is_large_and_old() -> Iterator[None]:
    with patch.multiple(first_pass, LEAST_BYTES=0, SETTLED=0):
        yield


def items(bench: Bench) -> Path:
    """300 good rows of two lines each, and 3 bad ones, behind a byte order mark."""
    good = [f'{n},{n}.25,"note\n{n}"\n' for n in range(300)]
    return Path(bench.file("items.csv", "\ufeffid,amount,note\n" + "".join(good) + "x,0,bad\n" * 3))


def kept(bench: Bench) -> bool:
    [(there,)] = bench.query("SELECT first_pass IS NOT NULL FROM sluice.imports WHERE id = 1")
    return bool(there)


@contextmanager
def read_through(times: int) -> Iterator[None]:
    """Check how often the block reads a file from its first byte to its last."""
    with patch.object(opening, "snapshot", wraps=snapshot) as whole:
        yield
    assert whole.call_count == times


@pytest.mark.parametrize("number", [1, None], ids=["by number", "by content"])
def test_an_import_goes_on_without_reading_the_file_through(bench: Bench, number: int | None) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    assert kept(bench)

    with read_through(0):
        report = bench.run(source, dataset="items", chunk_bytes=500, resume=number)

    assert counts_of(report) == ALL
    assert bench.imports() == [(1, "completed_with_rejects", 2)]
    assert bench.query("SELECT count(*), count(DISTINCT id), min(_line), max(_line) FROM items") == [(300, 300, 2, 600)]
    assert bench.query("SELECT line FROM sluice.rejected_rows ORDER BY line") == [(602,), (603,), (604,)]
    chunks = "SELECT byte_start, byte_end, first_line, lines FROM sluice.chunks WHERE import_id = {} ORDER BY 1"
    assert not kept(bench)
    bench.run(source, dataset="items", chunk_bytes=500, force=True)
    assert bench.query(chunks.format(1)) == bench.query(chunks.format(2))


def test_a_record_that_is_too_long_is_remembered_as_one(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    with source.open("ab") as file:
        file.write(b"300,1.25," + b"y" * RECORD_LIMIT + b"\n301,1.25,z\n")
    half(bench, source, dataset="items")

    with read_through(0):
        report = bench.run(source, dataset="items", chunk_bytes=500)

    assert counts_of(report) == Counts(305, loaded=301, rejected=4)
    assert bench.query("SELECT _line FROM items WHERE id = 301") == [(606,)]


def test_a_complete_import_is_read_through_to_be_refused(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    bench.run(source, dataset="items")
    assert not kept(bench)

    with read_through(1), pytest.raises(AlreadyImported):
        bench.run(source, dataset="items")


@pytest.mark.parametrize("what", ["touched", "linked", "copied"])
def test_a_file_that_only_looks_changed_is_read_through_and_goes_on(bench: Bench, what: str) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    if what == "touched":
        os.utime(source)
    elif what == "linked":
        os.link(source, source.with_suffix(".link"))
    else:
        copy = source.with_suffix(".copy")
        copy.write_bytes(source.read_bytes())
        copy.replace(source)

    with read_through(1):
        half(bench, source, dataset="items")
    with read_through(0):  # what is kept is of the file as it is now
        report = bench.run(source, dataset="items", chunk_bytes=500)

    assert counts_of(report) == ALL
    assert bench.imports() == [(1, "completed_with_rejects", 3)]


def test_other_bytes_of_the_same_size_and_time_are_noticed(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    before = source.stat()
    with source.open("r+b") as file:
        file.write(source.read_bytes().replace(b"note\n299", b"nota\n299"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (source.stat().st_ino, source.stat().st_size) == (before.st_ino, before.st_size)

    with read_through(1), pytest.raises(SourceError, match="not the file any more"):
        bench.run(source, dataset="items", chunk_bytes=500, resume=1)


def test_a_file_may_be_removed_once_it_was_read_through(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)

    @contextmanager
    def removed(*arguments: Any, **options: Any) -> Iterator[Snapshot]:
        with snapshot(*arguments, **options) as snap:
            source.unlink()
            yield snap

    with patch.object(opening, "snapshot", removed):
        assert counts_of(bench.run(source, dataset="items")) == ALL


def test_another_dialect_cuts_for_itself(bench: Bench) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    half(bench, source, dataset="items")
    bench.query("DELETE FROM sluice.chunks")  # or the second import would be refused for what the first has loaded

    with read_through(1):
        bench.run(source, dataset="items", stray_quotes="literal")


def test_another_table_uses_what_is_known_of_the_file(bench: Bench) -> None:
    bench.dataset(APPEND)
    bench.dataset(APPEND.replace("public.items", "public.others"), name="others")
    source = items(bench)
    half(bench, source, dataset="items")

    with read_through(0):
        report = bench.run(source, dataset="others")

    assert counts_of(report) == ALL


@pytest.mark.parametrize("why", ["small", "just written", "packed", "another encoding"])
def test_nothing_is_kept_of(bench: Bench, why: str) -> None:
    bench.dataset(APPEND)
    source = items(bench)
    if why == "packed":
        source = source.with_suffix(".csv.gz")
        source.write_bytes(gzip.compress(Path(bench.folder / "items.csv").read_bytes()))
    elif why == "another encoding":
        source.write_bytes(source.read_text(encoding="utf-8-sig").encode("utf-16"))
    least, settled = (10**9 if why == "small" else 0), (10**12 if why == "just written" else 0)
    with patch.multiple(first_pass, LEAST_BYTES=least, SETTLED=settled):
        half(bench, source, dataset="items")
        assert not kept(bench)
        with read_through(1):
            report = bench.run(source, dataset="items", chunk_bytes=500)

    assert counts_of(report) == ALL
