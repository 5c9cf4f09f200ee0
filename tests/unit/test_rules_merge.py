"""Chunks put together are the whole file: Great Expectations' verdict on merged metrics is its verdict on all rows."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
import statistics
import warnings
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sluice.errors import RuleError
from sluice.model import ColumnType, TypeName
from sluice.rules import RulePlan, SuiteResult, load_suite, merge_metrics, suite_result, unique_values
from sluice.rules.frame import frame_of
from sluice.rules.gx import ExpectationConfiguration
from sluice.rules.gx import great_expectations as gx

COLUMNS = {
    "name": ColumnType(TypeName.TEXT),
    "city": ColumnType(TypeName.TEXT),
    "age": ColumnType(TypeName.BIGINT),
    "size": ColumnType(TypeName.DOUBLE),
    "price": ColumnType(TypeName.NUMERIC, 12, 2),
    "day": ColumnType(TypeName.DATE),
    "moment": ColumnType(TypeName.TIMESTAMP),
    "none": ColumnType(TypeName.TEXT),
}


def make_table(count: int, *, nulls: bool = True) -> pa.Table:
    chance = random.Random(7)

    def cells(make: Any) -> list[Any]:
        return [None if nulls and chance.random() < 0.1 else make() for _ in range(count)]

    return pa.table(
        {
            "name": pa.array(cells(lambda: chance.choice(["Ann", "Bob", "Zoë", "", "x" * 50])), pa.string()),
            "city": pa.array(cells(lambda: chance.choice(["Oslo", "Bern", "Lima"])), pa.string()),
            "age": pa.array(cells(lambda: chance.randrange(-5, 130)), pa.int64()),
            "size": pa.array(cells(lambda: chance.randrange(-4000, 4000) / 64), pa.float64()),
            "price": pa.array(cells(lambda: Decimal(chance.randrange(10**6)) / 100), pa.decimal128(12, 2)),
            "day": pa.array(
                cells(lambda: dt.date(2000, 1, 1) + dt.timedelta(days=chance.randrange(9000))), pa.date32()
            ),
            "moment": pa.array(
                cells(lambda: dt.datetime(2000, 1, 1) + dt.timedelta(seconds=chance.randrange(10**8))),
                pa.timestamp("us"),
            ),
            "none": pa.nulls(count, pa.string()),
        }
    )


def rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


ADULT = {"type": "comparison", "column": {"name": "age"}, "operator": ">=", "parameter": 18}
ROWS = [
    rule("column_values_to_not_be_null", column="name", mostly=0.85),
    rule("column_values_to_not_be_null", column="age", mostly=0.999),
    rule("column_values_to_not_be_null", column="none"),
    rule("column_values_to_be_null", column="city"),
    rule("column_values_to_be_null", column="none"),
    rule("column_values_to_match_regex", column="name", regex="^[A-Z]", mostly=0.5),
    rule("column_values_to_match_regex", column="none", regex="^[A-Z]"),
    rule("column_value_lengths_to_be_between", column="name", max_value=10),
    rule("column_values_to_be_in_set", column="city", value_set=["Oslo", "Bern"], mostly=0.6),
    rule("column_values_to_be_between", column="age", min_value=0, max_value=120, mostly=0.9),
    rule("column_values_to_be_between", column="age", min_value=0, row_condition=ADULT),
    rule("column_values_to_be_in_set", column="city", value_set=["Oslo"], row_condition=ADULT, mostly=0.3),
    rule("column_pair_values_a_to_be_greater_than_b", column_A="age", column_B="size", mostly=0.5),
    rule("column_pair_values_to_be_equal", column_A="name", column_B="city", ignore_row_if="either_value_is_missing"),
    rule("column_pair_values_to_be_equal", column_A="name", column_B="city", row_condition=ADULT),
    rule("multicolumn_values_to_be_equal", column_list=["name", "city"]),
    rule("multicolumn_sum_to_equal", column_list=["age", "size"], sum_total=100, ignore_row_if="any_value_is_missing"),
]
TABLES = [
    rule("table_row_count_to_be_between", min_value=100, max_value=1500),
    rule("table_row_count_to_equal", value=1000),
    rule("table_row_count_to_equal", value=10, row_condition=ADULT),
    rule("table_column_count_to_equal", value=8),
    rule("table_column_count_to_be_between", min_value=1, max_value=3),
    rule("table_columns_to_match_set", column_set=["name", "city"], exact_match=False),
    rule("table_columns_to_match_ordered_list", column_list=list(COLUMNS)),
    rule("table_columns_to_match_ordered_list", column_list=[*reversed(COLUMNS)]),
    rule("column_to_exist", column="name"),
    rule("column_to_exist", column="name", column_index=3),
    *(rule(f"column_{what}_to_be_between", column=column, min_value=-50, max_value=120)
      for what in ("min", "max", "sum", "mean", "stdev") for column in ("age", "size", "price")),
    rule("column_max_to_be_between", column="age", min_value=129, max_value=129, strict_min=True),
    rule("column_mean_to_be_between", column="age", max_value=1000, row_condition=ADULT),
    rule("column_min_to_be_between", column="moment", min_value="2000-01-01T00:00:00"),
    rule("column_proportion_of_non_null_values_to_be_between", column="name", min_value=0.8),
    rule("column_proportion_of_non_null_values_to_be_between", column="none", max_value=0.5),
    rule("column_distinct_values_to_be_in_set", column="city", value_set=["Oslo", "Bern"]),
    rule("column_distinct_values_to_be_in_set", column="age", value_set=list(range(-5, 130))),
    rule("column_distinct_values_to_contain_set", column="city", value_set=["Oslo", "Rome"]),
    rule("column_distinct_values_to_equal_set", column="city", value_set=["Oslo", "Bern", "Lima"]),
    rule("column_distinct_values_to_equal_set", column="city", value_set=["Oslo", "Bern", "Lima", "Rome"]),
    rule("column_distinct_values_to_equal_set", column="none", value_set=["a"]),
]  # fmt: skip
UNIQUE = [
    rule("column_values_to_be_unique", column="age", mostly=0.1),
    rule("column_values_to_be_unique", column="day"),
    rule("column_values_to_be_unique", column="none"),
    rule("compound_columns_to_be_unique", column_list=["name", "age"]),
    rule("compound_columns_to_be_unique", column_list=["name", "age", "size"], ignore_row_if="any_value_is_missing"),
    rule("compound_columns_to_be_unique", column_list=["none", "age"], ignore_row_if="never"),
]
CASES = [*ROWS, *TABLES, *UNIQUE]


def usual_frame(table: pa.Table) -> pd.DataFrame:
    """The frame people give to stock Great Expectations, whose code has its troubles with pandas' newer dtypes:
    a NULL among `Int64` makes it raise, and the mean of Arrow decimals is rounded to their scale."""
    return frame_of(table, COLUMNS).astype({"age": "float64", "price": "float64"})


def stock_result(table: pa.Table) -> dict[int, Any]:
    """Position of each case -> stock Great Expectations' verdict on the whole frame."""
    context = gx.get_context(mode="ephemeral")
    quiet = gx.data_context.types.base.ProgressBarsConfig(globally=False, metric_calculations=False)
    context.variables.progress_bars = quiet
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b").get_batch({"dataframe": usual_frame(table)})
    configurations = [ExpectationConfiguration(**case, meta={"case": i}) for i, case in enumerate(CASES)]
    suite = gx.ExpectationSuite(name="stock", expectations=[c.to_domain_obj() for c in configurations])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = batch.validate(suite, result_format={"result_format": "SUMMARY"}).results
    return {r.expectation_config.meta["case"]: json.loads(json.dumps(r.to_json_dict(), default=str)) for r in results}


def our_result(table: pa.Table, chunk: int, cases: list[dict[str, Any]] = CASES) -> SuiteResult:
    suite = load_suite({"name": "ours", "expectations": cases}, columns=COLUMNS)
    plan = RulePlan(suite)
    chunks = [table.slice(start, chunk) for start in range(0, max(len(table), 1), chunk)]
    metrics = [json.loads(json.dumps(plan.judge(part).metrics)) for part in chunks]
    merged = merge_metrics(metrics)
    backwards = merge_metrics(reversed(metrics))
    assert without_samples(merged) == without_samples(backwards)
    halves = [merge_metrics(metrics[: len(metrics) // 2]), merge_metrics(metrics[len(metrics) // 2 :])]
    assert merge_metrics(half for half in halves if half) == merged
    repeated = {
        i: count_repeated(unique_values(suite, table)[i][2].to_pylist()) for i in range(len(suite.unique_rules))
    }
    return suite_result(suite, merged, repeated)


def without_samples(metrics: dict[str, Any]) -> dict[str, Any]:
    rows = {rule: {**share, "sample": None} for rule, share in metrics["rows"].items()}
    return {**metrics, "rows": rows}


def count_repeated(values: list[str]) -> int:
    groups = (len(list(group)) for _, group in itertools.groupby(sorted(values)))
    return sum(size for size in groups if size > 1)


#: What the two may differ in: the sample of a uniqueness rule, positions of rows, and how NULLs are counted.
def comparable(result: dict[str, Any], kind: str) -> dict[str, Any]:
    outcome = {k: v for k, v in result["result"].items() if "index" not in k}
    if "unique" in kind:
        outcome = {k: v for k, v in outcome.items() if not k.startswith("partial")}
    if isinstance(outcome.get("observed_value"), float):
        outcome["observed_value"] = pytest.approx(outcome["observed_value"], rel=1e-12)
    if "null" in json.dumps(outcome.get("partial_unexpected_list")):
        outcome.pop("partial_unexpected_counts", None)  # no NaN equals another
    return {"success": result["success"], **outcome}


@pytest.mark.parametrize("chunk", [1000, 137, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("nulls", [True, False], ids=["nulls", "no nulls"])
def test_chunks_are_judged_as_the_whole_file(chunk: int, nulls: bool) -> None:
    table = make_table(1000, nulls=nulls)
    ours, stock = our_result(table, chunk).json, stock_result(table)
    assert len(ours["results"]) == len(CASES)
    for i, result in enumerate(ours["results"]):
        kind = CASES[i]["type"]
        assert stock[i]["exception_info"].get("raised_exception") is False, stock[i]
        assert comparable(stock[i], kind) == comparable(result, kind), CASES[i]
    successes = sum(result["success"] for result in stock.values())
    assert ours["statistics"]["successful_expectations"] == successes
    assert 0 < successes < len(CASES)


def failed(table: pa.Table, *cases: dict[str, Any]) -> list[tuple[str, str]]:
    return [(rule.kind, rule.message) for rule in our_result(table, 10, list(cases)).failed]


def test_dates_are_compared_with_iso_texts_where_the_stock_code_raises() -> None:
    table = pa.table({**{name: pa.nulls(3) for name in COLUMNS}, "day": [None, dt.date(2020, 1, 2), dt.date(1, 1, 1)]})
    for bounds in ({"min_value": "0001-01-01"}, {"max_value": "2020-01-02"}, {"max_value": "2020-01-02T00:00:00"}):
        what = "min" if "min_value" in bounds else "max"
        assert failed(table, rule(f"column_{what}_to_be_between", column="day", **bounds)) == []
    late = rule("column_max_to_be_between", column="day", max_value="2020-01-01")
    assert failed(table, late) == [("table", "column max is expected to be at most 2020-01-01; found 2020-01-02")]


def test_only_tolerances_and_rules_about_the_file_fail_it() -> None:
    table = pa.table({**{name: pa.nulls(4) for name in COLUMNS}, "name": ["a", "b", None, None]})
    not_null = rule("column_values_to_not_be_null", column="name")
    assert failed(table, not_null) == []
    not_null["kwargs"]["mostly"] = 0.5
    assert failed(table, not_null) == []
    not_null["kwargs"]["mostly"] = 0.51
    assert failed(table, not_null) == [("row", "50 % of the rows pass, 51 % are asked for; one that does not is empty")]
    assert failed(table, rule("table_row_count_to_equal", value=5)) == [
        ("table", "table row count is expected to equal 5; found 4")
    ]
    in_set = rule("column_distinct_values_to_equal_set", column="name", value_set=["a", "c"])
    assert failed(table, in_set) == [
        ("table", "column distinct values is expected to equal set; found unexpected: b; missing: c")
    ]


def test_a_file_without_rows() -> None:
    suite = load_suite({"name": "ours", "expectations": CASES}, columns=COLUMNS)
    nothing = suite_result(suite, merge_metrics([]), {})
    no_rows = suite_result(suite, merge_metrics([RulePlan(suite).judge(make_table(0)).metrics]), {})
    assert nothing == no_rows
    assert nothing.json["statistics"]["evaluated_expectations"] == len(CASES)
    assert {failure.kind for failure in nothing.failed} == {"table"}


def test_sums_do_not_overflow_and_deviations_do_not_cancel() -> None:
    big, columns = 2**62, {"n": ColumnType(TypeName.BIGINT), "x": ColumnType(TypeName.DOUBLE)}
    cases = [
        rule("column_sum_to_be_between", column="n", min_value=0),
        rule("column_mean_to_be_between", column="x", min_value=0),
        rule("column_stdev_to_be_between", column="x", min_value=0),
    ]
    suite = load_suite({"name": "sums", "expectations": cases}, columns=columns)
    plan = RulePlan(suite)
    tables = [pa.table({"n": [big] * 3, "x": [1e12 + shift, 1e12 + shift + 1, 1e12]}) for shift in (0.0, 0.25, 0.5)]
    result = suite_result(suite, merge_metrics(plan.judge(table).metrics for table in tables), {}).json
    total, mean, stdev = (entry["result"]["observed_value"] for entry in result["results"])
    assert total == 9 * big
    assert mean == 1e12 + 0.5
    assert stdev == pytest.approx(statistics.stdev([0, 1, 0, 0.25, 1.25, 0, 0.5, 1.5, 0]), rel=1e-12)


def test_distinct_values_stay_bounded() -> None:
    columns = {"name": ColumnType(TypeName.TEXT)}
    case = rule("column_distinct_values_to_be_in_set", column="name", value_set=["a"])
    suite = load_suite({"name": "bounded", "expectations": [case]}, columns=columns)
    plan = RulePlan(suite)
    parts = [plan.judge(pa.table({"name": [f"{i}" for i in range(n, n + 900)]})).metrics for n in (0, 900, 1800)]
    merged = merge_metrics(parts)
    assert len(json.dumps(merged)) < 20_000
    assert merged == merge_metrics(reversed(parts))
    assert not suite_result(suite, merged, {}).success


def test_metrics_of_another_suite_are_refused() -> None:
    suite = load_suite({"name": "ours", "expectations": ROWS}, columns=COLUMNS)
    with pytest.raises(RuleError, match=r"expectations\[0\] .* cannot be judged"):
        suite_result(suite, {"rows": {}, "tables": {}}, {})
