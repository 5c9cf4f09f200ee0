"""Dropped files in real folders: when they are taken, what they are called, and every state a killed watcher leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from sluice import inbox_files as files
from sluice.inbox import (
    BATCH_BYTES,
    BATCH_FILES,
    IMPORTING,
    SMALL_BYTES,
    STILL_SECONDS,
    STILL_SECONDS_EMPTY,
    STILL_SECONDS_UNSURE,
    TRIES,
    UNAVAILABLE,
    Attempt,
    Dropped,
    Looks,
    Run,
    Stamp,
    Step,
    after,
    archived_name,
    fitted,
    free_datasets,
    is_data,
    next_batch,
    next_step,
    safe_name,
    stillness_needed,
    strangers,
)

HOSTILE = [
    "a b.csv",
    "größe – 数据 🙂.csv",
    "line\nbreak.csv",
    "-rf.csv",
    "{path.__class__}.csv",
    "{{ prefect.blocks.secret.x }}.csv",
    "<script>alert(1)</script>".replace("/", "∕") + ".csv",
    "=cmd|'x'.csv",
    "\u202efdp.csv",
    os.fsdecode(b"latin-\xe9\xff.csv"),
    "n" * 251 + ".csv",
    "数" * 83 + ".csv",
]


def dropped(name: str, size: int = 10, mtime: int = 0) -> Dropped:
    return Dropped(Path(name), Stamp(1, hash(name), size, mtime))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox" / "customers"
    inbox.mkdir(parents=True)
    return inbox


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def drop(folder: Path, name: str, text: str = "a\n1\n") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def take_all(folder: Path) -> files.Taken:
    claim = files.take(folder, files.look(folder).files)
    assert claim is not None
    return claim


def everything(root: Path) -> Counter[str]:
    """The contents of all plain files under a folder, however they are called."""
    return Counter(
        path.read_text()
        for path in root.rglob("*")
        if path.is_file() and is_data(path.name) and ".why" not in path.name
    )


# When a file is complete --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "X.CSV.gz", "no-suffix", "part.csv", "a.done.csv", "data.tmp.csv"])
def test_names_of_finished_files(name: str) -> None:
    assert is_data(name)


@pytest.mark.parametrize(
    "name",
    [".x.csv", "x.csv.part", "x.CSV.PART", "x.tmp", "x.csv.filepart", "x.csv~", "~$x.csv", "x.csv.done", ".done"],
)
def test_names_of_unfinished_files(name: str) -> None:
    assert not is_data(name)


def test_a_file_is_still_for_as_long_as_looks_have_seen_it_so() -> None:
    looks, file = Looks(), dropped("x", mtime=10**18)
    wall = 10**9 + 0.1
    looks.look([file], 100.0)
    assert looks.still_for(file, wall + 50) == 0.0  # one look says nothing
    looks.look([file], 100.5)
    assert looks.still_for(file, wall + 0.5) == pytest.approx(0.6)  # its own time counts from the second look on
    grown = dropped("x", size=11, mtime=10**18)
    looks.look([grown], 101.0)
    assert looks.still_for(grown, wall + 50) == 0.0
    looks.look([grown], 103.0)
    assert looks.still_for(grown, wall - 1000) == 2.0  # a time in the future
    assert looks.still_for(file, wall) == 0.0  # not what was seen


def test_looks_forget_files_that_are_gone() -> None:
    looks, file = Looks(), dropped("x")
    looks.look([file], 1.0)
    looks.look([], 2.0)
    looks.look([file], 3.0)
    assert looks.still_for(file, 1e9) == 0.0


def test_how_long_a_file_must_be_still() -> None:
    assert stillness_needed(dropped("x"), False) == STILL_SECONDS
    assert stillness_needed(dropped("x"), None) == STILL_SECONDS_UNSURE
    assert stillness_needed(dropped("x", size=0), False) == STILL_SECONDS_EMPTY
    assert stillness_needed(dropped("x"), True) == float("inf")


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_the_kernel_tells_who_writes(folder: Path) -> None:
    path = drop(folder, "x.csv")
    assert files.written_to(path) is False
    with path.open("a"):
        assert files.written_to(path) is True
    with path.open():
        assert files.written_to(path) is False


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_asking_while_somebody_opens_the_file_harms_neither(folder: Path) -> None:
    path = drop(folder, "x.csv")
    end = time.monotonic() + 0.5
    stop = threading.Event()
    script = "import sys, time\nend = time.time() + 0.5\nwhile time.time() < end: open(sys.argv[1], 'a').close()"
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    while time.monotonic() < end and not stop.is_set():
        files.written_to(path)
    assert writer.wait(20) == 0


def test_a_look_finds_plain_files_and_their_marks(folder: Path) -> None:
    drop(folder, "a.csv")
    drop(folder, "b.csv")
    drop(folder, "b.csv.done")
    drop(folder, "c.csv.part")
    (folder / "sub").mkdir()
    (folder / "link.csv").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.csv")
    seen = files.look(folder)
    assert {file.path.name: file.marked for file in seen.files} == {"a.csv": False, "b.csv": True}
    assert sorted(seen.odd) == ["link.csv", "pipe.csv", "sub"]
    assert "symbolic link" in seen.odd["link.csv"]
    assert not seen.marks_only
    drop(folder, ".require-done")
    assert files.look(folder).marks_only


# What goes together -------------------------------------------------------------------------------------------------


def test_small_files_go_together_in_their_order() -> None:
    named = [dropped("b", mtime=2), dropped("c", mtime=1), dropped("a", mtime=2)]
    assert [file.path.name for file in next_batch(named)] == ["c", "a", "b"]
    assert len(next_batch(dropped(str(number), mtime=number) for number in range(1000))) == BATCH_FILES
    assert next_batch([]) == []


def test_a_large_file_goes_alone_and_is_not_overtaken() -> None:
    small, large = dropped("small", mtime=1), dropped("large", SMALL_BYTES + 1, mtime=2)
    later = dropped("later", mtime=3)
    assert next_batch([large, later, small]) == [small]
    assert next_batch([large, later]) == [large]


def test_a_batch_is_bounded_in_bytes() -> None:
    batch = next_batch(dropped(str(number), SMALL_BYTES, number) for number in range(100))
    assert sum(file.stamp.size for file in batch) <= BATCH_BYTES


def test_one_claim_a_dataset_and_so_many_in_all() -> None:
    assert free_datasets({"a": 3, "b": 1, "c": 0, "d": 1}, {"b": 1}, 2) == ["a"]
    assert free_datasets({"a": 3}, {"a": 1}, 4) == []
    assert free_datasets({"a": 3}, {"b": 2, "c": 3}, 4) == []


def test_strangers_are_found() -> None:
    assert strangers(["customers", "costumers"], ["customers", "leads"]) == ["costumers"]


# What comes next ----------------------------------------------------------------------------------------------------


def run(state: str, name: str = "", stopped: bool = False) -> Run:
    return Run("id", state, name or state.title(), "message", stopped)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (None, Step.SUBMIT),
        (run("SCHEDULED"), Step.WAIT),
        (run("PENDING"), Step.WAIT),
        (run("RUNNING"), Step.WAIT),
        (run("PAUSED"), Step.WAIT),
        (run("CANCELLING"), Step.WAIT),
        (run("COMPLETED"), Step.SETTLE),
        (run("FAILED"), Step.SETTLE),
        (run("CANCELLED"), Step.SETTLE),
        (run("CANCELLED", stopped=True), Step.AGAIN),
        (run("CRASHED"), Step.AGAIN),
        (run("FAILED", UNAVAILABLE), Step.AGAIN),
    ],
)
def test_the_next_step(found: Run | None, step: Step) -> None:
    assert next_step(found, Attempt(), 0.0) is step


def test_a_pause_is_kept() -> None:
    assert next_step(None, Attempt(not_before=100.0), 99.0) is Step.WAIT
    assert next_step(None, Attempt(not_before=100.0), 100.0) is Step.SUBMIT


def test_a_run_that_crashes_without_end_is_given_up_but_not_one_that_gets_on() -> None:
    attempt: Attempt | None = Attempt(left=3)
    for _ in range(TRIES - 1):
        assert attempt is not None
        attempt = after(attempt, run("CRASHED"), 3, 0.0)
    assert attempt is not None
    assert after(attempt, run("CRASHED"), 3, 0.0) is None
    got_on = after(attempt, run("CRASHED"), 2, 0.0)
    assert got_on == Attempt(number=TRIES + 1, left=2, fruitless=0, not_before=0.0)
    waiting = after(attempt, run("FAILED", UNAVAILABLE), 3, 0.0)
    assert waiting is not None
    assert waiting.not_before == 60.0  # no longer than that


# Names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_safe_ones_and_nothing_is_lost(folder: Path, home: Path, name: str) -> None:
    drop(folder, name, "content")
    claim = take_all(folder)
    safe = claim.files[0].name
    assert safe.isprintable()
    assert safe.encode()
    assert len(archived_name(safe, 123456).encode()) <= 255
    assert archived_name(safe, 17).endswith(".csv")
    archived = files.archive(claim.files[0], home, claim, archived_name(safe, 17))
    assert archived is not None
    assert archived.parent == home / "archive" / "customers" / claim.day
    assert archived.read_text() == "content"


def test_an_ordinary_name_is_kept() -> None:
    assert safe_name("Müller & Söhne (1).csv") == "Müller & Söhne (1).csv"
    assert archived_name("x.csv", 17) == "17-x.csv"
    assert archived_name("17-x.csv", 17) == "17-x.csv"
    assert archived_name("x.csv", 17, before=True) == "already-imported-as-17-x.csv"


def test_names_that_become_alike_stay_apart(folder: Path) -> None:
    for name in ("a\nb.csv", "a\tb.csv", "a_b.csv"):
        drop(folder, name, name)
    claim = take_all(folder)
    assert sorted(path.name for path in claim.files) == ["2-a_b.csv", "3-a_b.csv", "a_b.csv"]
    assert everything(folder.parent) == Counter(["a\nb.csv", "a\tb.csv", "a_b.csv"])


def test_long_names_are_cut_in_the_middle() -> None:
    name = fitted("17-", "数" * 80 + "-2026-11.csv.gz", ".why.txt")
    assert len(name.encode()) <= 255
    assert name.startswith("17-数")
    assert name.endswith("-2026-11.csv.gz.why.txt")


# Taking -------------------------------------------------------------------------------------------------------------


def test_taking_moves_files_and_their_marks(folder: Path) -> None:
    drop(folder, "a.csv")
    drop(folder, "a.csv.done")
    claim = take_all(folder)
    assert [path.name for path in claim.files] == ["a.csv"]
    assert sorted(os.listdir(folder)) == [IMPORTING]
    assert list(files.claims(folder)) == [claim]
    claim.files[0].unlink()
    files.release(claim)
    assert os.listdir(folder / IMPORTING) == [".lock"]


def test_a_file_that_was_replaced_since_it_was_looked_at_is_put_back(folder: Path) -> None:
    drop(folder, "a.csv", "old")
    seen = files.look(folder).files
    replacement = drop(folder, "new.part", "a new one, unfinished")
    replacement.rename(folder / "a.csv")
    assert files.take(folder, seen) is None
    assert (folder / "a.csv").read_text() == "a new one, unfinished"
    assert list(files.claims(folder)) == []


def test_a_file_that_grew_since_it_was_looked_at_is_put_back_with_its_mark(folder: Path) -> None:
    drop(folder, "a.csv", "old")
    drop(folder, "a.csv.done")
    seen = files.look(folder).files
    drop(folder, "a.csv", "old and new")
    assert files.take(folder, seen) is None
    assert sorted(os.listdir(folder)) == [IMPORTING, "a.csv", "a.csv.done"]


def test_a_file_that_went_away_is_no_error(folder: Path) -> None:
    drop(folder, "a.csv")
    drop(folder, "b.csv")
    seen = files.look(folder).files
    (folder / "a.csv").unlink()
    claim = files.take(folder, seen)
    assert claim is not None
    assert [path.name for path in claim.files] == ["b.csv"]


def test_a_claim_keeps_later_files_waiting(folder: Path) -> None:
    drop(folder, "a.csv")
    claim = take_all(folder)
    drop(folder, "b.csv")
    assert files.take(folder, files.look(folder).files) is None
    assert list(files.claims(folder)) == [claim]
    claim.files[0].unlink()
    files.release(claim)
    assert [path.name for path in take_all(folder).files] == ["b.csv"]


def test_many_takers_take_each_file_once_and_in_order(folder: Path) -> None:
    for number in range(300):
        drop(folder, f"{number:03}.csv", str(number))
    found: list[str] = []

    def grab() -> None:
        while seen := sorted(files.look(folder).files, key=lambda file: file.path):
            claim = files.take(folder, seen[:7])
            if claim is not None:
                found.extend(path.read_text() for path in sorted(claim.files))
                for path in claim.files:
                    path.unlink()
                files.release(claim)

    threads = [threading.Thread(target=grab) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [str(number) for number in range(300)]
    assert os.listdir(folder / IMPORTING) == [".lock"]


# A process killed between two steps ---------------------------------------------------------------------------------


def test_a_claim_whose_process_died_is_adopted(folder: Path) -> None:
    key = files.new_key()
    making = folder / IMPORTING / f"+{key}"
    making.mkdir(parents=True)
    drop(making, "a.csv", "taken")
    drop(making, "b.csv.done")
    drop(folder, "b.csv", "not yet taken")
    with (folder / IMPORTING / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list(files.claims(folder)) == []  # its process is alive
    (claim,) = files.claims(folder)
    assert (claim.key, [path.name for path in claim.files]) == (key, ["a.csv"])
    assert sorted(os.listdir(folder)) == [IMPORTING, "b.csv", "b.csv.done"]  # the mark is back beside its file


def test_a_claim_whose_process_died_before_its_first_file_is_let_go(folder: Path) -> None:
    making = folder / IMPORTING / f"+{files.new_key()}"
    making.mkdir(parents=True)
    (claim,) = files.claims(folder)
    assert claim.files == ()
    files.release(claim)
    assert list(files.claims(folder)) == []


def test_without_locks_a_taker_whose_claim_was_adopted_gives_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(folder, "a.csv", "a")
    drop(folder, "b.csv", "b")
    seen = files.look(folder).files
    rename = os.rename

    def slowly(source: object, target: object) -> None:
        rename(source, target)  # type: ignore[arg-type]
        making = Path(str(target)).parent
        if making.exists() and making.name.startswith("+"):
            assert list(files.claims(folder))

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(os, "rename", slowly)
    assert files.take(folder, seen) is None
    monkeypatch.undo()
    (claim,) = files.claims(folder)
    assert len(claim.files) == 1
    assert everything(folder.parent) == Counter(["a", "b"])


@pytest.mark.parametrize("done", ["linked", "linked and removed"])
def test_a_move_that_was_begun_is_ended(folder: Path, home: Path, done: str) -> None:
    drop(folder, "a.csv", "content")
    claim = take_all(folder)
    target = home / "archive" / "customers" / claim.day / "17-a.csv"
    target.parent.mkdir(parents=True)
    os.link(claim.files[0], target)
    if done != "linked":
        claim.files[0].unlink()
    files.archive(claim.files[0], home, claim, "17-a.csv")
    files.release(claim)
    assert everything(folder.parents[1]) == Counter(["content"])
    assert list(files.claims(folder)) == []


def test_a_failure_whose_text_was_written_is_ended(folder: Path, home: Path) -> None:
    drop(folder, "a.csv", "content")
    claim = take_all(folder)
    text = home / "failed" / "customers" / "a.csv.why.txt"
    text.parent.mkdir(parents=True)
    text.write_text("an earlier")
    moved = files.fail(claim.files[0], home, claim, "a.csv", "why")
    assert moved == home / "failed" / "customers" / "a.csv"
    assert text.read_text() == "why"
    assert files.fail(claim.files[0], home, claim, "a.csv", "why") is None  # another watcher, a moment later
    assert text.read_text() == "why"


def test_an_attempt_is_remembered_and_a_broken_note_of_it_is_none(folder: Path) -> None:
    drop(folder, "a.csv")
    claim = take_all(folder)
    assert files.read_attempt(claim) == Attempt(number=1, left=1)
    files.write_attempt(claim, Attempt(3, 1, 2, 5.0))
    assert files.read_attempt(claim) == Attempt(3, 1, 2, 5.0)
    (claim.folder / ".attempt.json").write_text("{")
    assert files.read_attempt(claim) == Attempt(number=1, left=1)


# Moving -------------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "to"
    target.mkdir()
    for content in ("one", "two", "two", "three"):
        files.move(drop(tmp_path, "x.csv", content), target, "x.csv")
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "x.csv": "one",
        "2-x.csv": "two",
        "3-x.csv": "three",
    }


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_moving_to_another_file_system(tmp_path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("it is the same one")
        path = drop(tmp_path, "x.csv", "content")
        moved = files.move(path, Path(other), "x.csv")
        assert not path.exists()
        assert moved.read_text() == "content"
        files.move(drop(tmp_path, "x.csv", "content"), Path(other), "x.csv")  # killed before it was removed here
        files.move(drop(tmp_path, "x.csv", "other"), Path(other), "x.csv")
        assert sorted(os.listdir(other)) == ["2-x.csv", "x.csv"]


def test_a_notice_is_taken_away_when_its_file_is_taken(home: Path) -> None:
    text = home / "failed" / "customers" / "x.csv.why.txt"
    files.notice(text, "why")
    files.forget(home, "customers", "x.csv")
    assert not text.exists()
    drop(text.parent, "x.csv")
    files.notice(text, "why")
    files.forget(home, "customers", "x.csv")  # the file lies there still
    assert text.exists()
