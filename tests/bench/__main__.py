"""Time whole imports against `psql \\copy` and other tools: `make bench`, or `python -m tests.bench`.

Each scenario's contenders run in turn, each as a process of its own into a table made anew, and ratios are taken within
a turn. The results are printed, and those of whole runs written into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from tests.bench import report, scenarios, steady
from tests.bench.contenders import CONTENDERS, PROFILE, ROOT
from tests.bench.data import Data, Kind
from tests.bench.datasets import CUSTOMERS
from tests.bench.machine import machine
from tests.bench.measure import BenchError
from tests.bench.scenarios import Entry
from tests.bench.session import Session, session
from tests.bench.stages import STAGES

PAGE = ROOT / "docs" / "benchmarks.md"

#: Parts of the page that are no scenarios, in the page's order.
VALIDATION, PROFILED, STEADY = "validation", "profile", "steady"
PARTS = [*(scenario.name for scenario in scenarios.SCENARIOS), VALIDATION, PROFILED, STEADY]

#: Rows judged at once: two chunks' worth, as stock validation is slow with less.
_VALIDATED_ROWS = 100_000

_PROFILED_ROWS = 2_000_000


def main() -> None:
    told = arguments()
    try:
        bench(told)
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from error


def bench(told: argparse.Namespace) -> None:
    """Measure, print and write what was asked for."""
    place = nullcontext(told.folder) if told.folder else tempfile.TemporaryDirectory(prefix="sluice-bench-")
    with place as folder, session(Path(folder).resolve()) as running:
        where = machine(running.url)
        say(where)
        for name, title, body in results(running, told):
            print(f"\n{title}\n\n{body}\n", flush=True)
            if not (told.quick or told.only):
                text = report.part(title, body, where)
                PAGE.write_text(report.merged(PAGE.read_text(encoding="utf-8"), {name: text}, PARTS), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--full", action="store_true", help="all scenarios: 10 M rows, slow tools at 2 M, 2 GB")
    parser.add_argument("--scenario", action="append", default=[], choices=PARTS, help="only this one; may be repeated")
    parser.add_argument("--profile", action="store_true", help="only the stage profile: --scenario profile")
    parser.add_argument(
        "--only", action="append", default=[], choices=CONTENDERS, help="only this contender, and the first"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="turns, instead of each scenario's own")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows, one turn; nothing is written")
    parser.add_argument("--megabytes", type=int, default=2000, metavar="N", help="size of the steady scenario's file")
    parser.add_argument(
        "--folder", type=Path, help="where files and database are made, and stay; default: a temporary one"
    )
    told = parser.parse_args()
    if told.profile:
        told.scenario.append(PROFILED)
    return told


def results(running: Session, told: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """(name, title, body) of every part that was asked for, as they are done."""
    names, scale = told.scenario, 20 if told.quick else 1
    for contender in CONTENDERS.values():
        if contender.missing:
            say(f"left out: {contender.name}, as {contender.missing}")
    for scenario in scenarios.chosen(full=told.full, names=names, only=told.only, runs=told.runs, quick=told.quick):
        table = report.table(scenario, running.scenario(scenario, say))
        yield scenario.name, scenario.title, f"{table}\n\nRuns in turn: {scenario.runs}."
    if told.only:
        return
    if VALIDATION in names or not names:
        yield VALIDATION, "Judging alone", validation(running)
    if PROFILED in names or (told.full and not names):
        yield PROFILED, "Where the time goes", profile(running, _PROFILED_ROWS // scale)
    if STEADY in names or (told.full and not names):
        whole, resumed = steady.steady(running, told.megabytes * 1_000_000 // scale, say)
        yield STEADY, "A large file, with the key index (bigint, in order)", report.steady_table(whole, resumed)


def validation(running: Session) -> str:
    file = running.file(Data(Kind.CUSTOMERS, _VALIDATED_ROWS, bad=1))
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.validation", str(file.path), CUSTOMERS]
    done = subprocess.run(command, env=running.environment(), cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return report.validation_table(json.loads(done.stdout))


def profile(running: Session, rows: int) -> str:
    result = running.entry(Entry(PROFILE, Data(Kind.CUSTOMERS, rows, bad=1)))
    return report.profile_table(result, {name: about for name, (about, _) in STAGES.items()})


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
