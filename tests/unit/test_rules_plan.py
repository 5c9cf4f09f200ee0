# ruff: noqa: E501 - tables of cases
"""Judging a chunk: what a violation says, rows whose cells did not cast, and rules that cannot be evaluated."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.errors import RuleError
from sluice.model import ColumnType, Severity, TypeName, Violation
from sluice.rules import RulePlan, load_suite, unique_values

ROOT = Path(__file__).parents[2]
COLUMNS = {
    "name": ColumnType(TypeName.TEXT),
    "city": ColumnType(TypeName.TEXT),
    "age": ColumnType(TypeName.INTEGER),
    "size": ColumnType(TypeName.DOUBLE),
    "price": ColumnType(TypeName.NUMERIC, 8, 2),
    "day": ColumnType(TypeName.DATE),
    "moment": ColumnType(TypeName.TIMESTAMP),
    "flag": ColumnType(TypeName.BOOLEAN),
}
TABLE = pa.table(
    {
        "name": ["Ann", "Bob", None, "Ann"],
        "city": ["Oslo", None, None, 'Os"lo\n'],
        "age": pa.array([10, 20, None, 40], pa.int32()),
        "size": pa.array([0.0, -0.0, 1.5, None]),
        "price": pa.array([Decimal("1.10"), None, Decimal("1.10"), Decimal("2.00")], pa.decimal128(8, 2)),
        "day": pa.array([dt.date(2020, 1, 1), None, dt.date(2020, 1, 1), dt.date(2021, 1, 1)]),
        "moment": pa.array([dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 1, 0, 0, 1), None], pa.timestamp("us")),
        "flag": [True, False, None, True],
    }
)


def rule(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


def plan_of(*rules: dict[str, Any]) -> RulePlan:
    return RulePlan(load_suite({"name": "test", "expectations": list(rules)}, columns=COLUMNS))


def rows(violations: tuple[Violation, ...]) -> dict[str, list[int]]:
    return {violation.message: violation.rows.tolist() for violation in violations}


def cells(**failed: list[int]) -> Mapping[str, Any]:
    return {name: np.array(positions, np.int64) for name, positions in failed.items()}


def test_a_violation_names_rule_column_rows_values_and_severity() -> None:
    (violation,) = (
        plan_of(rule("column_values_to_be_between", "warning", column="age", max_value=15)).judge(TABLE).violations
    )
    assert violation.code == "rule.expect_column_values_to_be_between"
    assert (violation.column, violation.message, violation.severity) == ("age", "is not at most 15", Severity.WARNING)
    assert violation.rows.dtype == np.int64
    assert (violation.rows.tolist(), violation.values) == ([1, 3], ["20", "40"])


def test_several_columns_are_named_together() -> None:
    plan = plan_of(
        rule("column_pair_values_a_to_be_greater_than_b", column_A="age", column_B="price"),
        rule("multicolumn_values_to_be_equal", column_list=["name", "city", "flag"], ignore_row_if="never"),
    )
    pair, several = plan.judge(TABLE).violations
    assert (pair.column, pair.rows.tolist(), pair.values) == ("age, price", [1, 2], ["20, NULL", "NULL, 1.10"])
    assert (several.column, several.rows.tolist()) == ("name, city, flag", [0, 1, 3])
    assert several.values[1] == "Bob, NULL, false"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("day", ["2020-01-01", "2020-01-01", "2021-01-01"]),
        ("price", ["1.10", "1.10", "2.00"]),
        ("flag", ["true", "false", "true"]),
        ("moment", ["2020-01-01 00:00:00.000000", "2020-01-01 00:00:01.000000"]),
    ],
)
def test_values_are_texts(column: str, values: list[str]) -> None:
    (violation,) = plan_of(rule("column_values_to_be_null", column=column)).judge(TABLE).violations
    assert violation.values == values


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (rule("column_values_to_not_be_null", column="name"), "is empty"),
        (rule("column_values_to_match_regex", column="name", regex=r"^\S+@\S+$"), r"does not match ^\S+@\S+$"),
        (rule("column_values_to_match_regex", column="name", regex="a" * 500), "does not match " + "a" * 183 + "…"),
        (rule("column_values_to_be_in_set", column="name", value_set=["x", "y"]), "is not one of x, y"),
        (rule("column_values_to_be_in_set", column="name", value_set=list("uvwxyz")), "is not one of 6 allowed values"),
        (rule("column_values_to_be_between", column="age", min_value=50.0, max_value=100), "is not between 50 and 100"),
        (rule("column_values_to_be_between", column="age", min_value=50, strict_min=True), "is not above 50"),
        (rule("column_values_to_be_between", column="day", max_value="2019-01-01"), "is not at most 2019-01-01"),
        (rule("column_value_lengths_to_be_between", column="name", max_value=2), "length is not at most 2"),
        (rule("column_value_lengths_to_equal", column="name", value=2), "length is not 2"),
        (rule("column_values_to_match_strftime_format", column="name", strftime_format="%Y"), "is not a date of the form %Y"),
        (rule("multicolumn_sum_to_equal", column_list=["age", "size"], sum_total=3), "do not add up to 3"),
        (rule("column_pair_values_to_be_in_set", column_A="name", column_B="city", value_pairs_set=[["x", "y"]]),
         "is none of 1 allowed pairs"),
    ],
)  # fmt: skip
def test_messages(entry: dict[str, Any], message: str) -> None:
    (violation,) = plan_of(entry).judge(TABLE).violations
    assert violation.message == message
    assert len(violation.message) < 200


FAILING = plan_of(
    rule("column_values_to_not_be_null", column="name"),
    rule("column_values_to_not_be_null", column="age"),
    rule("column_value_lengths_to_equal", column="name", value=3),
    rule("column_pair_values_to_be_equal", column_A="name", column_B="city"),
    rule(
        "column_values_to_be_in_set",
        column="name",
        value_set=["x"],
        row_condition="age >= 10",
        condition_parser="pandas",
    ),
    rule("column_distinct_values_to_be_in_set", column="name", value_set=["Ann"]),
)


def test_a_row_with_a_bad_cell_is_judged_by_the_rules_that_do_not_look_at_it() -> None:
    whole, broken = FAILING.judge(TABLE), FAILING.judge(TABLE, cells(age=[1, 2], flag=[]))
    assert rows(whole.violations)["is empty"] == [2]  # of age, which comes second
    assert [v.rows.tolist() for v in whole.violations] == [[2], [2], [0, 1, 3], [0, 1, 3]]
    assert [(v.column, v.rows.tolist()) for v in broken.violations] == [
        ("name", [2]),
        ("name, city", [0, 1, 3]),
        ("name", [0, 3]),  # its row condition may look at any cell
    ]


def test_metrics_count_only_rows_whose_every_cell_cast() -> None:
    broken = FAILING.judge(TABLE, cells(age=[1, 2])).metrics
    kept = FAILING.judge(TABLE.take(pa.array([0, 3]))).metrics
    assert broken == kept
    assert json.loads(json.dumps(broken)) == broken


def test_a_comparison_with_null_is_not_met() -> None:
    plan = plan_of(rule("column_pair_values_to_be_equal", column_A="age", column_B="size", ignore_row_if="neither"))
    assert rows(plan.judge(TABLE).violations) == {"are not equal": [0, 1, 2, 3]}


def test_a_rule_that_cannot_be_evaluated_stops_everything() -> None:
    plan = plan_of(
        rule("column_values_to_not_be_null", column="name"),
        rule("column_values_to_be_between", column="age", min_value=1),
    )
    wrong = TABLE.set_column(2, "age", pa.array(["1", "2", None, "4"]))
    with pytest.raises(
        RuleError, match=r"expectations\[1\] \(expect_column_values_to_be_between, age\) cannot be evaluated"
    ):
        plan.judge(wrong)


def test_a_missing_column_stops_everything() -> None:
    with pytest.raises(RuleError, match="needs the column 'age'"):
        FAILING.judge(TABLE.drop_columns(["age"]))


def test_chunked_columns_and_slices() -> None:
    twice = pa.concat_tables([TABLE.slice(1), TABLE])
    assert [v.rows.tolist() for v in FAILING.judge(twice).violations] == [
        [1, 5],
        [1, 5],
        [0, 2, 3, 4, 6],
        [0, 2, 3, 4, 6],
    ]


def test_a_plan_keeps_nothing_from_one_chunk_to_the_next() -> None:
    first = rows(FAILING.judge(TABLE).violations)
    FAILING.judge(TABLE.slice(2), cells(name=[0]))
    assert rows(FAILING.judge(TABLE).violations) == first


def unique(*columns: str, **kwargs: Any) -> dict[str, Any]:
    if len(columns) == 1:
        return rule("column_values_to_be_unique", column=columns[0])
    return rule("compound_columns_to_be_unique", column_list=list(columns), **kwargs)


@pytest.mark.parametrize(
    ("entry", "positions", "values"),
    [
        (unique("name"), [0, 1, 3], ["Ann", "Bob", "Ann"]),
        (unique("price"), [0, 2, 3], ["1.10", "1.10", "2.00"]),
        (unique("size"), [0, 1, 2], ["0", "0", "1.5"]),
        (unique("name", "city"), [0, 1, 3], [["Ann", "Oslo"], ["Bob", None], ["Ann", 'Os"lo\n']]),
        (unique("name", "city", ignore_row_if="any_value_is_missing"), [0, 3], [["Ann", "Oslo"], ["Ann", 'Os"lo\n']]),
        (unique("name", "city", ignore_row_if="never"), [0, 1, 2, 3],
         [["Ann", "Oslo"], ["Bob", None], [None, None], ["Ann", 'Os"lo\n']]),
        (unique("day", "age"), [0, 1, 2, 3],
         [["2020-01-01", "10"], [None, "20"], ["2020-01-01", None], ["2021-01-01", "40"]]),
    ],
)  # fmt: skip
def test_unique_values(entry: dict[str, Any], positions: list[int], values: list[Any]) -> None:
    suite = load_suite({"name": "test", "expectations": [entry]}, columns=COLUMNS)
    ((index, found, texts),) = unique_values(suite, TABLE)
    several = len(suite.unique_rules[0].columns) > 1
    assert index == 0
    assert found.tolist() == positions
    assert texts.type == pa.string()
    assert [json.loads(text) if several else text for text in texts.to_pylist()] == values


def test_unique_values_leave_out_rows_with_a_bad_cell() -> None:
    suite = load_suite({"name": "test", "expectations": [unique("name")]}, columns=COLUMNS)
    ((_, found, texts),) = unique_values(suite, TABLE, cells(age=[0], day=[3]))
    assert (found.tolist(), texts.to_pylist()) == ([1], ["Bob"])


def test_the_sample_of_customers() -> None:
    """The shipped suite on a good row and a row that breaks every rule it has."""
    document = json.loads((ROOT / "expectations/customers/suite.json").read_text(encoding="utf-8"))
    kinds = {"index": TypeName.BIGINT, "subscription_date": TypeName.DATE}
    good: dict[str, Any] = {
        "index": 1, "customer_id": "DD37Cf93aecA6Dc", "first_name": "Sheryl", "last_name": "Baxter",
        "company": "Rasmussen Group", "city": "East Leonard", "country": "Chile", "phone_1": "229.077.5154",
        "phone_2": "397.884.0519x718", "email": "zunigavanessa@smith.info", "subscription_date": dt.date(2020, 8, 24),
        "website": "http://www.stephenson.com/",
    }  # fmt: skip
    bad = good | {
        "index": 0, "customer_id": "no", "first_name": None, "last_name": None, "company": "x" * 41, "country": "Atlantis",
        "email": "two@@example.com", "subscription_date": dt.date(1899, 12, 31), "website": "www.example.com",
    }  # fmt: skip
    columns = {name: ColumnType(kinds.get(name, TypeName.TEXT)) for name in good}
    suite = load_suite(document, columns=columns, key=("customer_id",))
    violations = (
        RulePlan(suite).judge(pa.Table.from_pylist([good, bad, good | {"email": None, "country": None}])).violations
    )
    broken = {(v.column, v.message, v.severity.value): v.rows.tolist() for v in violations}
    assert len(document["expectations"]) == 12
    assert suite.unique_rules == ()
    assert broken == {
        ("first_name", "is empty", "critical"): [1],
        ("last_name", "is empty", "critical"): [1],
        ("email", "is empty", "critical"): [2],
        ("country", "is empty", "critical"): [2],
        ("customer_id", "does not match ^[0-9A-Fa-f]{15}$", "critical"): [1],
        ("email", r"does not match ^[^@\s]+@[^@\s]+\.[^@\s]+$", "critical"): [1],
        ("website", r"does not match ^https?://[^\s/]+(/\S*)?$", "critical"): [1],
        ("country", "is not one of 248 allowed values", "critical"): [1],
        ("index", "is not at least 1", "critical"): [1],
        ("subscription_date", "is not between 2000-01-01 and 2099-12-31", "critical"): [1],
        ("company", "length is not between 1 and 40", "warning"): [1],
    }
