"""The judgement on a whole file is Great Expectations' own, to the last digit, whatever the metrics are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sluice.model import ColumnType, TypeName
from sluice.rules import load_suite
from sluice.rules.gx import bound_expectation, dependencies
from sluice.rules.judgement import can_judge, row_judgement, table_judgement
from sluice.rules.values import SAMPLE, Judgement, RowRule, Suite, TableRule, UniqueRule

COLUMNS = {
    "name": ColumnType(TypeName.TEXT),
    "city": ColumnType(TypeName.TEXT),
    "age": ColumnType(TypeName.BIGINT),
    "size": ColumnType(TypeName.DOUBLE),
    "price": ColumnType(TypeName.NUMERIC, 12, 2),
    "day": ColumnType(TypeName.DATE),
    "moment": ColumnType(TypeName.TIMESTAMP),
}
FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE}


def rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def suite_of(*rules: dict[str, Any]) -> Suite:
    return load_suite({"name": "judged", "expectations": list(rules)}, columns=COLUMNS)


ROWS = suite_of(
    rule("column_values_to_not_be_null", column="name"),
    rule("column_values_to_be_null", column="name"),
    rule("column_values_to_match_regex", column="name", regex="a"),
    rule("column_value_lengths_to_be_between", column="name", min_value=1),
    rule("column_values_to_match_regex_list", column="name", regex_list=["a"]),
    rule("column_values_to_be_between", column="age", min_value=1),
    rule("column_values_to_be_in_set", column="size", value_set=[1, 2.5]),
    rule("column_pair_values_to_be_equal", column_A="name", column_B="city"),
    rule("column_pair_values_a_to_be_greater_than_b", column_A="age", column_B="size"),
    rule("multicolumn_values_to_be_equal", column_list=["name", "city", "age"]),
    rule("multicolumn_sum_to_equal", column_list=["age", "size"], sum_total=1),
    rule("column_values_to_be_unique", column="age"),
    rule("compound_columns_to_be_unique", column_list=["name", "age"]),
)


def row_rule(index: int) -> RowRule | UniqueRule:
    rules: tuple[RowRule | UniqueRule, ...] = (*ROWS.row_rules, *ROWS.unique_rules)
    (found,) = [found for found in rules if found.index == index]
    return found


#: Percentages that do not come out even in binary, and the limits themselves.
MOSTLY = st.one_of(
    st.sampled_from([0.0, 0.1, 1 / 3, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999, 1.0 - 2**-53, 1, 0]),
    st.floats(0, 1),
    st.integers(0, 1000).map(lambda number: number / 1000),
)
TEXT = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é", "日本", "\x00", "NaN"]), st.text(max_size=3))
NUMBER = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.sampled_from([0, 0.0, -0.0, True]))
COUNT = st.one_of(st.integers(0, 12), st.integers(0, 10**12), st.sampled_from([2**53, 2**53 + 1]))


@st.composite
def shares(draw: st.DrawFn, found: RowRule | UniqueRule) -> dict[str, Any]:
    """A share as merged chunks may come to."""
    total = draw(COUNT)
    missing = draw(st.integers(0, total))
    judged = total - missing
    unexpected = draw(st.one_of(st.integers(0, judged), st.just(judged), st.just(0)))
    one = TEXT if found.columns[0] in ("name", "city") else st.one_of(st.none(), NUMBER)
    kwargs = found.configuration["kwargs"]
    if "column" in kwargs:
        value: Any = one
    elif "column_A" in kwargs:
        value = st.lists(one, min_size=2, max_size=2)
    else:
        value = st.fixed_dictionaries(dict.fromkeys(found.columns, one))
    sample = draw(st.lists(value, max_size=min(unexpected, SAMPLE)))
    return {"total": total, "missing": missing, "judged": judged, "unexpected": unexpected, "sample": sample}


def stock(found: RowRule | UniqueRule, mostly: float, share: Mapping[str, Any]) -> Judgement:
    """What Great Expectations makes of the same metrics."""
    configuration = dict(found.configuration)
    expectation = bound_expectation({**configuration, "kwargs": {**configuration["kwargs"], "mostly": mostly}})
    metric = expectation.map_metric
    known = {
        "table.row_count": share["total"],
        f"{metric}.unexpected_count": share["unexpected"],
        f"{metric}.filtered_row_count": share["judged"],
        f"{metric}.unexpected_values": [tuple(v) if isinstance(v, list) else v for v in share["sample"]],
        f"{metric}.unexpected_index_list": None,
        f"{metric}.unexpected_index_query": None,
    }
    known.setdefault("column_values.nonnull.unexpected_count", share["missing"])
    return validated(expectation, known)


def validated(expectation: Any, known: Mapping[str, Any]) -> Judgement:
    metrics = {config.id: known[name] for name, config in dependencies(expectation, FORMAT).items()}
    verdict = expectation.metrics_validate(metrics=metrics, runtime_configuration={"result_format": dict(FORMAT)})
    document = json.loads(json.dumps(verdict.to_json_dict()))
    return Judgement(document["success"], document["result"])


def as_json(judgement: Judgement) -> str:
    """Texts tell 1 from 1.0 and True, and 0.0 from -0.0."""
    return json.dumps([judgement.success, judgement.result], sort_keys=True)


@pytest.mark.parametrize("index", range(13))
@given(data=st.data(), mostly=MOSTLY)
@settings(max_examples=settings().max_examples // 2)
def test_rules_about_rows(index: int, data: st.DataObject, mostly: float) -> None:
    found = row_rule(index)
    share = data.draw(shares(found))
    about_nulls = index < 2
    if about_nulls:
        share["judged"] = share["total"]
    assert as_json(row_judgement(replace(found, mostly=float(mostly)), share)) == as_json(stock(found, mostly, share))


@pytest.mark.parametrize("index", range(13))
@pytest.mark.parametrize("mostly", [0.9, 0.95, 1.0, 0.999, 1 / 3])
def test_the_very_share_that_is_asked_for(index: int, mostly: float) -> None:
    """Where rounding decides: shares just below, at and just above `mostly`."""
    found = row_rule(index)
    asked = replace(found, mostly=mostly)
    for total in (1, 3, 7, 10, 20, 1000, 999_999):
        for unexpected in {round(total * (1 - mostly)) + shift for shift in (-1, 0, 1)}:
            if 0 <= unexpected <= total:
                share: dict[str, Any] = {
                    "total": total,
                    "missing": 0,
                    "judged": total,
                    "unexpected": unexpected,
                    "sample": [],
                }
                assert as_json(row_judgement(asked, share)) == as_json(stock(found, mostly, share))


def table_rule(kind: str, **kwargs: Any) -> TableRule:
    (found,) = suite_of(rule(kind, **kwargs)).table_rules
    return found


BOUND = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.integers(0, 3))
KINDS = {
    "column_min_to_be_between": "column.min",
    "column_max_to_be_between": "column.max",
    "column_sum_to_be_between": "column.sum",
    "column_mean_to_be_between": "column.mean",
    "column_stdev_to_be_between": "column.standard_deviation",
    "column_proportion_of_non_null_values_to_be_between": "column.non_null_proportion",
    "table_row_count_to_be_between": "table.row_count",
}
OBSERVED = st.one_of(st.none(), st.integers(0, 3), st.integers(-(2**70), 2**70), st.floats(allow_nan=False))


@pytest.mark.parametrize("kind", KINDS)
@given(low=BOUND, high=BOUND, strict=st.tuples(st.booleans(), st.booleans()), observed=OBSERVED)
@settings(max_examples=settings().max_examples // 5)
def test_rules_about_a_number(kind: str, low: Any, high: Any, strict: tuple[bool, bool], observed: Any) -> None:
    assume((low is not None or high is not None) and (low is None or high is None or low <= high))
    bounds: dict[str, Any] = {"min_value": low, "max_value": high, "strict_min": strict[0], "strict_max": strict[1]}
    column = {} if kind.startswith("table") else {"column": "size"}
    if not column or kind.startswith("column_prop"):  # counts and shares, which Great Expectations checks
        bounds |= {name: abs(int(value)) % 2 for name, value in bounds.items() if name[3:] == "_value" and value}
        assume(low is None or high is None or bounds["min_value"] <= bounds["max_value"])
    found = table_rule(kind, **column, **bounds)
    assert can_judge(found)
    ours = table_judgement(found, {KINDS[kind]: observed})
    assert ours is not None
    assert as_json(ours) == as_json(validated(bound_expectation(found.configuration), {KINDS[kind]: observed}))


@pytest.mark.parametrize("observed", [0, 1, 2])
def test_the_number_of_rows(observed: int) -> None:
    found = table_rule("table_row_count_to_equal", value=1)
    ours = table_judgement(found, {"table.row_count": observed})
    assert ours == validated(bound_expectation(found.configuration), {"table.row_count": observed})


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("table_column_count_to_equal", {"value": 7}),
        ("table_column_count_to_be_between", {"max_value": 3}),
        ("table_columns_to_match_set", {"column_set": ["name", "city"], "exact_match": False}),
        ("table_columns_to_match_set", {"column_set": ["name", "nobody"]}),
        ("table_columns_to_match_ordered_list", {"column_list": list(COLUMNS)}),
        ("column_to_exist", {"column": "name", "column_index": 3}),
    ],
)
def test_what_no_row_can_change_is_settled_when_the_suite_is_loaded(kind: str, kwargs: dict[str, Any]) -> None:
    found = table_rule(kind, **kwargs)
    known = {"table.columns": list(COLUMNS), "table.column_count": len(COLUMNS)}
    assert found.settled == validated(bound_expectation(found.configuration), known)


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("column_min_to_be_between", {"column": "day", "min_value": "2020-01-01"}),
        ("column_max_to_be_between", {"column": "moment", "max_value": "2020-01-01T00:00:00"}),
        ("column_distinct_values_to_be_in_set", {"column": "city", "value_set": ["Oslo"]}),
    ],
)
def test_what_only_great_expectations_can_tell(kind: str, kwargs: dict[str, Any]) -> None:
    assert not can_judge(table_rule(kind, **kwargs))
