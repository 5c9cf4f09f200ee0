"""The strict loader: every broken suite is refused, all its problems at once, each with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sluice.errors import SuiteError
from sluice.model import ColumnType, TypeName
from sluice.rules import Suite, load_suite

ROOT = Path(__file__).parents[2]
TEXT, BIGINT, DATE = ColumnType(TypeName.TEXT), ColumnType(TypeName.BIGINT), ColumnType(TypeName.DATE)
COLUMNS = {
    "name": TEXT,
    "city": TEXT,
    "age": BIGINT,
    "born": DATE,
    "seen": ColumnType(TypeName.TIMESTAMP),
    "seen_utc": ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S%z"),
    "price": ColumnType(TypeName.NUMERIC, 10, 2),
    "flag": ColumnType(TypeName.BOOLEAN),
}


def rule(kind: str, severity: str | None = None, **kwargs: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": kind, "kwargs": kwargs, "meta": {}}
    return entry if severity is None else {**entry, "severity": severity}


def suite(*rules: Any, **top: Any) -> dict[str, Any]:
    return {"name": "people", "expectations": list(rules), "meta": {}, **top}


def load(*rules: Any, key: tuple[str, ...] = (), **top: Any) -> Suite:
    return load_suite(suite(*rules, **top), columns=COLUMNS, key=key, file="suite.json")


NOT_NULL = rule("expect_column_values_to_not_be_null", column="name")
BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
MATCH = "expect_column_values_to_match_regex"

#: A rule, the column its place names, and why it is refused.
BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown type": (rule("expect_column_values_to_be_nice", column="name"), "name", "unknown expectation type"),
    "bad severity": ({**NOT_NULL, "severity": "meh"}, "name", "critical, warning, info"),
    "missing column": (rule("expect_column_values_to_not_be_null"), "table", "column: field required"),
    "unknown argument": (rule("expect_column_values_to_not_be_null", column="name", most=1), "name", "most"),
    "mostly above 1": (rule("expect_column_values_to_not_be_null", column="name", mostly=2), "name", "mostly"),
    "bad strftime": (
        rule("expect_column_values_to_match_strftime_format", column="name", strftime_format="%Q"), "name", "strftime"),
    "value set no list": (rule(IN_SET, column="name", value_set="a"), "name", "value_set must be a list"),
    "value set empty": (rule(IN_SET, column="name", value_set=[]), "name", "value_set is missing or empty"),
    "regex missing": (rule(MATCH, column="name"), "name", "regex is missing"),
    "bad regex": (rule(MATCH, column="name", regex="(a"), "name", "unterminated subpattern"),
    "bad regex in a list": (
        rule("expect_column_values_to_match_regex_list", column="name", regex_list=["a", "[b"]), "name", "bad regex"),
    "ambiguous regex": (rule(MATCH, column="name", regex="[[:alpha:]]"), "name", "nested set"),
    "min above max": (rule(BETWEEN, column="age", min_value=5, max_value=1), "age", "greater than max_value"),
    "no bounds": (rule("expect_column_value_lengths_to_be_between", column="name"), "name", "is missing"),
    "an object as a value": (rule(BETWEEN, column="age", min_value={}, max_value=1), "age", "must be a value"),
    "a suite parameter": (rule(BETWEEN, column="age", min_value={"$PARAMETER": "x"}), "age", "must be a value"),
    "unknown column": (rule("expect_column_values_to_not_be_null", column="nam"), "nam", "the dataset has name, city"),
    "unknown column of a pair": (
        rule("expect_column_pair_values_to_be_equal", column_A="name", column_B="town"), "name, town", "column 'town'"),
    "old key": ({"expectation_type": NOT_NULL["type"], "kwargs": {"column": "name"}}, "name", "'expectation_type'"),
    "date bound no date": (rule(BETWEEN, column="born", min_value="yesterday"), "born", "not an ISO 8601 date"),
    "date bound with time": (rule(BETWEEN, column="born", min_value="2020-01-01T10:00"), "born", "no time of day"),
    "date bound a number": (rule(BETWEEN, column="born", min_value=20200101), "born", "is not a date"),
    "zone on a plain timestamp": (
        rule(BETWEEN, column="seen", min_value="2020-01-01T00:00:00+02:00"), "seen", "has a time zone"),
    "number bound a text": (rule(BETWEEN, column="age", min_value="1"), "age", "is not a number"),
    "text between numbers": (rule(BETWEEN, column="name", min_value=1), "name", "same type"),
    "text in a set of numbers": (rule(IN_SET, column="age", value_set=[1, "2"]), "age", "is not a number"),
    "boolean in a set of texts": (rule(IN_SET, column="flag", value_set=["yes"]), "flag", "not true or false"),
    "strftime of a date": (
        rule("expect_column_values_to_match_strftime_format", column="born", strftime_format="%Y"), "born", "string"),
    "regex of a timestamp": (rule(MATCH, column="seen", regex="^2020"), "seen", "no one form as text"),
    "increasing": (rule("expect_column_values_to_be_increasing", column="age"), "age", "row with the one before"),
    "decreasing": (rule("expect_column_values_to_be_decreasing", column="age"), "age", "row with the one before"),
    "z-scores": (
        rule("expect_column_value_z_scores_to_be_less_than", column="age", threshold=3, double_sided=True),
        "age", "all of the file at once"),
    "outliers": (rule("expect_column_values_to_not_be_outliers", column="age"), "age", "all of the file at once"),
    "median": (rule("expect_column_median_to_be_between", column="age", min_value=1), "age", "column.median"),
    "quantiles": (
        rule("expect_column_quantile_values_to_be_between", column="age",
             quantile_ranges={"quantiles": [0.5], "value_ranges": [[1, 2]]}), "age", "must be a value"),
    "distinct count": (
        rule("expect_column_unique_value_count_to_be_between", column="age", min_value=1), "age", "Supported metrics"),
    "share of distinct": (
        rule("expect_column_proportion_of_unique_values_to_be_between", column="age", min_value=0), "age", "Supported"),
    "most common": (
        rule("expect_column_most_common_value_to_be_in_set", column="age", value_set=[1]), "age", "Supported metrics"),
    "sum of texts": (rule("expect_column_sum_to_be_between", column="name", min_value=1), "name", "of type text"),
    "type": (rule("expect_column_values_to_be_of_type", column="name", type_="str"), "name", "dataset.yaml"),
    "like": (rule("expect_column_values_to_match_like_pattern", column="name", like_pattern="a%"), "name", "like"),
    "query": (
        rule("unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch}"), "table", "asks a database"),
    "condition on uniqueness": (
        rule("expect_column_values_to_be_unique", column="name", row_condition="age > 1", condition_parser="pandas"),
        "name", "row_condition on a uniqueness rule"),
    "condition that GX ignores": (
        rule("expect_column_pair_values_to_be_in_set", column_A="name", column_B="city", value_pairs_set=[["a", "b"]],
             row_condition="age > 1", condition_parser="pandas"), "name, city", "ignores row_condition"),
    "condition with code": (
        rule("expect_column_values_to_not_be_null", column="name", row_condition="@__import__('os')",
             condition_parser="pandas"), "name", "without '@'"),
    "condition on an unknown column": (
        rule("expect_column_values_to_not_be_null", column="name", row_condition="town == 'x'",
             condition_parser="pandas"), "name", "town"),
    "condition on an unknown column as an object": (
        rule("expect_column_values_to_not_be_null", column="name", row_condition={
            "type": "comparison", "column": {"name": "town"}, "operator": "==", "parameter": 1}), "name", "town"),
    "bad json schema": (
        rule("expect_column_values_to_match_json_schema", column="name", json_schema={"type": "nonsense"}),
        "name", "nonsense"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_refused_with_its_place(name: str) -> None:
    entry, column, reason = BROKEN[name]
    with pytest.raises(SuiteError) as caught:
        load(rule("expect_column_values_to_not_be_null", column="city"), entry)
    message = str(caught.value)
    assert f"expectations[1] ({entry.get('type')}, {column})" in message
    assert reason in message
    assert caught.value.file == "suite.json"


def test_the_same_rule_twice_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"expectations\[1\] .*the same rule as expectations\[0\]"):
        load(NOT_NULL, {**NOT_NULL, "severity": "info"})


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (suite(NOT_NULL, author="me"), "unknown key 'author'"),
        (suite(NOT_NULL, suite_parameters={"x": 1}), "suite parameters are not supported"),
        ({**suite(NOT_NULL), "name": ""}, "'name' must be"),
        ({"name": "x"}, "'expectations' must be a list"),
        (suite("not an object"), "expectations\\[0\\]: must be an object"),
        (suite({"type": None, "kwargs": {}}), "unknown expectation type None"),
    ],
)
def test_a_broken_document_is_refused(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(SuiteError, match=reason):
        load_suite(document, columns=COLUMNS)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(SuiteError) as caught:
        load(*(entry for entry, _, _ in BROKEN.values()), author="me")
    message = str(caught.value)
    assert "unknown key 'author'" in message
    assert all(f"expectations[{index}]" in message for index in range(len(BROKEN)))


def test_what_a_good_suite_holds() -> None:
    loaded = load(
        {**NOT_NULL, "severity": "warning"},
        rule("expect_column_values_to_be_unique", column="name"),
        rule("expect_compound_columns_to_be_unique", column_list=["name", "city"], severity="info"),
        rule("expect_table_row_count_to_be_between", min_value=1),
        rule(BETWEEN, column="born", min_value="2020-01-02", mostly=0.5),
    )
    assert [r.code for r in loaded.row_rules] == ["rule.expect_column_values_to_not_be_null", f"rule.{BETWEEN}"]
    assert [r.severity for r in loaded.row_rules] == ["warning", "critical"]
    assert [r.mostly for r in loaded.row_rules] == [1, 0.5]
    assert [(r.columns, r.ignore_row_if) for r in loaded.unique_rules] == [
        (("name",), "any_value_is_missing"),
        (("name", "city"), "all_values_are_missing"),
    ]
    assert [r.index for r in loaded.table_rules] == [3]


@pytest.mark.parametrize("key", [("name", "city"), ("city", "name")])
def test_uniqueness_of_the_key_is_left_to_the_key(key: tuple[str, ...]) -> None:
    loaded = load(
        rule("expect_compound_columns_to_be_unique", column_list=["name", "city"]),
        rule("expect_column_values_to_be_unique", column="name"),
        key=key,
    )
    assert [r.columns for r in loaded.unique_rules] == [("name",)]


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "expectations").iterdir()))
def test_the_suites_we_ship_are_what_great_expectations_writes(folder: str) -> None:
    from sluice.rules.gx import ExpectationSuite

    document = json.loads((ROOT / "expectations" / folder / "suite.json").read_text(encoding="utf-8"))
    written = ExpectationSuite(**document).to_json_dict()
    for entry in written["expectations"]:
        entry.pop("id", None)
    assert document == json.loads(json.dumps(written, default=str))
    assert len(document["expectations"]) == len(written["expectations"])


def test_great_expectations_is_imported_late_and_stays_silent() -> None:
    code = (
        "import sys, sluice.rules, sluice; assert not {'great_expectations', 'pandas'} & set(sys.modules)\n"
        "import logging, warnings\n"
        "from sluice.rules import load_suite\n"
        "assert 'great_expectations' in sys.modules\n"
        "assert warnings.showwarning.__module__ == 'warnings', 'logging.captureWarnings is still on'\n"
        "from sluice.rules import RulePlan, merge_metrics, suite_result\n"
        "from sluice.model import ColumnType, TypeName\n"
        "import pyarrow as pa\n"
        "rule = {'type': 'expect_column_values_to_match_regex', 'kwargs': {'column': 'a', 'regex': '(a)'}}\n"
        "suite = load_suite({'name': 'x', 'expectations': [rule]}, columns={'a': ColumnType(TypeName.TEXT)})\n"
        "verdict = RulePlan(suite).judge(pa.table({'a': ['a', 'b', None]}))\n"
        "assert not suite_result(suite, merge_metrics([verdict.metrics]), {}).success\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
