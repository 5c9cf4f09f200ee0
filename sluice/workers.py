"""Several processes of this machine that load one import together: `--workers N`.

The process that has claimed the import starts them and hands them its windows; they share each one out among
themselves (`sluice.turns`). After every chunk a worker says so and waits for leave to go on, so that whatever holds
the import up (a limit, a listener) holds all of them up. Processes, not threads, because reading and judging is
Python's work too; started anew and not forked, because a fork of a process with threads may stand still for ever.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection, Pipe, wait
from queue import SimpleQueue
from typing import Any, cast

from sluice.database import connect, database_url
from sluice.errors import SluiceError, WorkersLost
from sluice.job import Job
from sluice.loader import Loader
from sluice.model import Chunk, Counts
from sluice.settings import Settings
from sluice.share import Share
from sluice.turns import Turns
from sluice.without_pandas import keep_pandas_out

#: Seconds a worker gets to go when its pipe is closed; it goes at once.
_END_SECONDS = 5.0

Window = tuple[Chunk, ...]


class Crew:
    """The processes, for as long as the import runs."""

    def __init__(self, job: Job, settings: Settings, workers: int) -> None:
        self._processes: dict[Connection, subprocess.Popen[bytes]] = {}
        for _ in range(workers):
            ours, theirs = Pipe()
            command = [sys.executable, "-m", "sluice.workers", str(theirs.fileno())]
            with theirs:  # started in the order of the pipes, none of them has another's end
                self._processes[ours] = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
                )
            ours.send((job, settings))

    def load(self, window: Window) -> Iterator[tuple[Chunk, Counts]]:
        """Load a window's chunks, in the file's order; each as it is committed.

        Raises:
            SluiceError: what a worker met. The others go on until `close`.
            WorkersLost: none is left.
        """
        for connection in list(self._processes):
            self._send(connection, window)
        busy = set(self._processes)
        while busy:
            for connection in cast(list[Connection], wait(list(busy))):
                try:
                    said = connection.recv()
                except (EOFError, OSError):  # killed; the others take its chunks
                    busy.discard(connection)
                    self._lost(connection)
                    continue
                if said is None:
                    busy.discard(connection)
                elif isinstance(said, BaseException):
                    raise said
                else:
                    yield said
                    self._send(connection, True)

    def close(self) -> None:
        """End every process; what one of them has not committed is rolled back."""
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _send(self, connection: Connection, what: object) -> None:
        with suppress(OSError):  # of its end we hear when we listen to it
            connection.send(what)

    def _lost(self, connection: Connection) -> None:
        process = self._processes.pop(connection)
        connection.close()
        status = process.wait()
        if not self._processes:
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            raise WorkersLost(
                f"Every process that loaded the import has died, the last one {how}.",
                hint="If it was SIGKILL, the machine may be out of memory: use fewer --workers.",
            )


def main() -> None:
    """A worker: windows come through the pipe whose number is the first argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    keep_pandas_out()
    pipe = Connection(int(sys.argv[1]))
    job, settings = pipe.recv()
    heard: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, heard), daemon=True).start()
    try:
        with job.text.open() as reader, closing(connect(database_url(settings))) as connection:
            loader = Loader(job, connection, reader.read)
            while True:
                window: Window = heard.get()
                for loaded in Share(loader, Turns(connection, job.import_id, window)).load():
                    pipe.send(loaded)
                    heard.get()
                pipe.send(None)
    except Exception as error:
        pipe.send(error)
        if not isinstance(error, SluiceError):
            raise
        heard.get()  # until the pipe is closed


def _listen(pipe: Connection, heard: SimpleQueue[Any]) -> None:
    """A closed pipe ends this process at once, whatever it is doing: the server rolls that back."""
    with suppress(EOFError, OSError):
        while True:
            heard.put(pipe.recv())
    os._exit(1)


if __name__ == "__main__":
    main()
