"""A process that has imported all that an import needs, and forks for each flow run: `python -m deployments.warm`.

Starting Python, Prefect, pyarrow and the datasets' rules takes three to six seconds, a fork some milliseconds. The
worker starts `deployments.run` for a run, which asks here for a fork and stands for it towards the worker. States,
cancellation, logs and crashes are Prefect's own as before: the fork runs `prefect.engine`.

A fork sees the modules as they were when this process started. When a source file has changed since, runs start cold,
and this process starts itself anew as soon as its last fork has ended.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deployments.run import FOLDER, LENGTH, SIGNALS, SOCKET, STALE, STARTED, STATUS
from sluice.settings import Settings

#: Seconds a request may take to arrive: it comes from this machine and is some kilobytes.
_PATIENCE = 5.0

#: Seconds between two looks of a fork at whether this process lives, and of this process at its own source files.
_LOOK = 1.0

#: Seconds the forks get to end when this process is told to.
_STOP_SECONDS = 5.0

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Job:
    """What a fork is to do: one flow run."""

    environ: dict[str, str]
    folder: str
    outputs: tuple[int, int]


class Stopped(Exception):
    """Told to end."""


class Stale(Exception):
    """The source files have changed, and no fork runs any more."""


def main() -> int:
    """Serve until told to stop. In a fork: run the flow run, and return its exit status."""
    os.chdir(os.environ.get(FOLDER) or Settings.from_environment().home)
    preload()
    try:
        with Forks() as forks:
            job = forks.serve()
    except Stale:
        os.chdir(PROJECT)
        os.execv(sys.executable, [sys.executable, "-m", "deployments.warm"])
    return run(job) if job is not None else 0


def preload() -> None:
    """Import what runs need, and read the datasets' rules, so that forks find all of it in memory."""
    import prefect._internal.metrics
    import prefect.artifacts
    import prefect.flow_engine  # noqa: F401

    import flows.import_dropped
    import flows.import_file
    import flows.watch_inbox  # noqa: F401
    from sluice.dataset import dataset_names, load_dataset
    from sluice.errors import SluiceError
    from sluice.prepare import rules_of

    settings = Settings.from_environment()
    for name in dataset_names(settings.datasets):
        with suppress(SluiceError):  # a run of it says what is wrong
            rules_of(load_dataset(name, settings.datasets), settings)
    gc.collect()
    gc.freeze()  # what is here stays: a collection in a fork would touch, and so copy, all of it


def sources() -> dict[str, tuple[int, int]]:
    """Every source file of the project that is loaded: modification time and size."""
    found = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if name and Path(name).is_relative_to(PROJECT) and ".venv" not in Path(name).parts:
            with suppress(OSError):
                status = os.stat(name)
                found[name] = (status.st_mtime_ns, status.st_size)
    return found


class Forks:
    """The socket, the forks, and who stands for which."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, socket.socket] = {}
        self._loaded = sources()
        self._stale = self._stopping = False

    def __enter__(self) -> Forks:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)  # whoever may connect may run code as this user
        try:
            self._server.bind(SOCKET)
        finally:
            os.umask(mask)
        self._server.listen(64)
        self._selector.register(self._server, selectors.EVENT_READ)
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in SIGNALS:
            signal.signal(number, self._on_stop)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for one in (self._server, self._woken, self._wake, *self._connections.values()):
            one.close()
        self._selector.close()

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    def serve(self) -> Job | None:
        """Fork for whoever asks. Returns the job in each fork, and None in this process when it is told to stop.

        Raises:
            Stale: start anew.
        """
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    with suppress(BlockingIOError):
                        self._woken.recv(4096)
                elif key.fileobj is self._server:
                    if (job := self._accept()) is not None:
                        return job
                else:
                    self._hear(key.data)
            self._reap()
            if self._stale and not self._connections:
                raise Stale
        self._stop()
        return None

    def _accept(self) -> Job | None:
        with suppress(OSError, ValueError):
            connection, _ = self._server.accept()
            connection.settimeout(_PATIENCE)
            job = receive(connection)
            if sources() != self._loaded:
                connection.sendall(STALE)
                connection.close()
                self._retire()
                return None
            if self._fork(connection, job):
                return job
        return None

    def _retire(self) -> None:
        """Take no more requests: whoever comes finds no socket, and starts cold."""
        self._stale = True
        self._selector.unregister(self._server)
        with suppress(FileNotFoundError):
            os.unlink(SOCKET)

    def _fork(self, connection: socket.socket, job: Job) -> bool:
        """True in the fork."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            connection.close()
            _end_with(parent)
            return True
        for output in job.outputs:
            os.close(output)
        self._connections[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        connection.sendall(STARTED)
        return False

    def _hear(self, pid: int) -> None:
        """Signals for a fork; the end of the connection is the end of the process that stands for it."""
        connection = self._connections.get(pid)
        if connection is None:
            return
        try:
            numbers = connection.recv(64)
        except OSError:
            numbers = b""
        for number in numbers or [signal.SIGKILL]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if not numbers:
            self._forget(pid)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._connections:
                with suppress(OSError):
                    self._connections[pid].sendall(STATUS.pack(status))
                self._forget(pid)

    def _forget(self, pid: int) -> None:
        connection = self._connections.pop(pid)
        self._selector.unregister(connection)
        connection.close()

    def _stop(self) -> None:
        """End the forks, gently at first."""
        with suppress(FileNotFoundError):
            os.unlink(SOCKET)
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            for pid in self._connections:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while self._connections and time.monotonic() < deadline:
                time.sleep(0.05)
                self._reap()


def receive(connection: socket.socket) -> Job:
    """A request: length, outputs and text.

    Raises:
        OSError, ValueError: it did not arrive as a whole, or is none.
    """
    head, outputs, _, _ = socket.recv_fds(connection, LENGTH.size, 2)
    left = LENGTH.unpack(head)[0]
    pieces = []
    while left:
        piece = connection.recv(min(left, 1 << 16))
        if not piece:
            raise ValueError("the request is cut off")
        pieces.append(piece)
        left -= len(piece)
    told = json.loads(b"".join(pieces))
    out, err = outputs
    return Job(told["environ"], told["folder"], (out, err))


def _end_with(parent: int) -> None:
    """Let this fork die with the process it was forked from: nobody could stop it any more."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=look, name="sluice-warm", daemon=True).start()


def run(job: Job) -> int:
    """Be the process the worker meant to start."""
    for one in (*SIGNALS, signal.SIGCHLD):
        signal.signal(one, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for output, number in zip(job.outputs, (1, 2), strict=True):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(job.environ)
    os.chdir(job.folder)
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    sys.argv = ["prefect.engine"]
    sys.modules.pop("prefect.engine", None)  # runpy warns of a module that it is to run and that is there
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
