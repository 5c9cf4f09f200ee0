"""A cluster that loads the windows of imports, where one machine is not enough: Dask or Ray, through Prefect's task
runners. Chosen by the environment; without it, an import is loaded by its own process and its workers.
"""

from __future__ import annotations

import os
from typing import Any

from prefect.task_runners import TaskRunner

from sluice.errors import UsageError

#: `dask` or `ray`; the address of its scheduler, and without one a cluster on this machine, for as long as a run.
KIND, ADDRESS = "SLUICE_CLUSTER", "SLUICE_CLUSTER_ADDRESS"

#: Parts a window is loaded in where a run says nothing of workers.
PARTS = 2


def is_told() -> bool:
    """Whether imports are loaded by a cluster."""
    return bool(os.environ.get(KIND))


def task_runner() -> TaskRunner[Any] | None:
    """The runner of the flow; None for Prefect's own.

    Raises:
        UsageError: it is told a kind there is not, or one that is not installed.
    """
    kind, address = os.environ.get(KIND, ""), os.environ.get(ADDRESS) or None
    if not kind:
        return None
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner

            local = {"n_workers": PARTS, "threads_per_worker": 1, "dashboard_address": None}
            dask: TaskRunner[Any] = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local)
            return dask
        if kind == "ray":
            from prefect_ray import RayTaskRunner

            ray: TaskRunner[Any] = RayTaskRunner(address=address)
            return ray
    except ImportError as error:
        raise UsageError(f"{KIND}={kind} needs a package that is not installed.", hint=_EXTRA) from error
    raise UsageError(f"{KIND} is {kind!r}; it can be dask or ray.")


_EXTRA = "Install it: pip install 'sluice[dask]', or 'sluice[ray]'."
