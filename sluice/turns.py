"""Several processes load one import: which of them loads which chunk, and whose turn it is to commit.

Chunks are taken in the file's order and committed in the file's order, whoever loads them. So what becomes of a row
(the first one with a key wins) is the same as with one process, and what is committed is always the file's beginning.
What runs at the same time is the work before a commit: reading, judging, and the server's COPY.

A chunk is taken by an advisory lock of the session. The lock goes with a process that dies, and another takes the
chunk. All of it is in the database, so the processes may be on any machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from sluice.database import translated
from sluice.model import Chunk

Connection = psycopg.Connection[tuple[Any, ...]]

#: The class of advisory locks on chunks: the next number after that of the locks on tables (`sluice.migrate`).
LOCK_CLASS = 0x536C7564

#: Seconds between two looks at what others have committed: a chunk takes some tenths of a second.
_SHORTEST, _LONGEST = 0.002, 0.05


class NotYet(Exception):
    """It is not this chunk's turn, and waiting for it with an open transaction would keep it from coming."""


class Overtaken(NotYet):
    """The chunk before is in nobody's hands: it was taken now, and is to be loaded first."""

    def __init__(self, chunk: Chunk) -> None:
        super().__init__(chunk)
        self.chunk = chunk


class Turns:
    """The chunks of one window, as one of the processes that load it sees them.

    Args:
        chunks: ascending; what stands before the first one is committed.
        connection: the one the chunks are loaded over.
    """

    def __init__(self, connection: Connection, import_id: int, chunks: Iterable[Chunk]) -> None:
        self._connection, self._import_id = connection, import_id
        self._left = list(chunks)
        self._before = {chunk.byte_start: before for before, chunk in zip(self._left, self._left[1:], strict=False)}
        self._mine: set[int] = set()

    @translated()
    def take(self) -> Chunk | None:
        """The first chunk that is neither committed nor in anybody's hands. None when all that are left are: see
        `is_over`."""
        for chunk in list(self._left):
            if chunk.byte_start in self._mine or not self._lock(chunk):
                continue
            if not self._is_committed(chunk):
                return chunk
            self.release(chunk)
            self._left.remove(chunk)
        return None

    @translated()
    def is_over(self) -> bool:
        """Whether every chunk is committed."""
        self._left = [chunk for chunk in self._left if not self._is_committed(chunk)]
        return not self._left

    def holds(self, chunk: Chunk) -> bool:
        """Whether it was taken here and is not committed yet."""
        return chunk.byte_start in self._mine

    @translated()
    def release(self, chunk: Chunk) -> None:
        """Let go of a chunk, after it was committed."""
        self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", self._key(chunk))
        self._mine.discard(chunk.byte_start)

    def wait(self, chunk: Chunk) -> None:
        """Return when every earlier chunk is committed. Called inside the transaction that has loaded `chunk`.

        Raises:
            Overtaken: roll back, load that one, then this one again.
            NotYet: somebody waits for a row of this transaction. Roll back, wait for the turn, then load it again.
        """
        self._wait(chunk, self._check_held_up)

    def wait_outside(self, chunk: Chunk) -> None:
        """The same outside of a transaction, where nobody can be held up.

        Raises:
            Overtaken: load that one first.
        """
        self._wait(chunk, lambda: None)

    def _wait(self, chunk: Chunk, check: Callable[[], None]) -> None:
        before = self._before.get(chunk.byte_start)
        pause = _SHORTEST
        while before is not None and not self._is_committed(before):
            if self._lock(before):
                if self._is_committed(before):
                    self.release(before)
                    return
                raise Overtaken(before)
            check()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _check_held_up(self) -> None:
        """An earlier chunk may hold a key that this transaction has inserted, and wait for its end."""
        found = self._connection.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
        )
        if found.fetchall()[0][0]:
            raise NotYet

    def _lock(self, chunk: Chunk) -> bool:
        """Take a chunk unless another session has it."""
        if chunk.byte_start in self._mine:
            return True
        found = self._connection.execute("SELECT pg_try_advisory_lock(%s, %s)", self._key(chunk))
        got = bool(found.fetchall()[0][0])
        if got:
            self._mine.add(chunk.byte_start)
        return got

    def _is_committed(self, chunk: Chunk) -> bool:
        found = self._connection.execute(
            "SELECT EXISTS (SELECT FROM sluice.chunks WHERE import_id = %s AND byte_start = %s)",
            [self._import_id, chunk.byte_start],
        )
        return bool(found.fetchall()[0][0])

    def _key(self, chunk: Chunk) -> tuple[int, int]:
        """Two imports that run at once may share a number; then one waits for the other's chunk, and goes on."""
        return LOCK_CLASS, (self._import_id * 1_000_003 + chunk.index) & 0x7FFFFFFF
