"""The flow `import-file` on a real Prefect server: states, names, and what is tried again."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sluice import opening
from sluice.chunks import Cutter
from sluice.database import connect, database_url
from sluice.errors import AlreadyImported, SourceError
from sluice.importer import Progress
from sluice.model import Report
from sluice.settings import Settings

ROOT = Path(__file__).parents[2]
CUSTOMERS = str(ROOT / "samples/customers.csv")

pytestmark = pytest.mark.usefixtures("prefect_server")


def run(**parameters: Any) -> Any:
    from flows.import_file import import_file

    return import_file(**parameters, return_state=True)


def result(state: Any) -> Any:
    return state.result(raise_on_failure=False)


def sql(query: str) -> list[tuple[Any, ...]]:
    with connect(database_url(Settings.from_environment())) as connection:
        return connection.execute(query.encode()).fetchall()


def task_runs(state: Any, at_least: int = 3) -> dict[str, str]:
    """Task run name -> state name, of the flow run that ended in `state`."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async def read() -> dict[str, str]:
        async with get_client() as client:
            for _ in range(50):  # task runs are recorded from events, a moment later
                runs = await client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
                )
                if len(runs) >= at_least and all(run.state and run.state.is_final() for run in runs):
                    break
                await asyncio.sleep(0.2)
            return {run.name: (run.state.name or "") if run.state else "" for run in runs}

    return asyncio.run(read())


def test_a_run_with_rejects_says_so(home: Path) -> None:
    state = run(source=CUSTOMERS, dataset="customers")
    assert (state.type.value, state.name) == ("COMPLETED", "CompletedWithRejects")
    report = result(state)
    assert isinstance(report, Report)
    assert state.message == f"10,000 records: {report.loaded:,} loaded, {report.rejected:,} rejected."
    assert report.flow_run_id == str(state.state_details.flow_run_id)
    assert sql("SELECT count(*) FROM public.customers") == [(report.loaded,)]
    names = task_runs(state)
    assert {"claim", "publish"} < set(names)
    assert any(name.startswith("lines ") for name in names)
    assert set(names.values()) == {"Completed"}


def test_a_clean_run_is_completed(home: Path) -> None:
    state = run(source=str(ROOT / "samples/contacts.csv"), table="public.plain", all_text=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Completed")


def test_a_failure_is_told_in_the_state_and_not_tried_again(home: Path) -> None:
    state = run(source=str(home / "missing.csv"), dataset="customers")
    assert state.type.value == "FAILED"
    assert "missing.csv" in state.message
    assert isinstance(result(state), SourceError)
    assert task_runs(state, at_least=1) == {"claim": "Failed"}


def test_the_same_file_is_refused(home: Path) -> None:
    run(source=CUSTOMERS, dataset="customers")
    state = run(source=CUSTOMERS, dataset="customers")
    assert state.type.value == "FAILED"
    assert isinstance(result(state), AlreadyImported)
    assert "already imported into public.customers as #1" in state.message


def test_a_lost_connection_is_tried_again_and_doubles_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.progress import listening

    monkeypatch.setattr(opening, "Cutter", partial(Cutter, chunk_bytes=200_000))
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed:
            killed.append(progress.import_id)
            sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'sluice' AND pid <> pg_backend_pid()"
            )

    with listening(kill_once):
        state = run(source=CUSTOMERS, dataset="customers")
    assert state.name == "CompletedWithRejects"
    assert killed == [result(state).import_id]
    assert result(state).records == 10_000
    assert sql("SELECT count(*), count(DISTINCT _line) FROM public.customers") == [(result(state).loaded,) * 2]
    assert sql("SELECT count(*) FROM sluice.rejected_rows") == [(result(state).rejected,)]


def test_nonsense_is_refused_before_anything_is_read(home: Path) -> None:
    state = run(source=CUSTOMERS, dataset="customers", mode="upsert")
    assert state.type.value == "FAILED"
    assert "mode: Input should be" in state.message
    assert list(home.iterdir()) == []
