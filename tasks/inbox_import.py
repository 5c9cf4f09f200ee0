"""Import one small dropped file within a flow run that imports many, and put it where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run
from psycopg.pq import TransactionStatus

from sluice.database import connect, database_url
from sluice.errors import AlreadyImported, ImportCancelled, SluiceError, Superseded, TransientError
from sluice.history import Connection
from sluice.inbox_ledger import Known
from sluice.markdown import plain
from sluice.model import Report
from sluice.opening import opened
from sluice.request import Request
from sluice.settings import Settings, user_name
from tasks.inbox_settle import Dropped, event_of, settle_failed, settle_imported
from tasks.retries import RETRY_DELAYS, only_if_transient


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. `before`: its content had been imported already, as `import_id`."""

    name: str
    import_id: int | None
    records: int = 0
    rejected: int = 0
    before: bool = False
    failed: bool = False
    message: str = ""


class Session:
    """The connection that all files of a run use, one after another: a new one costs a small file a third of its time,
    most of it for what a session of PostgreSQL has to look up in the catalog before it is quick."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        """It, idle; a new one where it was lost, or left in the middle of something.

        Raises:
            DatabaseUnavailable, DatabaseError: as `database_url` and `connect`.
        """
        if self._connection is None or self._connection.info.transaction_status is not TransactionStatus.IDLE:
            self.close()
            self._connection = connect(database_url(self._settings))
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def tell(event: str, dataset: str, name: str, **payload: Any) -> None:
    """The event, by Prefect's own thread: asking the server each time took an eighth of a small file's time."""
    emit_event(**event_of(event, dataset, name, payload))


def _task_run_name(parameters: dict[str, Any]) -> str:
    return plain(parameters["file"].name, 80)


@task(
    task_run_name=_task_run_name,  # type: ignore[arg-type]  # Prefect looks at its signature
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=only_if_transient,
)
def import_one(settings: Settings, session: Session, file: Dropped) -> Outcome:
    """One file, from its claim in the ledger to its place in the archive or among the failed.

    Raises:
        TransientError: try again. Superseded, ImportCancelled: the file is left to whoever did that.
    """
    name = plain(file.name, 80)
    try:
        report = _imported(settings, session, file)
    except AlreadyImported as error:
        settle_imported(file, error.imported_as, tell, before=True)
        outcome = Outcome(file.name, error.imported_as, before=True, message=str(error))
    except (TransientError, Superseded, ImportCancelled):
        raise
    except Exception as error:
        if not isinstance(error, SluiceError):
            get_run_logger().exception("%s: an error nobody foresaw", name)
        why = str(error) if isinstance(error, SluiceError) else f"An error nobody foresaw: {type(error).__name__}."
        import_id = getattr(error, "import_id", None)
        known = Known(import_id, False, why) if import_id is not None else None
        settle_failed(file, known, why, tell)
        outcome = Outcome(file.name, import_id, failed=True, message=why)
    else:
        assert report.import_id is not None, "only a dry run has no number"
        settle_imported(file, report.import_id, tell)
        outcome = Outcome(file.name, report.import_id, report.records, report.rejected, message=report.message)
    get_run_logger().info("%s: %s", name, outcome.message)
    return outcome


def _imported(settings: Settings, session: Session, file: Dropped) -> Report:
    request = Request(file.source, dataset=file.dataset, wait=True)
    run_id, connection = str(flow_run.id) if flow_run.id else None, session.connection()
    with opened(request, settings, flow_run_id=run_id, started_by=user_name(), connection=connection) as running:
        for window in running.windows:
            running.load(window)
        return running.finish()
