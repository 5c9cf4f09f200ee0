"""One large file: constant memory? The last tenth as fast as the first? How soon does a killed import go on?

The key is one in the file's order: the index of a random one makes every database slower as it grows, which is what the
scenario `size_large` shows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sluice.database import connect
from tests.bench import measure
from tests.bench.contenders import CONTENDERS, ROOT
from tests.bench.data import Data, File, Kind, rows_of
from tests.bench.datasets import NUMBERED
from tests.bench.session import Session, WrongResult

#: Disk that is needed, as a multiple of the file: itself, the table with its index (1.4), and PostgreSQL's log.
_DISK = 3

#: Seconds between two looks at memory, and at how far an import is that is to be killed.
_LOOK_SECONDS, _POLL_SECONDS = 0.5, 0.05

#: The share of the file after which the import is killed.
_KILL_AT = 0.9


@dataclass(frozen=True, slots=True)
class Commit:
    """A chunk that was committed: when (seconds of the epoch), how many records and bytes."""

    at: float
    records: int
    size: int


@dataclass(frozen=True, slots=True)
class Steady:
    """What a large import did.

    Attributes:
        rates: records a second in the first and in the last tenth of the records.
        memory: most MB held until the first tenth of the records was committed, and from the last tenth on.
        half: share of the loading time that the first half of the bytes took.
    """

    rows: int
    size: int
    seconds: float
    peak: float
    rates: tuple[float, float]
    memory: tuple[float, float]
    half: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """How an import went on that was killed at this share of its bytes: seconds from the same command again to its
    first commit, and to its end."""

    share: float
    first: float
    whole: float


class NoRoom(measure.BenchError):
    """The disk does not hold the file and its table."""


def steady(session: Session, size: int, say: Callable[[str], object]) -> tuple[Steady, Resumed]:
    """Import a file of `size` bytes with 1 % bad rows, then once more, killed and resumed.

    Raises:
        NoRoom: before anything is made.
        CommandFailed, WrongResult: an import did not do its work.
    """
    free = shutil.disk_usage(session.folder).free
    if free < _DISK * size:
        raise NoRoom(
            f"{size / 1e9:g} GB need {_DISK * size / 1e9:g} GB of disk in {session.folder}, {free / 1e9:.0f} are free."
        )
    file = session.file(Data(Kind.CUSTOMERS, rows_of(Kind.CUSTOMERS, size), bad=1))
    say(f"steady: {file.size / 1e9:.1f} GB made")
    first = _whole(session, file)
    say(f"steady: imported in {first.seconds:.0f} s")
    second = _killed(session, file)
    say(f"steady: resumed in {second.whole:.0f} s")
    return first, second


def rates(commits: Sequence[Commit]) -> tuple[float, float]:
    """Records a second in the first tenth of them and in the last. The first commit only starts the clock."""
    first, last = _tenths(commits)
    return _rate(commits[: first + 1]), _rate(commits[last:])


def half(commits: Sequence[Commit]) -> float:
    """The share of the time from the first commit to the last that the first half of the bytes took."""
    so_far, total = 0, sum(commit.size for commit in commits[1:])
    for commit in commits[1:]:
        so_far += commit.size
        if 2 * so_far >= total:
            return (commit.at - commits[0].at) / (commits[-1].at - commits[0].at)
    raise ValueError("fewer than two commits")


def _tenths(commits: Sequence[Commit]) -> tuple[int, int]:
    """Positions of the commits that end the first tenth and begin the last; one interval at least."""
    tenth = max(1, (len(commits) - 1) // 10)
    return tenth, len(commits) - 1 - tenth


def _rate(commits: Sequence[Commit]) -> float:
    return sum(commit.records for commit in commits[1:]) / (commits[-1].at - commits[0].at)


def _whole(session: Session, file: File) -> Steady:
    session.prepare(NUMBERED)
    command = CONTENDERS["sluice"].command(session.task(file, NUMBERED))
    held: list[tuple[float, float]] = []
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, env=session.environment(), cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            held.append((time.time(), measure.resident(measure.family(process.pid))))
            time.sleep(_LOOK_SECONDS)
        out.seek(0)
        seconds = _seconds(out.read(), file)
    commits = _commits(session)
    first, last = (commits[at].at for at in _tenths(commits))
    return Steady(
        rows=file.rows,
        size=file.size,
        seconds=seconds,
        peak=max(mb for _, mb in held),
        rates=rates(commits),
        memory=(max(mb for at, mb in held if at <= first), max(mb for at, mb in held if at >= last)),
        half=half(commits),
    )


def _killed(session: Session, file: File) -> Resumed:
    session.prepare(NUMBERED)
    command = CONTENDERS["sluice"].command(session.task(file, NUMBERED))
    process = subprocess.Popen(
        command, env=session.environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while (done := _done(session, file)) < _KILL_AT and process.poll() is None:
            time.sleep(_POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
    begun = time.time()
    # The same command goes on where it stopped; --wait: the server lets go of the table once it notices the kill.
    again = subprocess.run([*command, "--wait"], env=session.environment(), cwd=ROOT, capture_output=True, check=False)
    ended = time.time()
    _seconds(again.stdout, file)
    return Resumed(done, min(commit.at for commit in _commits(session) if commit.at > begun) - begun, ended - begun)


def _done(session: Session, file: File) -> float:
    """The share of the file's bytes that is committed."""
    return sum(commit.size for commit in _commits(session)) / file.size


def _commits(session: Session) -> list[Commit]:
    with connect(session.url) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM committed_at)::float8, records, byte_end - byte_start FROM sluice.chunks"
            " WHERE byte_end > byte_start ORDER BY committed_at"
        ).fetchall()
    return [Commit(*row) for row in rows]


def _seconds(output: bytes, file: File) -> float:
    """What the report says it took.

    Raises:
        WrongResult: the import failed, or the counts are not those of the file.
    """
    report = json.loads(output or b"{}")
    if (report.get("loaded"), report.get("rejected")) != (file.rows - file.bad, file.bad):
        raise WrongResult(f"{file.path} has {file.rows:,} rows, {file.bad:,} of them bad; the report says {report}")
    return float(report["seconds"])
