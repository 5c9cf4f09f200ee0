"""Time what an import of a small file costs, stage by stage, in a process of its own as people start it.

    python -m tests.bench.start [--runs 7] [--cold]

Each stage lasts from its own beginning to that of the next: milliseconds by the clock, and of the process's CPU,
which tells more on a busy machine. Medians over the runs. `--cold` removes the suites that
were loaded before, so that each run loads its suite with Great Expectations.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sluice.embedded import embedded_url, stop_embedded

ROOT = Path(__file__).parents[2]

#: Stage -> the call it begins with: module and name in it.
STAGES = {
    "imports: the engine": ("sluice.cli.importing", "import_command.callback"),
    "dataset, sample, dialect, header": ("sluice.opening", "recipe_for"),
    "database: find it, connect": ("sluice.opening", "database_url"),
    "ledger: is it up to date?": ("sluice.opening", "ensure_ledger"),
    "read the file through": ("sluice.opening", "snapshot"),
    "rules": ("sluice.opening", "with_rules"),
    "lock, table, claim": ("sluice.opening", "table_lock"),
    "load": ("sluice.importer", "Import.load"),
    "finish": ("sluice.importer", "Import.finish"),
    "report": ("sluice.report", "print_report"),
}

CHILD = """
import time
begun = [time.monotonic(), time.process_time()]
import importlib, json, os, sys
seen = {{}}
def mark(stage, owner, name):
    original = getattr(owner, name)
    def marked(*args, **kwargs):
        seen.setdefault(stage, [time.monotonic(), time.process_time()])
        return original(*args, **kwargs)
    setattr(owner, name, marked)
class Finder:
    # Marks a module's calls as soon as it has been imported: importing it here would be a stage of its own.
    def find_spec(self, name, path=None, target=None):
        if name not in {{module for module, _ in stages.values()}}:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            for stage, (wanted, dotted) in stages.items():
                if wanted == name:
                    *owners, last = dotted.split(".")
                    owner = module
                    for one in owners:
                        owner = getattr(owner, one)
                    mark(stage, owner, last)
        spec.loader.exec_module = exec_module
        return spec
import importlib.util
stages = {stages!r}
sys.meta_path.insert(0, Finder())
from sluice.cli import main
try:
    main()
finally:
    seen["end"] = [time.monotonic(), time.process_time()]
    print(json.dumps({{"python": begun, **seen}}), file=sys.stderr)
"""


def timed(source: Path, env: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Milliseconds a stage: by the clock, of CPU."""
    arguments = ["import", str(source), "--dataset", "contacts", "--no-prefect", "--force"]
    command = [sys.executable, "-c", CHILD.format(stages=STAGES), *arguments]
    with tempfile.TemporaryFile("w+") as errors:
        begun = time.monotonic()
        child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        ended = (time.monotonic(), usage.ru_utime + usage.ru_stime)
        errors.seek(0)
        said = errors.read()
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(said)
    seen = json.loads(said.splitlines()[-1])
    marks = {"interpreter": (begun, 0.0), "imports: the command line": seen["python"]}
    marks |= {stage: seen[stage] for stage in STAGES}
    marks |= {"interpreter's end": seen["end"], "": ended}
    lasted = {
        stage: (1000 * (until[0] - since[0]), 1000 * (until[1] - since[1]))
        for (stage, since), until in zip(marks.items(), list(marks.values())[1:], strict=False)
    }
    return {**lasted, "all": (1000 * (ended[0] - begun), 1000 * ended[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--cold", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        os.chmod(folder, 0o755)  # run by root, the server is another user
        home = Path(folder, "home")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "PYTHONDONT"))}
        env = {**kept, "SLUICE_HOME": str(home)}
        embedded_url(home)
        source = ROOT / "samples/contacts.csv"
        try:
            timed(source, env)
            runs = []
            for _ in range(told.runs):
                if told.cold:
                    shutil.rmtree(home / "rules")
                runs.append(timed(source, env))
        finally:
            stop_embedded(home)
    print("| stage | ms | of CPU |\n|---|---:|---:|")
    for stage in runs[0]:
        wall, cpu = (statistics.median(run[stage][which] for run in runs) for which in (0, 1))
        print(f"| {stage} | {wall:.0f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
