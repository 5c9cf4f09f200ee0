"""Flow runs of the work pool that a stopped service must not leave behind: cancel what runs, bury what is dead."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sluice.prefect_api import PrefectApi, PrefectApiError
from tasks.inbox import SERVICE_STOPS

#: The work pool of this project, in prefect.yaml as well.
POOL = "sluice"

#: States of a run that has, or should have, a process.
ACTIVE = ("PENDING", "RUNNING", "CANCELLING")


def active_runs(api: PrefectApi, pool: str = POOL, states: tuple[str, ...] = ACTIVE) -> list[dict[str, Any]]:
    """The flow runs of the pool in one of `states`, all of them."""
    found: list[dict[str, Any]] = []
    while True:
        page: list[dict[str, Any]] = api.post(
            "/flow_runs/filter",
            {
                "work_pools": {"name": {"any_": [pool]}},
                "flow_runs": {"state": {"type": {"any_": list(states)}}},
                "sort": "ID_DESC",
                "limit": 200,
                "offset": len(found),
            },
        )
        found += page
        if len(page) < 200:
            return found


def bury(api: PrefectApi, message: str, pool: str = POOL) -> list[str]:
    """Mark every active run Crashed, for when no process of it can be alive; their names."""
    names = []
    for run in active_runs(api, pool):
        state = {"type": "CRASHED", "name": "Crashed", "message": message}
        api.post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
        names.append(str(run["name"]))
    return names


def cancel(api: PrefectApi, seconds: float, hurry: Callable[[], bool], pool: str = POOL) -> tuple[int, int]:
    """Cancel every active run and wait for their ends, at most `seconds`, or until `hurry()`.

    Returns:
        how many were cancelled, and how many of them have not ended.
    """
    runs = active_runs(api, pool)
    for run in runs:
        if run["state_type"] != "CANCELLING":
            state = {"type": "CANCELLING", "message": SERVICE_STOPS}
            api.post(f"/flow_runs/{run['id']}/set_state", {"state": state})
    deadline, left = time.monotonic() + seconds, len(runs)
    while left and time.monotonic() < deadline and not hurry():
        time.sleep(0.3)
        left = len(active_runs(api, pool))
    return len(runs), left


def pause_pool(api: PrefectApi, paused: bool, pool: str = POOL) -> None:
    """Let workers take up no further runs, or take them up again. Runs that wait go on waiting."""
    api.patch(f"/work_pools/{pool}", {"is_paused": paused})


def ensure_pool(api: PrefectApi, pool: str = POOL) -> None:
    """Create the work pool unless it is there; its worker adds the job template."""
    try:
        api.post("/work_pools/", {"name": pool, "type": "process", "description": "Imports, on the service's machine"})
    except PrefectApiError as error:
        if error.status != 409:
            raise
