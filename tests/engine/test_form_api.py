"""The examples of docs/api.md, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.database import connect, database_url
from sluice.settings import Settings
from tests.engine.prefect_api import Api

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text()

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def environment(home: Path, api: Api) -> dict[str, str]:
    """The deployment is there, and a process that executes its runs."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    from flows.import_file import import_file

    with connect(database_url(Settings.from_environment())):
        pass  # the database is there before a run is
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with get_client(sync_client=True) as client:
        client.create_deployment(
            flow_id=client.create_flow_from_name("import-file"),
            name="import-file",
            entrypoint="flows.import_file.import_file",
            path=str(ROOT),
            parameter_openapi_schema=import_file.parameters.model_dump(),
            enforce_parameter_schema=True,
        )
    return environment


def test_curl(environment: dict[str, str], api: Api) -> None:
    first, start, refused, follow, progress, result, cancel = blocks("sh")
    asked = bash(first + start + "echo $RUN", environment)
    run_id = asked.strip()
    again = bash(first + start + "echo $RUN", environment)
    assert again == asked
    execute(run_id, environment)
    known = f"{first}DEPLOYMENT=$(call $API/deployments/name/import-file/import-file | field id)\nRUN={run_id}\n"
    assert "Validation failed for field 'mode'" in bash(known + refused, environment)
    assert "contacts <- contacts.csv COMPLETED CompletedWithRejects 200 records" in bash(known + follow, environment)
    assert '"data":100' in bash(known + progress, environment).replace(" ", "")
    assert '"rejected": 4' in bash(known + result, environment)
    assert '"status":"ABORT"' in bash(known + cancel, environment)


def test_sql(environment: dict[str, str], api: Api) -> None:
    from flows.import_file import import_file

    import_file(source=str(ROOT / "samples/contacts.csv"), dataset="contacts", return_state=True)
    (query,) = blocks("sql")
    with connect(database_url(Settings.from_environment())) as connection:
        found = connection.execute(query.replace("import_id = 7", "import_id = 1").encode()).fetchall()
    assert len(found) == 4


def test_python(environment: dict[str, str], api: Api) -> None:
    (script,) = blocks("python")
    waiting = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(100):
            found = api.post(
                "/flow_runs/filter",
                flow_runs={
                    "idempotency_key": {"any_": ["people-2026-11-21"]},
                    "state": {"type": {"any_": ["SCHEDULED"]}},
                },
            )
            if found:
                break
        execute(found[0]["id"], environment)
        shown, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert "people <- people.csv CompletedWithRejects 250 records" in shown
    assert "1 {'key.duplicate': 1" in shown


def bash(script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def execute(flow_run_id: str, environment: dict[str, str]) -> None:
    """What a worker does."""
    command = [sys.executable, "-m", "prefect", "flow-run", "execute", flow_run_id]
    subprocess.run(command, env=environment, cwd=ROOT, timeout=180, check=True)
