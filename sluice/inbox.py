"""Dropped files: which are complete, which go together, what they are called afterwards. Decides; touches nothing.

A dataset's folder under the inbox::

    inbox/customers/november.csv                          dropped, waiting
    inbox/customers/november.csv.done                     optional: says that november.csv is complete
    inbox/customers/.importing/20261121T094441-3f9a2c7e/  taken: the files of one flow run
    inbox/customers/.importing/+20261121T094441-.../      being taken (a claim that is not complete)

A file is taken by renaming it, which only one process can do. The folder it is in from then on is named by a key, and
the key names the flow run (Prefect's idempotency key), so that any number of watchers see the same state and come
to the same next step. What is imported is decided by the ledger alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol, TypeVar

#: Where taken files lie, within their dataset's folder: the same file system, so that a rename is atomic.
IMPORTING = ".importing"

#: A claim that is being made; its owner renames it without the mark when all its files are in.
UNFINISHED = "+"

#: `x.csv.done` says that `x.csv` is complete. A dataset's folder that holds a file `.require-done` takes no other.
DONE = ".done"
REQUIRE_DONE = ".require-done"

#: Ends the name of the text beside a failed file.
WHY = ".why.txt"

#: Names that copy programs, browsers, editors and SFTP clients give to files they have not finished.
_UNFINISHED_NAMES = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".swp", "~")
_TEMPORARY_STARTS = (".", "~$")

#: Seconds without a change after which a file counts as complete: where the kernel told us that nobody has it open for
#: writing, where nobody can tell (another machine may be writing), and for an empty one, which is usually about
#: to be written.
STILL_SECONDS = 1.0
STILL_SECONDS_UNSURE = 5.0
STILL_SECONDS_EMPTY = 30.0

#: The files of one flow run. Its process takes seconds to start, a small file a tenth of that to be imported.
BATCH_FILES = 500
BATCH_BYTES = 128 * 1024 * 1024
#: A larger file has a flow run of its own, with windows and progress.
SMALL_BYTES = 8 * 1024 * 1024

#: How often a run that was interrupted is begun again without having finished a file in between.
TRIES = 10

#: Bytes in a file's name: what Linux and macOS allow.
_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is written to or replaced. `size` in bytes, `mtime` in ns since the epoch."""

    device: int
    inode: int
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file in a dataset's folder. `marked`: its `.done` file lies beside it."""

    path: Path
    stamp: Stamp
    marked: bool = False

    @property
    def size(self) -> int:
        return self.stamp.size

    @property
    def age(self) -> tuple[float, str]:
        """Sorts the oldest first: by its modification, then by name."""
        return self.stamp.mtime, self.path.name


class Waiting(Protocol):
    """A complete file, wherever it lies."""

    @property
    def size(self) -> int: ...
    @property
    def age(self) -> tuple[float, str]: ...


W = TypeVar("W", bound=Waiting)


class Looks:
    """What earlier looks saw, for telling how long a file has been still. Lives as long as its watcher."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Stamp, float, float]] = {}

    def look(self, files: Iterable[Dropped], now: float) -> None:
        """Remember one look at all files there are. `now` is a monotonic clock's, in seconds."""
        seen = {}
        for file in files:
            stamp, first, _ = self._seen.get(file.path, (None, now, now))
            seen[file.path] = (file.stamp, first if stamp == file.stamp else now, now)
        self._seen = seen

    def still_for(self, file: Dropped, wall: float) -> float:
        """Seconds since its last change, as far as is known; 0 at the first look.

        Its own time of modification counts from the second look on: it may lie in the future, and some programs
        set it to the original's when they have finished.

        Args:
            wall: seconds since the epoch.
        """
        stamp, first, last = self._seen.get(file.path, (None, 0.0, 0.0))
        if stamp != file.stamp or last <= first:
            return 0.0
        return max(last - first, wall - file.stamp.mtime / 1e9)


def is_data(name: str) -> bool:
    """Whether a name is that of a finished file: no dot before it, no `.part` or `.tmp` behind it, no marker."""
    lower = name.lower()
    return not (lower.startswith(_TEMPORARY_STARTS) or lower.endswith((*_UNFINISHED_NAMES, DONE)))


def stillness_needed(file: Dropped, written_to: bool | None) -> float:
    """Seconds a file must have been still. `written_to` is None where nobody can tell."""
    if written_to:
        return float("inf")
    if file.stamp.size == 0:
        return STILL_SECONDS_EMPTY
    return STILL_SECONDS if written_to is False else STILL_SECONDS_UNSURE


def next_batch(complete: Iterable[W]) -> list[W]:
    """The files of the next flow run: the oldest one; if it is small, the small ones that follow it, too.

    The order is that of their modification, then of their names: a later file may bring an earlier one's rows
    up to date.
    """
    batch: list[W] = []
    size = 0
    for file in sorted(complete, key=lambda file: file.age):
        size += file.size
        if batch and (file.size > SMALL_BYTES or size > BATCH_BYTES or len(batch) == BATCH_FILES):
            break
        batch.append(file)
        if file.size > SMALL_BYTES:
            break
    return batch


class Step(Enum):
    """What is to be done with taken files."""

    SUBMIT = auto()
    WAIT = auto()
    AGAIN = auto()  # the run was interrupted: another is to go on
    SETTLE = auto()  # the run has ended: nothing more will come


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run as its server has it. `stopped_by_service`: cancelled because the service was stopped."""

    id: str
    state: str
    name: str
    message: str
    stopped_by_service: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which run of a claim is, or shall be, under way.

    Attributes:
        number: from 1; in the run's idempotency key.
        left: files that were left when it was begun. fruitless: attempts before it that finished none.
        not_before: seconds since the epoch.
    """

    number: int = 1
    left: int = 0
    fruitless: int = 0
    not_before: float = 0.0


#: The name of a Failed state that says: nothing is wrong with the file, a database or a store did not answer.
UNAVAILABLE = "Unavailable"

#: Types of the states no flow run leaves by itself.
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def is_ended(run: Run) -> bool:
    return run.state in ENDED


def is_interrupted(run: Run) -> bool:
    """Whether a run ended in a way that says nothing about its files: another is to go on with them."""
    return run.state == "CRASHED" or run.name == UNAVAILABLE or run.stopped_by_service


def next_step(run: Run | None, attempt: Attempt, wall: float) -> Step:
    """What to do with a claim, from what the server says of its run. `run` is None where there is none."""
    if run is None:
        return Step.SUBMIT if wall >= attempt.not_before else Step.WAIT
    if not is_ended(run):
        return Step.WAIT
    return Step.AGAIN if is_interrupted(run) else Step.SETTLE


def after(attempt: Attempt, run: Run, left: int, wall: float) -> Attempt | None:
    """The next attempt after one that was interrupted with `left` files to go; None when it is enough.

    A database that does not answer is no fault of the file's: it is waited for without end.
    """
    fruitless = attempt.fruitless + 1 if left >= attempt.left else 0
    if fruitless >= TRIES and run.state == "CRASHED":
        return None
    pause = pause_after(fruitless) if fruitless and not run.stopped_by_service else 0.0
    return Attempt(attempt.number + 1, left, fruitless, wall + pause)


def pause_after(fruitless: int) -> float:
    """Seconds before the next attempt after so many that finished nothing."""
    return min(2.0**fruitless, 60.0)


def safe_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name without what is no letter, sign or blank (line ends, control characters, bytes that are not UTF-8,
    what turns the direction of writing), and unlike those in `taken`."""
    safe = "".join("_" if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029/" else char for char in name)
    safe = safe.strip() or "_"
    if not is_data(safe):
        safe = f"_{safe}_"
    used = set(taken)
    candidate, number = fitted("", safe), 1
    while candidate in used:
        number += 1
        candidate = fitted(f"{number}-", safe)
    return candidate


def fitted(prefix: str, name: str, suffix: str = "") -> str:
    """`prefix` + `name` + `suffix`, the middle of the name left out where that is longer than a name may be."""
    room = _NAME_BYTES - len((prefix + suffix).encode())
    raw = name.encode("utf-8", "replace")
    if len(raw) <= room:
        return prefix + raw.decode() + suffix
    tail = raw[-24:].decode("utf-8", "ignore")
    head = raw[: room - len(tail.encode()) - 3].decode("utf-8", "ignore")
    return f"{prefix}{head}…{tail}{suffix}"


def archived_name(name: str, import_id: int, *, before: bool = False) -> str:
    """A finished file's name. `before`: its content was in the table already."""
    return numbered(name, import_id) if not before else fitted(f"already-imported-as-{import_id}-", name)


def numbered(name: str, import_id: int) -> str:
    """The name with its import's number before it; a failed file that was dropped again has it already."""
    prefix = f"{import_id}-"
    return name if name.startswith(prefix) else fitted(prefix, name)


def strangers(folders: Iterable[str], datasets: Sequence[str]) -> list[str]:
    """The folders of the inbox that are no dataset's."""
    return sorted(set(folders) - set(datasets))


def free_datasets(waiting: Mapping[str, int], claims: Mapping[str, int], most: int) -> list[str]:
    """The datasets whose files may be taken now: one claim a dataset, so that its files are imported in their
    order, and `most` of them in all.

    Args:
        waiting: dataset -> complete files. claims: dataset -> claims under way.
    """
    room = most - sum(claims.values())
    return [name for name, files in waiting.items() if files and not claims.get(name)][: max(room, 0)]
