"""Load a window on a cluster: some tasks that share its chunks out among themselves, on machines that see the text
and the database.
"""

from __future__ import annotations

import pickle
from contextlib import closing
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from sluice.database import connect, database_url
from sluice.errors import WorkersLost
from sluice.importer import Import, Progress
from sluice.job import Job
from sluice.loader import Loader
from sluice.model import Chunk, Counts
from sluice.settings import Settings
from sluice.share import Share
from sluice.turns import Turns
from tasks.cluster import PARTS
from tasks.load_window import name_of
from tasks.retries import RETRY_DELAYS, only_if_transient
from tasks.shared_limit import SharedLimit

Future = PrefectFuture[Any]

#: Seconds between two looks at how far the parts are.
_LOOK = 1.0


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=only_if_transient,
)
def load_part(work: bytes) -> Counts:
    """Take chunks of the window and load them, until every one is committed. Committed chunks are passed over, and
    those of a part that has died are taken over, so that neither a retry nor a second part doubles anything."""
    job, window = _unpacked(work)
    settings, counts = Settings.from_environment(), Counts()
    with job.text.open() as reader, closing(connect(database_url(settings))) as connection:
        loader = Loader(job, connection, reader.read)
        limit = SharedLimit(Progress(job.import_id, 0, job.text.size, counts))
        for _, loaded in Share(loader, Turns(connection, job.import_id, window)).load():
            counts += loaded
            limit(Progress(job.import_id, 0, job.text.size, counts))
    get_run_logger().info("%s: %s records of import %s loaded here", name_of(window), counts.records, job.import_id)
    return counts


def load_by_parts(running: Import, window: tuple[Chunk, ...]) -> None:
    """Load a window on the cluster of the flow's task runner.

    Raises:
        SluiceError: what a part met.
        WorkersLost: no part is left, and the window is not loaded.
    """
    named = name_of(window)
    futures = [
        _begin(running.job_elsewhere, window, f"{named}, part {number + 1}")
        for number in range(running.workers or PARTS)
    ]
    errors = []
    for future in futures:
        while (end := _end_of(future)) is _GOES_ON:
            running.look()
        if isinstance(end, BaseException):
            errors.append(end)
    running.look()
    if not errors or running.has_loaded(window):  # of a part that died, another has taken the chunks
        return
    told = next((error for error in errors if not _is_of_the_cluster(error)), None)
    raise told or WorkersLost(f"The cluster could not finish {named}: {errors[0]}")


def _begin(job: Job, window: tuple[Chunk, ...], name: str) -> Future:
    return load_part.with_options(task_run_name=name).submit(pickle.dumps((job, window)))


def _unpacked(work: bytes) -> tuple[Job, tuple[Chunk, ...]]:
    """Bytes, because Prefect looks through all other parameters for futures, piece by piece."""
    job, window = pickle.loads(work)
    return job, window


def _is_of_the_cluster(error: BaseException) -> bool:
    """Whether a part ended because its process or its machine did."""
    return type(error).__module__.split(".")[0] in ("distributed", "dask", "ray", "asyncio", "concurrent")


_GOES_ON = object()


def _end_of(future: Future) -> object:
    """Its result, the error it ended with, or `_GOES_ON`. Not asked of the server, which learns nothing of the end of
    a task whose process was killed."""
    try:
        return future.result(timeout=_LOOK)
    except TimeoutError:
        return _GOES_ON
    except Exception as error:
        return error
