"""One flow run, as the work pool's job command: `python -m deployments.run`.

Asks the warm process (`deployments.warm`) for a fork that has everything imported already, and stands for it: signals
go to the fork, its end is this process's end, and when this process is killed the fork is killed as well. So for
Prefect this is the process of the run. Where no warm process answers, this becomes `python -m prefect.engine`, which
is what the worker would have started without it.

Nothing is imported here but what Python itself has at hand: it is all that a run waits for.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress

#: The variable that says in which folder the warm process listens, and the socket's name there. The address of a
#: socket may be no longer than 100 bytes, so it is reached from inside its folder.
FOLDER = "_SLUICE_WARM"
SOCKET = "warm.sock"

#: Before the request its length; a status as `os.waitpid` gives it; what the warm process says first.
LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
STARTED, STALE = b"+", b"-"

#: Passed on to the fork.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> int:
    """Run it; does not return where no warm process answers."""
    asked = _ask()
    if asked is None:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    with asked:
        for one in SIGNALS:
            signal.signal(one, lambda number, _: asked.sendall(bytes([number])))
        status = _status(asked)
    if os.WIFSIGNALED(status):  # end as it ended, so that Prefect says the same of it
        number = os.WTERMSIG(status)
        if number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return os.waitstatus_to_exitcode(status) & 0xFF


def _ask() -> socket.socket | None:
    """The connection to a fork of our own, None where there is none to be had."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    here = os.getcwd()
    try:
        os.chdir(folder)
        connection.connect(SOCKET)
        os.chdir(here)
        request = json.dumps({"environ": dict(os.environ), "folder": here}).encode()
        socket.send_fds(connection, [LENGTH.pack(len(request))], [1, 2])
        connection.sendall(request)
        if connection.recv(1) == STARTED:
            return connection
    except OSError:
        pass
    with suppress(OSError):
        os.chdir(here)
    connection.close()
    return None


def _status(connection: socket.socket) -> int:
    """How the fork ended. A warm process that is gone has taken its forks with it."""
    got = b""
    while len(got) < STATUS.size:
        with suppress(InterruptedError):
            piece = connection.recv(STATUS.size - len(got))
            if not piece:
                return int(signal.SIGKILL)
            got += piece
    status: int = STATUS.unpack(got)[0]
    return status


if __name__ == "__main__":
    sys.exit(main())
