"""Time the judging of rows: Sluice's plan against stock `Batch.validate`, over identical rows and rules.

CPU seconds of this process, the best of several turns, with one Arrow thread: rows a second and core.

    python -m tests.bench.rules [--rows 100000] [--bad 1] [--turns 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice.cast import cast_table
from sluice.dataset import load_dataset
from sluice.model import Chunk, Dialect
from sluice.parse import parse
from sluice.rules import RulePlan, Suite, load_suite
from sluice.rules.frame import frame_of
from sluice.rules.gx import ExpectationConfiguration
from sluice.rules.gx import great_expectations as gx

ROOT = Path(__file__).parents[2]
DATASET = load_dataset("customers", ROOT / "expectations")


def customers(rows: int, bad: float) -> pa.Table:
    """Rows as the rules get to see them: parsed and cast."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "customers.csv")
        make = [sys.executable, str(ROOT / "samples/make.py"), "customers", "--rows", str(rows)]
        subprocess.run([*make, "--bad", f"{bad:g}", "--output", str(path)], check=True, stdout=subprocess.DEVNULL)
        data = path.read_bytes()
    header, _, _ = data.partition(b"\n")
    chunk = Chunk(0, len(header) + 1, len(data), first_line=2, lines=data.count(b"\n") - 1)
    names = [column.name for column in DATASET.columns]
    text = parse(chunk, lambda start, end: data[start:end], len(data), Dialect(), names).text
    return cast_table(text, DATASET.columns).table


def customers_suite() -> Suite:
    assert DATASET.suite is not None
    types = {column.name: column.type for column in DATASET.columns}
    return load_suite(DATASET.suite, columns=types, key=DATASET.key)


def stock_validation(suite: Suite, table: pa.Table) -> Callable[[], dict[int, list[int]]]:
    """Validate the same rules by Great Expectations' front door: rule -> rows that break it."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(
        globally=False, metric_calculations=False
    )
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    # Dates in the one dtype whose comparison with bounds the stock code does fast.
    frame = frame_of(table, suite.columns).astype({"subscription_date": "datetime64[ns]"})
    rules = [{**rule.configuration, "meta": {"rule": rule.index}} for rule in suite.row_rules]
    for rule in rules:
        if rule["kwargs"]["column"] == "subscription_date":
            dates = {name: f"{rule['kwargs'][name]}T00:00:00" for name in ("min_value", "max_value")}
            rule["kwargs"] = {**rule["kwargs"], **dates}
    expectations = [ExpectationConfiguration(**rule).to_domain_obj() for rule in rules]
    definition = asset.add_batch_definition_whole_dataframe("b")

    def validate() -> dict[int, list[int]]:
        batch = definition.get_batch({"dataframe": frame})
        found = batch.validate(
            gx.ExpectationSuite(name="stock", expectations=expectations),
            result_format={"result_format": "COMPLETE", "partial_unexpected_count": 0},
        )
        return {r.expectation_config.meta["rule"]: r.result["unexpected_index_list"] for r in found.results}

    return validate


def best(turns: int, work: Callable[[], Any]) -> float:
    """CPU seconds of the quickest turn."""
    seconds = []
    for _ in range(turns):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--bad", type=float, default=1.0, metavar="PERCENT")
    parser.add_argument("--turns", type=int, default=5)
    told = parser.parse_args()
    warnings.simplefilter("ignore")  # the stock code's
    pa.set_cpu_count(1)
    table, suite = customers(told.rows, told.bad), customers_suite()
    plan, stock = RulePlan(suite), stock_validation(suite, table)
    judge = plan.open(table)
    if {rule.index: judge.judge(rule)[0].tolist() for rule in suite.row_rules} != stock():
        raise SystemExit("The two do not find the same rows.")
    rows, ours, theirs = table.num_rows, best(told.turns, lambda: plan.judge(table)), best(told.turns, stock)
    print(f"{rows:,} customers rows, {told.bad:g} % bad, {len(suite.row_rules)} rules, one core; the same bad rows")
    print(f"sluice          {rows / ours:>12,.0f} rows/s")
    print(f"Batch.validate  {rows / theirs:>12,.0f} rows/s, {theirs / ours:.0f} times slower")


if __name__ == "__main__":
    main()
