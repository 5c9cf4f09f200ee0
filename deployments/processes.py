"""One supervised child process: its own session and log file, started again after a pause that doubles."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

#: The environment variable that marks every process of a service with its SLUICE_HOME. Flow runs inherit it from the
#: worker, so that what outlived a killed launcher or worker can be found, and nothing else is ever ended.
MARK = "_SLUICE_SERVICE"

#: A log file is copied to `<name>.log.1` and emptied when it is larger.
_LOG_BYTES = 50_000_000

#: Seconds before the first and the later restarts, and how long a child must live to count as healthy again.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class Child:
    """A process we start and keep running.

    Attributes:
        log: stdout and stderr go there, appended; None: to where our own go.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    log: Path | None
    _process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _deaths: int = 0
    _again_at: float = field(default=0.0)

    def start(self) -> None:
        """Start it, in a session of its own: a Ctrl-C in the terminal is ours to pass on, in our order.

        Raises:
            OSError: the program or the log cannot be opened.
        """
        with ExitStack() as stack:
            log = None
            if self.log is not None:
                self.log.parent.mkdir(parents=True, exist_ok=True)
                log = stack.enter_context(self.log.open("ab"))
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log and subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_default_signals,
            )
        self._started = time.monotonic()

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def last_words(self, lines: int = 3) -> str:
        """The end of its log."""
        if self.log is None:
            return ""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4000))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

    def tend(self) -> str | None:
        """Start it again if it died and its pause is over. What there is to say about it, if anything."""
        self._trim_log()
        if self.runs:
            return None
        now = time.monotonic()
        if not self._again_at:
            if now - self._started > _HEALTHY_SECONDS:
                self._deaths = 0
            pause = _PAUSES[min(self._deaths, len(_PAUSES) - 1)]
            self._deaths += 1
            self._again_at = now + pause
            its_log = f"; its log: {self.log}" if self.log is not None else ""
            return f"{self.name} ended ({self._how()}); starting it again in {pause:.0f} s{its_log}"
        if now < self._again_at:
            return None
        self._again_at = 0.0
        self.start()
        return f"{self.name} started again"

    def _how(self) -> str:
        status = self.status
        if status is not None and status < 0:
            return f"signal {signal.Signals(-status).name}"
        return f"exit status {status}"

    def stop(self, seconds: float) -> None:
        """Ask it to end, and end it and what it started where it has not done so in time."""
        if self._process is None:
            return
        if self.runs:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """End it at once, without a word."""
        if self._process is not None and self.runs:
            self._process.kill()
            self._process.wait()

    def _trim_log(self) -> None:
        if self.log is None:
            return
        try:
            if self.log.stat().st_size > _LOG_BYTES:  # opened for appending: what comes next goes to the new end
                shutil.copyfile(self.log, self.log.with_name(self.log.name + ".1"))
                os.truncate(self.log, 0)
        except OSError:
            pass


def _default_signals() -> None:
    # Started in the background by a shell we would ignore SIGINT, and the child after us; a worker that ignores it
    # never ends, as it turns SIGTERM into SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_marked(mark: str, seconds: float = 5.0, having: str = MARK) -> int:
    """End every process marked with `mark` but this one; how many there were.

    Args:
        seconds: to end by themselves, before they are killed.
        having: only those with this environment variable as well.
    """
    found = [process for process in psutil.process_iter() if _is_marked(process, mark, having)]
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=seconds)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=seconds)
    return len(found)


def _is_marked(process: psutil.Process, mark: str, having: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        # A flow run may have had to start the embedded PostgreSQL; that one is ended in its own way.
        environ = process.environ()
        return bool(environ.get(MARK) == mark and having in environ and process.name() != "postgres")
    except psutil.Error:
        return False
