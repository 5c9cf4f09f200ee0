"""Load chunks of one import over one connection, each in a transaction of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pyarrow as pa

from sluice import ledger
from sluice.database import translated
from sluice.job import Job
from sluice.load import load_chunk
from sluice.model import Chunk, Counts
from sluice.rejects import save_rejects, save_unique_values
from sluice.route import count_codes
from sluice.workbench import Prepared, Workbench

Connection = psycopg.Connection[tuple[Any, ...]]


def _at_once() -> None:
    """It is always the turn of the only process there is."""


class Loader:
    """Not for two threads at once, but for `prepare`, which may work ahead in another one.

    Args:
        connection: in autocommit, in no transaction.
        read: the text's bytes from start to end.
    """

    def __init__(self, job: Job, connection: Connection, read: Callable[[int, int], bytes]) -> None:
        self.job, self.connection = job, connection
        self._bench = Workbench(job.recipe, job.text.size, read)
        self._optimistic = True

    def prepare(self, chunk: Chunk) -> Prepared:
        """Read, judge and encode a chunk; touches no connection.

        Raises:
            RuleError: a rule could not be evaluated. SourceError: the file was changed.
        """
        return self._bench.prepare(chunk, self.job.plan)

    def load(self, prepared: Prepared, in_turn: Callable[[], None] = _at_once) -> Counts:
        """Commit a chunk's good rows, its rejects and its row in the ledger: all of it, or none.

        Args:
            in_turn: returns when every earlier chunk is committed. Called inside the transaction, before anything
                is done whose outcome depends on them.

        Raises:
            DatabaseError, Superseded, ImportCancelled: terminal.
            DatabaseUnavailable: the connection was lost.
        """
        begun = time.perf_counter()
        job, connection, routed = self.job, self.connection, prepared.routed
        with translated(), connection.transaction():
            ledger.fence(connection, job.import_id, job.attempt)
            outcome = load_chunk(
                connection, job.plan, routed, prepared.data, optimistic=self._optimistic, in_turn=in_turn
            )
            errors = pa.concat_tables([routed.errors, outcome.errors])
            save_rejects(connection, job.import_id, [*routed.rejected, *outcome.rejected], errors)
            if routed.unique_values is not None:
                save_unique_values(connection, job.import_id, routed.unique_values)
            counts = Counts(
                records=routed.records,
                loaded=outcome.loaded,
                updated=outcome.updated,
                unchanged=outcome.unchanged,
                skipped=outcome.skipped,
                rejected=len(routed.rejected) + len(outcome.rejected),
                blank_lines=routed.blank_lines,
            )
            ledger.record_chunk(
                connection,
                job.import_id,
                job.attempt,
                routed.chunk,
                counts,
                errors=count_codes(errors),
                warnings=routed.warnings,
                metrics=routed.metrics,
                seconds=prepared.seconds + time.perf_counter() - begun,
            )
            in_turn()
        self._optimistic = not outcome.collided
        return counts
