"""kill -9 at random instants, a resume after each: in the end all is as if nothing had happened.

By hand, at full size: pytest tests/postgres/test_import_crash.py -m slow
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.make import write_customers
from sluice.model import Commit
from tests.postgres.conftest import new_database
from tests.postgres.import_bench import ROOT, Bench, make_bench

#: Small, so that a kill falls anywhere: before the claim, between chunks, within one, in the last transaction.
CHUNK_BYTES = 100_000


@pytest.fixture
def other_bench(server_url: str, template: str, tmp_path: Path) -> Iterator[Bench]:
    """Another database, for the run that nobody disturbs."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    with new_database(server_url, template) as url:
        yield make_bench(url, folder)


def start(bench: Bench, *command: object) -> subprocess.Popen[str]:
    words = [sys.executable, ROOT / "tests/postgres/crash_run.py", CHUNK_BYTES, *command, "--no-prefect", "--json"]
    environment = bench.environment(PYTHONPATH=str(ROOT))
    return subprocess.Popen(
        list(map(str, words)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def chunks(bench: Bench) -> int:
    count: int = bench.query("SELECT count(*) FROM sluice.chunks")[0][0]
    return count


def kill_somewhere(bench: Bench, child: subprocess.Popen[str], pick: random.Random, *, advance: int) -> bool:
    """Kill the child a random moment after it has committed `advance` chunks more; False if it ended before."""
    begun = chunks(bench)
    deadline = time.monotonic() + 120
    while child.poll() is None and chunks(bench) < begun + advance and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(pick.random() * 0.1)
    child.kill()
    child.communicate()
    return child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("commit", list(Commit))
@pytest.mark.parametrize(
    ("rows", "kills"), [(60_000, 5), pytest.param(500_000, 20, marks=pytest.mark.slow)], ids=["small", "large"]
)
def test_a_killed_import_ends_like_an_undisturbed_one(
    request: pytest.FixtureRequest, bench: Bench, other_bench: Bench, rows: int, kills: int, commit: Commit
) -> None:
    if rows > 100_000 and "slow" not in request.config.option.markexpr:
        pytest.skip("ten minutes: run it by hand, with -m slow")
    source = bench.folder / "customers.csv"
    write_customers(source, None, rows=rows, bad=0.02, seed=11, newlines=0.001, neighbours=True)
    told = ("--dataset", "customers", "--commit", commit)
    size = source.stat().st_size // CHUNK_BYTES
    pick = random.Random(f"{rows} {commit}")

    killed = 0
    child = start(bench, "import", source, *told)
    for _ in range(kills):
        killed += kill_somewhere(bench, child, pick, advance=pick.randrange(0, size // kills))
        child = start(bench, "resume", 1) if bench.imports() else start(bench, "import", source, *told)
    said, complaint = child.communicate()
    assert child.returncode == 3, complaint
    other_bench.run(source, dataset="customers", commit=commit, chunk_bytes=CHUNK_BYTES)

    assert killed == kills
    assert len(bench.imports()) == 1
    assert bench.imports()[0][2] >= 2
    assert '"status": "completed_with_rejects"' in said
    wanted, found = other_bench.end_state("customers"), bench.end_state("customers")
    assert wanted["leftovers"] == {}
    for name in wanted:
        assert found[name] == wanted[name], name
