r"""Time whole imports against `psql \copy` of the same file into the same table: `make bench`.

The commands run in turn, several times, because a ratio within one run is what can be trusted on a shared machine.

    python tests/bench/run.py [--rows 2000000] [--bad 1] [--runs 3] [--flow]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sluice.database import connect
from sluice.dataset import load_dataset
from sluice.embedded import embedded_url, stop_embedded
from sluice.target import create_table

ROOT = Path(__file__).parents[2]
SLUICE = Path(sys.executable).with_name("sluice")
#: The wheel's own client, so that nothing else needs to be installed.
PSQL = next(Path(sys.prefix).rglob("pginstall18/bin/psql"))


@dataclass(frozen=True)
class Run:
    """One command: wall seconds, CPU seconds of the client, peak resident MB, seconds the report gives (or none)."""

    wall: float
    cpu: float
    peak: float
    reported: float | None


def timed(command: list[str], env: dict[str, str], ok: tuple[int, ...]) -> Run:
    """Run it to its end, measured from outside."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.DEVNULL, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        out.seek(0)
        text = out.read().decode()
    code = os.waitstatus_to_exitcode(status)
    if code not in ok:
        raise SystemExit(f"{command} ended with {code}: {text}")
    reported = json.loads(text)["seconds"] if text.startswith("{") else None
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _RSS_UNIT, reported)


#: ru_maxrss is in kB on Linux, in bytes on macOS.
_RSS_UNIT = 1024 if sys.platform == "linux" else 1024 * 1024


def contenders(source: Path, clean: Path, url: str, flow: bool) -> dict[str, tuple[list[str], tuple[int, ...]]]:
    """Name -> command and the exit statuses that mean it worked."""
    columns = ", ".join(column.name for column in load_dataset("customers", ROOT / "expectations").columns)
    copy = f"\\copy public.customers ({columns}) from '{clean}' with (format csv, header)"
    sluice = [str(SLUICE), "import", str(source), "--dataset", "customers", "--force", "--json"]
    found: dict[str, tuple[list[str], tuple[int, ...]]] = {
        "psql \\copy": ([str(PSQL), "-q", url, "-c", copy], (0,)),
        "sluice --no-prefect": ([*sluice, "--no-prefect"], (0, 3)),
    }
    if flow:
        found["sluice (Prefect flow)"] = (sluice, (0, 3))
    return found


def measure(source: Path, clean: Path, home: Path, runs: int, flow: bool) -> dict[str, list[Run]]:
    """Every contender in turn, each into a table made anew."""
    url = embedded_url(home)
    env = {**os.environ, "SLUICE_HOME": str(home)}
    env.pop("SLUICE_DATABASE_URL", None)
    results: dict[str, list[Run]] = {}
    for _ in range(runs):
        for name, (command, ok) in contenders(source, clean, url, flow).items():
            with connect(url) as connection:
                connection.execute("DROP TABLE IF EXISTS public.customers")
                create_table(connection, load_dataset("customers", ROOT / "expectations"))
                connection.execute("CHECKPOINT")
            results.setdefault(name, []).append(timed(command, env, ok))
    return results


def table(results: dict[str, list[Run]]) -> str:
    """Medians and ranges as Markdown; ratios are medians of the ratios run by run."""
    base = results["psql \\copy"]
    lines = [
        "| | wall s (min-max) | x psql | import s | x psql | client CPU s | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in results.items():
        walls = [run.wall for run in found]

        def ratio(value: Callable[[Run], float | None], found: list[Run] = found) -> str:
            pairs = [(value(run), other.wall) for run, other in zip(found, base, strict=True)]
            return f"{statistics.median(v / b for v, b in pairs if v is not None):.2f}"

        reported = [run.reported for run in found if run.reported is not None]
        lines.append(
            f"| {name} | {statistics.median(walls):.1f} ({min(walls):.1f}-{max(walls):.1f}) "
            f"| {ratio(lambda r: r.wall)} "
            f"| {f'{statistics.median(reported):.1f}' if reported else ''} "
            f"| {ratio(lambda r: r.reported) if reported else ''} "
            f"| {statistics.median(run.cpu for run in found):.1f} | {max(run.peak for run in found):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--bad", type=float, default=1.0, metavar="PERCENT")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--flow", action="store_true", help="as the Prefect flow, too")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        source, clean, home = Path(folder, "customers.csv"), Path(folder, "clean.csv"), Path(folder, "home")
        for path, bad in ((source, told.bad), (clean, 0.0)):
            make = [sys.executable, str(ROOT / "samples/make.py"), "customers", "--rows", str(told.rows)]
            subprocess.run([*make, "--bad", f"{bad:g}", "--output", str(path)], check=True)
        os.chmod(folder, 0o755)  # run by root, the server is another user
        try:
            results = measure(source, clean, home, told.runs, told.flow)
        finally:
            stop_embedded(home)
    print(f"{told.rows:,} customers rows of 12 columns, {told.bad:g} % bad (psql: none), key customer_id; ", end="")
    print(f"{os.cpu_count()} cores")
    print(table(results))


if __name__ == "__main__":
    main()
