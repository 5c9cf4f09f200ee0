"""One command from its start to its end, measured from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]

#: ru_maxrss is in units of 1024 bytes on Linux, in bytes on macOS.
_RSS_BYTES = 1024 if sys.platform == "linux" else 1

_LAUNCHER = Path(__file__).with_name("launch.py")

#: Seconds between two looks at a command's processes: reading the shares of a process of 500 MB takes some 5 ms.
_LOOK_SECONDS = 0.25


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


class CommandFailed(BenchError):
    """A command ended with a status that does not mean it worked."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a command took: seconds of wall time and CPU, and its output.

    Attributes:
        client: CPU of the command with all processes it started and waited for.
        server: CPU of PostgreSQL meanwhile, all its processes together.
        prefect: CPU of the Prefect server meanwhile; 0 where none runs.
        peak: resident MB. Of the largest process; or, if several ran at once, of all at their largest together, each
            shared page counted once (proportional set size, looked at four times a second).
    """

    wall: float
    client: float
    server: float
    prefect: float
    peak: float
    output: str


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    ok: Sequence[int] = (0,),
    postgres: int,
    prefect: int | None = None,
) -> Run:
    """Run it to its end. `postgres` and `prefect` are the servers' process ids.

    Raises:
        CommandFailed: its exit status is not among `ok`.
    """
    before = cpu_seconds(postgres), cpu_seconds(prefect)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as told:
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(told.fileno()), *command]
        process = subprocess.Popen(launcher, env=env, cwd=cwd, stdout=out, stderr=complaints, pass_fds=(told.fileno(),))
        together = _watched(process)
        output, said, took = (_text(file) for file in (out, complaints, told))
    wall, client, peak, status = map(float, took.split())
    if status not in ok:
        raise CommandFailed(f"{command} ended with {status:.0f}:\n{output[-2000:]}{said[-2000:]}")
    return Run(
        wall=wall,
        client=client,
        server=cpu_seconds(postgres) - before[0],
        prefect=cpu_seconds(prefect) - before[1],
        peak=max(peak * _RSS_BYTES / 1e6, together),
        output=output,
    )


def _watched(process: subprocess.Popen[bytes]) -> float:
    """Wait for a launcher; the most MB its command held at a time when it was several processes."""
    together = 0.0
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
                return together
            command = family(process.pid)[1:]
            if len(command) > 1:
                together = max(together, resident(command))
    except BaseException:
        for pid in family(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def cpu_seconds(root: int | None) -> float:
    """CPU seconds of a process so far, with all its descendants: those that live, and those that were waited for.

    A backend that ends hands its seconds to the postmaster, so that nothing has to be seen in time. On macOS the
    system does not tell the second part.
    """
    if root is None:
        return 0.0
    process = psutil.Process(root)
    while True:
        ended = _waited_for(process)
        seconds = _own(process) + ended
        for child in process.children(recursive=True):
            with suppress(psutil.Error):
                seconds += _own(child) + _waited_for(child)
        if _waited_for(process) == ended:  # else one ended meanwhile, and may be in neither of the two, or in both
            return seconds


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _waited_for(process: psutil.Process) -> float:
    """Of the children that ended."""
    times = process.cpu_times()
    return float(getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0))


def resident(pids: Sequence[int]) -> float:
    """The MB that processes hold together, shared pages counted once. Linux only."""
    held = 0.0
    for pid in pids:
        with suppress(psutil.Error):
            held += psutil.Process(pid).memory_full_info().pss / 1e6
    return held


def family(root: int) -> list[int]:
    """A process and its descendants. The kernel's own lists: psutil would read every process of the machine."""
    found = [root]
    for pid in found:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, path.read_text().split())
    return found
