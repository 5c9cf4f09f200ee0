"""One process's share of a window: take the next free chunk, prepare it, load it when it is its turn, until none is
left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg

from sluice import ledger
from sluice.errors import DatabaseUnavailable
from sluice.loader import Loader
from sluice.model import Chunk, Counts
from sluice.thresholds import check_threshold
from sluice.turns import NotYet, Overtaken, Turns
from sluice.workbench import Prepared

#: Seconds between two looks for a chunk whose process has died, when all that are left are in others' hands.
_PAUSE = 0.1


class _Prepared:
    """A chunk and its preparation, which goes on in the one thread that there is for it."""

    def __init__(self, chunk: Chunk, future: Future[Prepared]) -> None:
        self.chunk, self.future = chunk, future


class Share:
    """Loads over one connection, beside other processes that do the same with the same chunks."""

    def __init__(self, loader: Loader, turns: Turns) -> None:
        self._loader, self._turns = loader, turns
        self._pool = ThreadPoolExecutor(1, "sluice-prepare")

    def load(self) -> Iterator[tuple[Chunk, Counts]]:
        """Load chunks until every one of the window is committed, by whomever; those that were loaded here.

        Raises:
            ThresholdExceeded: before a chunk is committed that comes after too many rejects.
            SluiceError: as `Loader.prepare` and `Loader.load`.
        """
        with self._pool:
            coming = self._take()
            while coming is not None or not self._turns.is_over():
                if coming is None:
                    time.sleep(_PAUSE)
                    coming = self._take()
                    continue
                prepared, following = coming.future.result(), self._take()
                if following is not None and following.chunk.index < coming.chunk.index:
                    yield from self._load(following.future.result())  # one that a dead process had
                    following = self._take()
                yield from self._load(prepared)
                coming = following

    def _take(self) -> _Prepared | None:
        chunk = self._turns.take()
        return None if chunk is None else self._prepare(chunk)

    def _prepare(self, chunk: Chunk) -> _Prepared:
        return _Prepared(chunk, self._pool.submit(self._loader.prepare, chunk))

    def _load(self, prepared: Prepared) -> Iterator[tuple[Chunk, Counts]]:
        chunk, patient = prepared.routed.chunk, False
        while self._turns.holds(chunk):
            try:
                if patient:
                    self._turns.wait_outside(chunk)
                counts = self._loader.load(prepared, self._in_turn(chunk))
            except Overtaken as error:
                yield from self._load(self._prepare(error.chunk).future.result())
            except NotYet:
                patient = True
            except DatabaseUnavailable as error:
                if not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                    raise
                patient = True  # with a process that waits for a key of this chunk, as this one did for one of its
            else:
                self._turns.release(chunk)
                yield chunk, counts

    def _in_turn(self, chunk: Chunk) -> Callable[[], None]:
        asked = False

        def wait() -> None:
            nonlocal asked
            if asked:
                return
            asked = True
            self._turns.wait(chunk)
            job = self._loader.job
            if (limit := job.recipe.dataset.max_rejects) is not None:
                rejected = ledger.rejected_before(self._loader.connection, job.import_id, chunk)
                check_threshold(limit, rejected, records=job.text_lines)

        return wait
