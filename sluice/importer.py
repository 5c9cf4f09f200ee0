"""An import under way: load its windows, finish it, or write down how it failed. `sluice.opening` makes one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from sluice import claim as claims
from sluice import history, ledger
from sluice.chunks import windows
from sluice.claim import Claimed, table_lock
from sluice.database import connect, database_url, translated
from sluice.errors import ImportCancelled, SluiceError, Superseded, TerminalError, ThresholdExceeded
from sluice.finish import finish_import
from sluice.job import Job
from sluice.loader import Loader
from sluice.loadplan import LoadPlan
from sluice.model import Chunk, Commit, Counts, Report, Status
from sluice.prefetch import prefetched
from sluice.publish import staging_plan
from sluice.recipe import Recipe
from sluice.relocate import Relocator
from sluice.reporting import export_rejects, report_of
from sluice.request import Request
from sluice.settings import Settings
from sluice.source import Snapshot
from sluice.target import TargetPlan
from sluice.thresholds import check_threshold
from sluice.throttle import TokenBucket
from sluice.workers import Crew

#: Seconds the server has to take a request to cancel; a server that cannot in that time has gone.
_CANCEL_SECONDS = 5.0

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: bytes of text and records that are committed (in a dry run: judged)."""

    import_id: int
    bytes_done: int
    bytes_total: int
    counts: Counts


OnProgress = Callable[[Progress], object]


class Import:
    """An import that has been claimed by this process. Made by `opened`."""

    def __init__(
        self,
        request: Request,
        settings: Settings,
        recipe: Recipe,
        snap: Snapshot,
        chunks: list[Chunk],
        connection: Connection,
        target: TargetPlan,
        claimed: Claimed,
        on_progress: OnProgress | None,
        stack: ExitStack,
    ) -> None:
        self.request, self.recipe, self.claimed, self.chunks, self.target = request, recipe, claimed, chunks, target
        self._settings, self._snapshot, self._connection, self._stack = settings, snap, connection, stack
        self._on_progress = on_progress
        self._bucket = TokenBucket(request.max_rows_per_second) if request.max_rows_per_second else None
        self._catch_up()
        dataset = recipe.dataset
        self.plan = LoadPlan(
            import_id=claimed.import_id,
            into=dataset.table,
            columns=target.columns,
            key=target.key,
            key_constraints=target.key_constraints,
            mode=dataset.mode,
            on_duplicate=dataset.on_duplicate,
            lineage=target.lineage,
            wire=target.wire,
            # A file of one chunk is in the table as it was in the file: its keys are too few to matter.
            order=target.order if len(chunks) > 1 else (),
        )
        self.job = Job(
            import_id=claimed.import_id,
            attempt=claimed.attempt,
            recipe=replace(recipe, begins_with=b""),  # a mebibyte that was compared already
            text=snap.text,
            plan=staging_plan(self.plan) if dataset.commit is Commit.ATOMIC else self.plan,
            text_lines=sum(chunk.lines for chunk in chunks),
        )
        # A dry run is one transaction, and so one connection.
        self.workers = 1 if request.dry_run else request.workers
        self._loader: Loader | None = None
        self._crew: Crew | None = None

    @property
    def import_id(self) -> int:
        return self.claimed.import_id

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self.import_id, self._bytes_done, sum(chunk.size for chunk in self.chunks), self._counts)

    @property
    def windows(self) -> list[tuple[Chunk, ...]]:
        """The chunks that are not committed yet, in the file's order and in groups of some seconds of work."""
        return list(windows(chunk for chunk in self.chunks if chunk.byte_start not in self._done))

    def _catch_up(self) -> None:
        """Learn from the ledger what is committed."""
        done = claims.done_chunks(self._connection, self.import_id)
        self._done = {chunk.byte_start for chunk in done}
        self._bytes_done = sum(chunk.byte_end - chunk.byte_start for chunk in done)
        self._counts = ledger.totals(self._connection, self.import_id).counts

    @property
    def job_elsewhere(self) -> Job:
        """The job for processes on other machines: the text where it is stored, if it can be read there in pieces."""
        return replace(self.job, text=self._snapshot.stored or self.job.text)

    def look(self) -> None:
        """See what other processes have committed of this import, and tell whoever listens.

        Raises:
            ThresholdExceeded: too many rows are rejected. DatabaseUnavailable: the connection was lost.
        """
        self._reconnect()
        before = self._bytes_done
        self._catch_up()
        if self._bytes_done != before and self._on_progress is not None:
            self._on_progress(self.progress)
        self._check_threshold()

    def has_loaded(self, window: tuple[Chunk, ...]) -> bool:
        """Whether every chunk of it is committed, as of the last `load` or `look`."""
        return all(chunk.byte_start in self._done for chunk in window)

    def _reconnect(self) -> None:
        """After a lost connection: a new one, the table's lock on it, and a look at what was committed."""
        if not (self._connection.closed or self._connection.broken):
            return
        if self.request.dry_run:
            raise TerminalError("The connection was lost, and with it all that the dry run had done.")
        connection = connect(database_url(self._settings))
        self._stack.callback(connection.close)
        self._stack.enter_context(table_lock(connection, self.plan.into, wait=False))
        self._connection = connection
        self._catch_up()

    def load(self, window: tuple[Chunk, ...]) -> Counts:
        """Load a window's chunks, each in a transaction of its own; those that are committed are passed over, so
        that a window can be tried again. Returns the counts of the whole import so far.

        Raises:
            ThresholdExceeded, RuleError, SourceError, DatabaseError, Superseded, ImportCancelled: terminal.
            DatabaseUnavailable: the connection was lost; try the window again. WorkersLost: the processes were.
        """
        self._reconnect()
        self._check_threshold()  # an earlier attempt may have ended at it
        pending = tuple(chunk for chunk in window if chunk.byte_start not in self._done)
        if (self.workers or 1) > 1 and pending:
            self._load_by_many(pending)
        else:
            self._load_here(pending)
        return self._counts

    def _load_here(self, pending: tuple[Chunk, ...]) -> None:
        if self._loader is None or self._loader.connection is not self._connection:
            self._loader = Loader(self.job, self._connection, self._snapshot.read)
        with prefetched(map(self._loader.prepare, pending), "sluice-prepare") as prepared:
            for item in prepared:
                if self._bucket is not None:
                    self._bucket.take(item.routed.records)
                self._committed(item.routed.chunk, self._loader.load(item))

    def _load_by_many(self, pending: tuple[Chunk, ...]) -> None:
        if self._crew is None:
            self._crew = Crew(self.job, self._settings, self.workers or 1)
            self._stack.callback(self._crew.close)
        try:
            for chunk, counts in self._crew.load(pending):
                if self._bucket is not None:
                    self._bucket.take(counts.records)
                self._committed(chunk, counts)
        except BaseException:
            self._crew.close()  # nothing of it may commit after this import was marked failed
            self._crew = None
            raise

    def _committed(self, chunk: Chunk, counts: Counts) -> None:
        self._done.add(chunk.byte_start)
        self._counts += counts
        self._bytes_done += chunk.size
        if self._on_progress is not None:
            self._on_progress(self.progress)
        self._check_threshold()

    def _check_threshold(self) -> None:
        # The text has at least as many lines as records, so this never stops an import that would have passed.
        check_threshold(self.recipe.dataset.max_rejects, self._counts.rejected, records=self.job.text_lines)

    def finish(self) -> Report:
        """Judge the file as a whole, publish what was staged, check the identity, and close the ledger's row.

        Raises:
            ExpectationFailed, ThresholdExceeded, IdentityMismatch: the import is failed, as its commit mode says.
        """
        self._reconnect()
        with translated():
            if self._is_finished():  # an answer to the last commit was lost, not the commit
                return report_of(self._connection, self.import_id)
            finish_import(
                self._connection,
                self.recipe,
                self.plan,
                self.claimed,
                Relocator(self.chunks, self._snapshot.read, self.recipe.dialect, self.recipe.source_bytes),
                notes=(*self.recipe.notes, *self.target.notes),
            )
            report = report_of(self._connection, self.import_id)
            if not self.request.dry_run:
                return report
            message = "Dry run: nothing was loaded."
            if report.rejected:
                path = export_rejects(self._connection, self.import_id, self._settings.home / "reports")
                message += f" All rejected rows: {path}"
            return replace(report, import_id=None, message=message)

    def _is_finished(self) -> bool:
        row = history.get(self._connection, self.import_id)
        return row.attempt == self.claimed.attempt and history.is_complete(row.status)

    def failed(self, error: BaseException) -> None:
        """Write into the ledger how the import ended; best effort, the error itself is on its way already."""
        cancelled = isinstance(error, ImportCancelled) or not isinstance(error, Exception)
        status = Status.CANCELLED if cancelled else Status.FAILED
        if isinstance(error, SluiceError):
            error.import_id = None if self.request.dry_run else self.import_id
            error.hint = " ".join(filter(None, (error.hint, self._what_stays(error))))
        message = str(error) or type(error).__name__
        if not isinstance(error, Exception):
            message = (
                f"Stopped ({type(error).__name__}). Its rows are kept; `sluice resume {self.import_id}` continues."
            )
        if isinstance(error, Superseded) or self.request.dry_run:
            return
        with suppress(SluiceError, psycopg.Error), ExitStack() as stack:
            connection = self._connection
            if connection.closed or connection.broken or connection.info.transaction_status.name != "IDLE":
                _let_go(connection)
                connection = connect(database_url(self._settings))
                stack.callback(connection.close)
            ledger.fail(connection, self.import_id, self.claimed.attempt, status, message)

    def _what_stays(self, error: SluiceError) -> str:
        """Which rows a failed import leaves behind, and how to go on."""
        written = self._counts.loaded + self._counts.updated
        if self.request.dry_run or isinstance(error, Superseded):
            return ""
        if self.recipe.dataset.commit is Commit.ATOMIC or not written:
            return f"Nothing of import #{self.import_id} is in {self.plan.into}."
        how = f"`sluice resume {self.import_id}` continues it."
        if isinstance(error, ThresholdExceeded):
            how = "Importing the file again with a higher limit continues it."
        return f"{written:,} rows of import #{self.import_id} are in {self.plan.into} and stay there. {how}"


def _let_go(connection: Connection) -> None:
    """End what a connection is still doing. A signal other than Ctrl-C (Prefect's cancellation) leaves psycopg in
    the middle of a statement, whose transaction holds the import's row against being marked."""
    if connection.closed:
        return
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=_CANCEL_SECONDS)
    connection.close()
