"""Run a command and write what it took: wall seconds, CPU seconds, peak resident memory, exit status.

    python -I -S launch.py FILE_DESCRIPTOR COMMAND [ARGUMENT ...]

A process of its own, and a small one, because a command's peak begins with the memory of the process that started it:
what a fork shares with its parent counts, and exec does not take it back.
"""

import os
import sys
import time

target, command = int(sys.argv[1]), sys.argv[2:]
begun = time.perf_counter()
pid = os.fork()
if pid == 0:
    os.close(target)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - begun
words = (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
os.write(target, " ".join(map(str, words)).encode())
