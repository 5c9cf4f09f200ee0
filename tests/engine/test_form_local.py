"""The command line where no Prefect server answers: a temporary one is used, and nobody hears of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_MAIN = "from sluice.cli import main; main()"


@pytest.mark.slow
@pytest.mark.parametrize("url", [None, "", "http://127.0.0.1:9/api"], ids=["of prefect.toml", "empty", "nobody there"])
def test_without_a_server(home: Path, url: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    if url is not None:
        environment["PREFECT_API_URL"] = url
    done = subprocess.run(
        [sys.executable, "-c", _MAIN, "import", "samples/contacts.csv", "--dataset", "contacts", "--json"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["loaded"] == 196
    assert done.stderr.splitlines()[-1:] == ["contacts <- contacts.csv: 100%, 200 records, 4 rejected"]
    assert "ERROR" not in done.stderr
    assert "Traceback" not in done.stderr
