"""Real Prefect and a real database: one server of each for the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.embedded import stop_embedded
from sluice.prefect_api import PrefectApi
from tests.engine.prefect_api import Api

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect API. Heartbeats are off: each flow run would wait a second for their thread."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_LOCAL_STORAGE_PATH, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    storage = tmp_path_factory.mktemp("results")
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOCAL_STORAGE_PATH: storage}),
    ):
        yield


@pytest.fixture(scope="session")
def api(prefect_server: None) -> Iterator[Api]:
    """The server's REST API."""
    from prefect.settings import PREFECT_API_URL

    api = Api(str(PREFECT_API_URL.value()))
    yield api
    api.close()


@pytest.fixture(scope="session")
def deployed(prefect_server: None) -> PrefectApi:
    """The deployments that watchers look for; no worker serves them."""
    from flows.import_dropped import import_dropped
    from flows.import_file import import_file
    from flows.watch_inbox import prefect_api

    api = prefect_api()
    api.post("/work_pools/", {"name": "nobody", "type": "process"})
    for flow in (import_file, import_dropped):
        deployment: Any = flow.to_deployment(flow.name, work_pool_name="nobody", enforce_parameter_schema=True)
        deployment.apply()
    return api


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A SLUICE_HOME of the test's own, with an embedded PostgreSQL in it as soon as somebody asks."""
    # Not tmp_path_factory: its folders are readable by their owner only, and run by root the server is not root.
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(folder))
    monkeypatch.setenv("SLUICE_DATASETS", str(ROOT / "expectations"))
    yield folder
    stop_embedded(folder)
    shutil.rmtree(folder, ignore_errors=True)
