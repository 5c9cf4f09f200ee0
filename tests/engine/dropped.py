"""What tests of the inbox share: runs that a watcher began, executed in this process as a worker's process would."""

from __future__ import annotations

from typing import Any

from sluice.database import connect, database_url
from sluice.prefect_api import PrefectApi
from sluice.settings import Settings


def runs(api: PrefectApi, *states: str) -> list[dict[str, Any]]:
    wanted = {"state": {"type": {"any_": list(states)}}, "tags": {"all_": ["inbox"]}}
    found: list[dict[str, Any]] = api.post(
        "/flow_runs/filter", {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_ASC"}
    )
    return found


def execute(api: PrefectApi) -> list[dict[str, Any]]:
    """What a worker does: run all that is scheduled; those runs as they ended."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    from flows.import_dropped import import_dropped
    from flows.import_file import import_file

    begun = runs(api, "SCHEDULED")
    for run in begun:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(run["id"])
        flow: Any = import_file if "source" in flow_run.parameters else import_dropped
        run_flow(flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
    return [api.get(f"/flow_runs/{run['id']}") for run in begun]


def end(api: PrefectApi, run: dict[str, Any], state: str, message: str = "") -> None:
    api.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": state, "message": message}, "force": True})


def sql(query: str) -> list[tuple[Any, ...]]:
    with connect(database_url(Settings.from_environment())) as connection:
        return connection.execute(query.encode()).fetchall()


def emails() -> list[str]:
    return [email for (email,) in sql("SELECT email FROM public.contacts ORDER BY email")]
