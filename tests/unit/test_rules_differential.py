# ruff: noqa: E501 - tables of hostile values
"""The same rows as stock Great Expectations: every row-level expectation it has, over hostile data, against
`Batch.validate`. This is what allows kernels in the place of its code, and the use of names that are not public API."""

from __future__ import annotations

import datetime as dt
import itertools
import operator
import warnings
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.model import ColumnType, TypeName
from sluice.rules import RulePlan, load_suite
from sluice.rules.frame import frame_of
from sluice.rules.gx import MAP_EXPECTATIONS, ExpectationConfiguration
from sluice.rules.gx import great_expectations as gx
from sluice.rules.kernels import KERNELS
from sluice.rules.plan import needs_great_expectations
from sluice.rules.stored import read_suite, write_suite

COLUMNS = {
    "text": ColumnType(TypeName.TEXT),
    "other": ColumnType(TypeName.TEXT),
    "ascii": ColumnType(TypeName.TEXT),
    "dates": ColumnType(TypeName.TEXT),
    "document": ColumnType(TypeName.JSON),
    "whole": ColumnType(TypeName.INTEGER),
    "large": ColumnType(TypeName.BIGINT),
    "real": ColumnType(TypeName.DOUBLE),
    "flag": ColumnType(TypeName.BOOLEAN),
    "day": ColumnType(TypeName.DATE),
    "moment": ColumnType(TypeName.TIMESTAMP),
    "instant": ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S%z"),
    "price": ColumnType(TypeName.NUMERIC, 10, 2),
    "empty": ColumnType(TypeName.TEXT),
    "id": ColumnType(TypeName.UUID),
    "fine": ColumnType(TypeName.NUMERIC, 20, 10),
    "wide": ColumnType(TypeName.NUMERIC, 60, 3),
    # One more of each type, to compare it with.
    "real_2": ColumnType(TypeName.DOUBLE),
    "flag_2": ColumnType(TypeName.BOOLEAN),
    "day_2": ColumnType(TypeName.DATE),
    "moment_2": ColumnType(TypeName.TIMESTAMP),
    "instant_2": ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S%z"),
    "price_2": ColumnType(TypeName.NUMERIC, 10, 2),
    "id_2": ColumnType(TypeName.UUID),
}

TEXTS = [
    "", " ", "a", "A", "ab", "abc", "a b", " a", "a ", "a\n", "\na", "a\nb", "\n", "\r\n", "a\r", "\t", "a\tb", "\v", "\f",
    "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u3000", "\u200b", "\ufeff", "a\u00a0b",
    "é", "e\u0301", "ß", "ﬁ", "ſ", "K", "İ", "ı", "Σ", "ς", "Привет", "日本語", "naïve", "Zoë", "_", "__", "a_b", "-", "--",
    "1", "12", "123", "٣", "٣٤", "५", "１２", "²", "½", "Ⅷ", "๙", "𝟘", "😀", "👨‍👩‍👧", "🇩🇪", "a" * 300, "é" * 300, "x" * 10_000,
    "a@b.c", "a@b", "@", "a@@b.c", "a b@c.d", "a@b.c\n", "é@ü.ö", "a@b\u2003.c", "http://x.y", "https://x.y/z?q=1#f",
    "0x1F", "1e5", "1,5", "1.5", "+1-234", "(555) 12", "null", "NULL", "None", "nan", "true", "True", "\\", "\\d", "[", "]",
    "^", "$", "$a", "a$", ".", "*", "{", "}", "|", "'", '"', "';--", "<script>", "\x00", "\x7f", "\u0007", "a\x00b",
]  # fmt: skip
DATES = [
    "2021-02-28", "2021-02-30", "2020-02-29", "2021-02-29", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01",
    "2021-2-3", "21-02-03", " 2021-02-03", "2021-02-03 ", "2021-02-03\n", "2021/02/03", "03.02.2021", "2021-13-01",
    "2021-00-10", "2021-01-00", "٢٠٢١-٠١-٠١", "２０２１-０１-０１", "2021-02-03T04:05:06", "2021-02-03 04:05:06",
    "2021-02-03T04:05:06Z", "2021-02-03T25:00:00", "2021-02-03T04:05:60", "2021-02-03T04:05:06+02:00", "", "now",
    "Feb 3 2021", "3 Feb 2021", "12", "1e3", "10/11/12", "99999999999999999999", "noon", "1:2:3", "a", "2021-W05-3",
]  # fmt: skip
DOCUMENTS = [
    "{}", "[]", "1", '"a"', "null", "true", "{'a': 1}", '{"a": 1}', '{"a": "x"}', '{"a": 1, "b": 2}', '{"a": 1,}', "",
    " {} ", "{", "[1, 2]", "NaN", "Infinity", '{"a": null}', "01", '"\\ud800"', "[" * 50, "{}{}", '{"a": 1.5}', "\ufeff{}",
]  # fmt: skip


def cycle(values: list[Any], count: int, every: int, shift: int = 0) -> list[Any]:
    """`count` values in turn, each `every`th None."""
    turning = itertools.islice(itertools.cycle(values), shift, shift + count)
    return [None if i % every == every - 1 else value for i, value in enumerate(turning)]


def make_table(count: int, *, nulls: bool) -> pa.Table:
    every, other = (7, 6) if nulls else (count + 1, count + 1)
    day, moment = dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 12, 30, 0, 1)
    days = [day + dt.timedelta(days=40 * i) for i in range(20)] + [dt.date(1, 1, 1), dt.date(9999, 12, 31)]
    moments = [moment + dt.timedelta(hours=700 * i) for i in range(20)] + [dt.datetime(1969, 12, 31, 23, 59)]
    whole = [0, 1, -1, 2, 5, 10, 99, 100, 101, 2**31 - 1, -(2**31)]
    large = [*whole, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
    prices = [Decimal(text) for text in ("0.00", "0.10", "0.30", "0.31", "1.00", "-5.25", "99999999.99")]
    fine = [Decimal(text) for text in ("0", "1e-10", "-1e-10", "0.3", "1", "100", "9999999999.9999999999")]
    wide = [Decimal(text) for text in ("0", "0.001", "1", "-1", f"{10**56}.125", f"-{10**56}.125")]
    reals = [0.0, -0.0, 0.1, 0.3, 1.0, 1e308, -1e308, 5e-324, 2.0**53, 1e16, 123456.789, 1 / 3]
    ids = [f"{i:08x}-0000-4000-8000-{i:012x}" for i in (0, 1, 255, 2**32 - 1)]
    return pa.table(
        {
            "text": pa.array(cycle(TEXTS, count, every), pa.string()),
            "other": pa.array(cycle(TEXTS, count, every, shift=1 if nulls else 0), pa.string()),
            "ascii": pa.array(cycle([text for text in TEXTS if text.isascii()], count, every), pa.string()),
            "dates": pa.array(cycle(DATES, count, every), pa.string()),
            "document": pa.array(cycle(DOCUMENTS, count, every), pa.string()),
            "whole": pa.array(cycle(whole, count, every), pa.int32()),
            "large": pa.array(cycle(large, count, every, shift=3), pa.int64()),
            "real": pa.array(cycle(reals, count, every), pa.float64()),
            "flag": pa.array(cycle([True, False, False], count, every), pa.bool_()),
            "day": pa.array(cycle(days, count, every), pa.date32()),
            "moment": pa.array(cycle(moments, count, every), pa.timestamp("us")),
            "instant": pa.array(cycle(moments, count, every), pa.timestamp("us", "UTC")),
            "price": pa.array(cycle(prices, count, every), pa.decimal128(10, 2)),
            "empty": pa.nulls(count, pa.string()),
            "id": pa.array(cycle(ids, count, every), pa.string()),
            "fine": pa.array(cycle(fine, count, every), pa.decimal128(20, 10)),
            "wide": pa.array(cycle(wide, count, every), pa.decimal256(60, 3)),
            # Cycles of another length, so that values meet their like, their neighbours and NULLs.
            "real_2": pa.array(cycle(reals[:-1], count, other), pa.float64()),
            "flag_2": pa.array(cycle([True, False], count, other), pa.bool_()),
            "day_2": pa.array(cycle(days[:-1], count, other), pa.date32()),
            "moment_2": pa.array(cycle(moments[:-1], count, other), pa.timestamp("us")),
            "instant_2": pa.array(cycle(moments[:-1], count, other), pa.timestamp("us", "UTC")),
            "price_2": pa.array(cycle(prices[:-1], count, other), pa.decimal128(10, 2)),
            "id_2": pa.array(cycle(ids[:-1], count, other), pa.string()),
        }
    )


PATTERNS = [
    "a", "^a", "a$", "^a$", r"\Aa\Z", "^$", ".", "^.$", "^.{2}$", r"\s", r"\S", r"^\s*$", r"^\S+$", r"[^\s]", r"[\s\d]",
    r"\d", r"^\d+$", r"\D", r"[^\d]", r"\w", r"^\w+$", r"\W", r"[^\w\s]", r"\bа?\w", r"\ba\b", r"a\B", r"\n", r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    r"^https?://\S+$", "(a|b)+$", "(?:^a|b$)", "a|$", "(a$|b)c?", "a{2,}", "a{300}", "^a{1,5}?$", "[a-c]", "[^a-c]", r"[\]\-\\]", r"[[]",
    "(?i)abc", "(?i)k", "(?i)^[a-z]+$", "(?i)é", "(?s)a.b", "(?s)^.*$", "(?x) a  # comment", "é", "[à-ü]", "日本", "😀", r"\x41", r"\u00e9",
    "(?=a)", "a(?!b)", "(?<=a)b", r"(a)\1", "(?P<x>a)(?P=x)", r"\$", r"^\$?a", "a+?", "(a*)*", "(?:)", "$", "^", r"\Z", "a*+b", "(?>a)b",
]  # fmt: skip


def rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def condition(column: str, operator: str, value: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": value}


COLUMN = "column_values_to_"
#: Pairs that a kernel compares.
SAME_TYPE = [
    ("text", "ascii"), ("real", "real_2"), ("flag", "flag_2"), ("day", "day_2"), ("moment", "moment_2"), ("document", "text"),
    ("instant", "instant_2"), ("price", "price_2"), ("id", "id_2"), ("large", "whole"), ("large", "large"),
]  # fmt: skip
CASES = [
    *(rule(f"{COLUMN}match_regex", column=column, regex=regex) for regex in PATTERNS for column in ("text", "ascii")),
    *(rule(f"{COLUMN}not_match_regex", column="text", regex=regex) for regex in PATTERNS[::5]),
    *(rule(f"{COLUMN}match_regex", column=column, regex=regex) for regex in ("^[12]", r"\.0", "E", "e", "[Tt]rue", "00$")
      for column in ("whole", "large", "day", "flag", "price", "real", "id", "fine", "wide")),
    *(rule(f"{COLUMN}not_match_regex", column=column, regex="1") for column in ("large", "day", "flag", "price", "real")),
    *(rule(f"{COLUMN}match_regex_list", column=column, regex_list=["^-", "9"], match_on="any") for column in ("large", "fine")),
    rule(f"{COLUMN}match_regex_list", column="text", regex_list=["^a", "b$"]),
    rule(f"{COLUMN}match_regex_list", column="text", regex_list=[r"\S", r"^\w"], match_on="all"),
    rule(f"{COLUMN}not_match_regex_list", column="text", regex_list=["^a", "b$", r"(?=\s)"]),
    *(rule(f"{COLUMN}{what}be_null", column=column) for what in ("", "not_") for column in COLUMNS),
    *(rule("column_value_lengths_to_be_between", column="text", **bounds) for bounds in (
        {"min_value": 1}, {"max_value": 2}, {"min_value": 1, "max_value": 3}, {"min_value": 0, "max_value": 0},
        {"min_value": 1, "max_value": 3, "strict_min": True}, {"min_value": 1, "max_value": 3, "strict_max": True})),
    *(rule("column_value_lengths_to_be_between", column=column, min_value=2, max_value=4)
      for column in ("whole", "large", "day", "flag", "real", "price", "fine", "wide", "id")),
    *(rule("column_value_lengths_to_equal", column="text", value=value) for value in (0, 1, 2, 300)),
    *(rule(f"{COLUMN}{what}be_in_set", column=column, value_set=values) for what in ("", "not_") for column, values in (
        ("text", ["", "a", "é", "日本語", "٣"]), ("text", ["a", None]), ("text", ["a", 1, True]), ("text", [1, 2]),
        ("whole", [1, 2, 100]), ("whole", [1.0, 1.5]), ("large", [2**53 + 1, 2**63 - 1]), ("real", [0, 0.3]),
        ("flag", [True]), ("empty", ["a"]), ("whole", [None, 1]), ("whole", [2**40, 5]), ("whole", [2**70, 2]),
        ("large", [2**53, 2**53 + 1, None]), ("large", [2**53, 0.5]), ("large", [1.0, 2**60]), ("large", [0.5, 1, 2**52]),
        ("real", [-0.0]), ("real", [5e-324, 1e308, None]), ("real", [2**53 + 1]), ("real", [10**16]), ("flag", [False, None]),
        ("flag", [True, False]), ("id", ["00000001-0000-4000-8000-000000000001"]), ("document", ["{}", "null"]),
        ("dates", ["", "12"]))),
    *(rule(f"{COLUMN}be_between", column=column, **bounds) for column in ("whole", "large", "real") for bounds in (
        {"min_value": 1}, {"max_value": 100}, {"min_value": 1, "max_value": 100}, {"min_value": 0.5, "max_value": 1},
        {"min_value": 1, "max_value": 100, "strict_min": True, "strict_max": True}, {"min_value": -1e30},
        {"min_value": 1, "max_value": 100, "strict_max": True}, {"min_value": 1e30}, {"max_value": -1e30},
        {"min_value": 0, "max_value": 0}, {"min_value": 0, "strict_min": True}, {"max_value": 5e-324, "strict_max": True},
        {"min_value": 0.3, "max_value": 0.3}, {"max_value": 2**70})),
    rule(f"{COLUMN}be_between", column="real", min_value=2**53 + 1, max_value=10**16),
    *(rule(f"{COLUMN}be_between", column=column, **bounds) for column, zone in (("moment", ""), ("instant", "+00:00"))
      for bounds in (
        {"min_value": f"2020-06-01T00:00:00{zone}"}, {"max_value": f"2020-01-01T12:30:00{zone}", "strict_max": True},
        {"min_value": f"1969-12-31T23:59:00{zone}", "max_value": f"2021-01-01T00:00:00{zone}", "strict_min": True})),
    *(rule(f"{COLUMN}match_strftime_format", column="dates", strftime_format=form) for form in (
        "%Y-%m-%d", "%y-%m-%d", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%b %d %Y", "%Y")),
    rule(f"{COLUMN}be_dateutil_parseable", column="dates"),
    rule(f"{COLUMN}be_json_parseable", column="document"),
    rule(f"{COLUMN}be_json_parseable", column="text"),
    *(rule("column_pair_values_to_be_equal", column_A=a, column_B=b, **ignore) for a, b in (
        ("text", "other"), ("whole", "large"), ("whole", "real"), ("day", "moment"), ("price", "whole"), ("text", "empty"),
        *SAME_TYPE)
      for ignore in ({}, {"ignore_row_if": "either_value_is_missing"}, {"ignore_row_if": "neither"})),
    *(rule("column_pair_values_a_to_be_greater_than_b", column_A=a, column_B=b, or_equal=or_equal) for a, b in (
        ("whole", "large"), ("large", "real"), ("day", "moment"), ("price", "whole"), ("text", "other"), *SAME_TYPE)
      for or_equal in (False, True)),
    *(rule("column_pair_values_a_to_be_greater_than_b", column_A=a, column_B=b, **ignore) for a, b in SAME_TYPE
      for ignore in ({"ignore_row_if": "either_value_is_missing"}, {"ignore_row_if": "neither"})),
    rule("column_pair_values_to_be_in_set", column_A="whole", column_B="flag", value_pairs_set=[[1, True], [2, False]]),
    rule("column_pair_values_to_be_in_set", column_A="text", column_B="ascii", value_pairs_set=[["a", "a"], [None, "a"]]),
    *(rule("multicolumn_sum_to_equal", column_list=["whole", column], sum_total=2) for column in ("whole", "real")),
    *(rule("multicolumn_values_to_be_equal", column_list=columns, **ignore) for columns in (
        ["text", "other"], ["text", "other", "ascii"], ["whole", "large", "real"])
      for ignore in ({}, {"ignore_row_if": "any_value_is_missing"}, {"ignore_row_if": "never"})),
    *(rule("select_column_values_to_be_unique_within_record", column_list=columns, **ignore) for columns in (
        ["text", "other", "ascii"], ["whole", "large"])
      for ignore in ({}, {"ignore_row_if": "any_value_is_missing"}, {"ignore_row_if": "never"})),
    *(rule(f"{COLUMN}match_regex", column="text", regex="^a", row_condition=c) for c in (
        condition("whole", ">", 1), condition("other", "==", "a"), condition("flag", "==", True),
        {"type": "nullity", "column": {"name": "other"}, "is_null": False},
        {"type": "and", "conditions": [condition("whole", ">", 0), condition("real", "<", 1)]},
        {"type": "pass_through", "pass_through_filter": "whole > large and text != 'a'"},
        condition("whole", ">", 10**9 * 3))),
    rule(f"{COLUMN}not_be_null", column="text", row_condition="whole > 1", condition_parser="pandas"),
    rule(f"{COLUMN}be_between", column="whole", min_value=1, row_condition=condition("day", ">", "2020-06-01")),
    rule("column_pair_values_to_be_equal", column_A="text", column_B="other", row_condition=condition("whole", ">", 1)),
    rule("column_pair_values_to_be_equal", column_A="real", column_B="real_2", row_condition=condition("flag", "==", True),
         ignore_row_if="either_value_is_missing"),
    rule(f"{COLUMN}be_null", column="other", row_condition=condition("whole", ">", 1)),
    rule(f"{COLUMN}match_strftime_format", column="dates", strftime_format="%Y-%m-%d", row_condition=condition("flag", "==", False)),
    rule("multicolumn_values_to_be_equal", column_list=["text", "other"], row_condition=condition("whole", ">", 1)),
]  # fmt: skip

#: Row-level for Great Expectations, but not here; `test_rules_suite` sees each of them refused.
NOT_ROW_BY_ROW = {
    "expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique",
    "expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing",
    "expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers",
    "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_match_like_pattern", "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list", "expect_column_values_to_not_match_like_pattern_list",
}  # fmt: skip
#: Compared by hand below, because the stock code raises where ours judges.
BY_HAND = {"expect_column_values_to_match_json_schema"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}}
SCHEMA_CASE = rule(f"{COLUMN}match_json_schema", column="document", json_schema=SCHEMA)


#: The patterns have a test of their own against `re`; here some of them will do.
QUICK = [case for i, case in enumerate(CASES) if i % 8 == 0 or i >= 2 * len(PATTERNS)]
#: What the stock code raises for: syntax RE2 does not have, and a NULL in a comparison of lists.
UNJUDGED = {"(?x) a  # comment", "a*+b", "(?>a)b"}


def stock_rows(cases: list[dict[str, Any]], table: pa.Table) -> dict[int, list[int]]:
    """Position of each case -> the rows that stock Great Expectations calls unexpected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where they are errors, the stock code swallows them, and the rule with them
        return _stock_rows(cases, table)


def _stock_rows(cases: list[dict[str, Any]], table: pa.Table) -> dict[int, list[int]]:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(
        globally=False, metric_calculations=False
    )
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b").get_batch({"dataframe": frame_of(table, COLUMNS)})
    configurations = [ExpectationConfiguration(**case, meta={"case": i}) for i, case in enumerate(cases)]
    suite = gx.ExpectationSuite(name="stock", expectations=[c.to_domain_obj() for c in configurations])
    outcome = batch.validate(suite, result_format={"result_format": "COMPLETE", "partial_unexpected_count": 0})
    return {r.expectation_config.meta["case"]: r.result["unexpected_index_list"] for r in outcome.results}


@pytest.mark.parametrize(
    ("cases", "count", "nulls"),
    [
        pytest.param(QUICK, 230, True, id="quick"),
        pytest.param(CASES, 230, True, id="nulls", marks=pytest.mark.slow),
        pytest.param(CASES, 230, False, id="no nulls", marks=pytest.mark.slow),
        pytest.param(CASES, 1, False, id="one row", marks=pytest.mark.slow),
    ],
)
def test_the_same_rows_as_stock_great_expectations(cases: list[dict[str, Any]], count: int, nulls: bool) -> None:
    cases = [case for case in cases if not _raises(case, nulls)]
    table = make_table(count, nulls=nulls)
    suite = load_suite({"name": "all", "expectations": cases}, columns=COLUMNS)
    kept = read_suite(write_suite(suite), suite.digest)
    assert kept == suite
    stock = stock_rows(cases, table)
    for contender in (suite, kept):
        chunk = RulePlan(contender).open(table)
        found = {rule.index: chunk.judge(rule)[0].tolist() for rule in contender.row_rules}
        assert found.keys() == stock.keys() == set(range(len(cases)))
        assert not {i: (cases[i], found[i], stock[i]) for i in found if found[i] != stock[i]}


def _raises(case: dict[str, Any], nulls: bool) -> bool:
    """Whether the stock code raises: also for a NULL in a comparison of columns that hold `<NA>` for it, unless it
    leaves such rows out, or both columns have their NULLs in the same rows."""
    kwargs = case["kwargs"]
    pair, ignored = {kwargs.get("column_A"), kwargs.get("column_B")}, kwargs.get("ignore_row_if")
    meets = ignored == "neither" or (ignored is None and pair & {"flag_2", "price_2"})
    return kwargs.get("regex") in UNJUDGED or bool(nulls and meets and pair & {"whole", "large", "flag", "price"})


#: Great Expectations' `ignore_row_if` -> whether a row is looked at, given its two cells.
LOOKED_AT: dict[str, Callable[[Any, Any], bool]] = {
    "both_values_are_missing": lambda a, b: a is not None or b is not None,
    "either_value_is_missing": lambda a, b: a is not None and b is not None,
    "neither": lambda a, b: True,
}


@pytest.mark.parametrize("ignore", LOOKED_AT)
@pytest.mark.parametrize(("left", "right"), SAME_TYPE)
def test_pairs_with_nulls_where_the_stock_code_may_raise(left: str, right: str, ignore: str) -> None:
    """A comparison with NULL is not met; against Python's own comparisons."""
    compared = {
        "values_to_be_equal": operator.eq,
        "values_a_to_be_greater_than_b": operator.gt,
    }
    table = make_table(230, nulls=True)
    cells = list(zip(table[left].to_pylist(), table[right].to_pylist(), strict=True))
    for kind, met in compared.items():
        entry = rule(f"column_pair_{kind}", column_A=left, column_B=right, ignore_row_if=ignore)
        suite = load_suite({"name": "pair", "expectations": [entry]}, columns=COLUMNS)
        (found,) = suite.row_rules
        expected = [
            row
            for row, (a, b) in enumerate(cells)
            if LOOKED_AT[ignore](a, b) and (a is None or b is None or not met(a, b))
        ]
        assert RulePlan(suite).open(table).judge(found)[0].tolist() == expected, kind


def test_every_kernel_is_compared_and_decides() -> None:
    suite = load_suite({"name": "all", "expectations": [*CASES, SCHEMA_CASE]}, columns=COLUMNS)
    decided = {
        rule.metric
        for rule in suite.row_rules
        if not rule.conditional and not needs_great_expectations(replace(suite, row_rules=(rule,)))
    }
    assert decided == set(KERNELS)


def test_every_row_level_expectation_is_compared() -> None:
    registry = gx.expectations.registry
    known = {
        name
        for name in registry.list_registered_expectation_implementations()
        if issubclass(registry.get_expectation_impl(name), MAP_EXPECTATIONS)
    }
    assert known == {case["type"] for case in CASES} | NOT_ROW_BY_ROW | BY_HAND


def judged(column: str, values: pa.Array, entry: dict[str, Any]) -> list[Any]:
    """The values that break a rule."""
    suite = load_suite({"name": "one", "expectations": [entry]}, columns=COLUMNS)
    violations = RulePlan(suite).judge(pa.table({column: values})).violations
    return values.take(pa.array(violations[0].rows)).to_pylist() if violations else []


def days(*texts: str) -> pa.Array:
    return pa.array([dt.date.fromisoformat(text) for text in texts] + [None])


@pytest.mark.parametrize(
    ("bounds", "bad"),
    [
        ({"min_value": "2020-01-02"}, [0]),
        ({"min_value": "2020-01-02", "strict_min": True}, [0, 1]),
        ({"max_value": "2020-01-02T00:00:00"}, [2, 3]),
        ({"max_value": "9999-12-31", "strict_max": True}, [3]),
        ({"min_value": "0001-01-01", "max_value": "2020-01-01"}, [1, 2, 3]),
    ],
)
def test_dates_between_iso_texts_where_the_stock_code_raises(bounds: dict[str, Any], bad: list[int]) -> None:
    values = days("2020-01-01", "2020-01-02", "2020-01-03", "9999-12-31")
    expected = values.take(pa.array(bad, pa.int64())).to_pylist()
    assert judged("day", values, rule(f"{COLUMN}be_between", column="day", **bounds)) == expected


def test_timestamps_between_iso_texts() -> None:
    values = pa.array([dt.datetime(2020, 1, 1, 23, 59, 59, 999_999), dt.datetime(2020, 1, 2), None], pa.timestamp("us"))
    assert judged("moment", values, rule(f"{COLUMN}be_between", column="moment", min_value="2020-01-02")) == [
        dt.datetime(2020, 1, 1, 23, 59, 59, 999_999)
    ]
    instants = values.cast(pa.timestamp("us", "UTC"))
    bound = "2020-01-02T02:00:00+02:00"  # midnight in UTC
    assert len(judged("instant", instants, rule(f"{COLUMN}be_between", column="instant", min_value=bound))) == 1


def test_decimals_are_compared_as_they_are_written() -> None:
    values = pa.array([Decimal("0.30"), Decimal("0.31"), Decimal("-99999999.99"), None], pa.decimal128(10, 2))
    between = rule(f"{COLUMN}be_between", column="price", min_value=-1e300, max_value=0.3)
    assert judged("price", values, between) == [Decimal("0.31")]
    in_set = rule(f"{COLUMN}be_in_set", column="price", value_set=[0.3, 0.311, 12345678901])
    assert judged("price", values, in_set) == [Decimal("0.31"), Decimal("-99999999.99")]
    nothing = rule(f"{COLUMN}be_between", column="price", min_value=0.301, max_value=0.309)
    assert len(judged("price", values, nothing)) == 3


def test_dates_in_a_set_of_iso_texts() -> None:
    values = days("2020-01-01", "2020-01-02")
    entry = rule(f"{COLUMN}be_in_set", column="day", value_set=["2020-01-01"])
    assert judged("day", values, entry) == [dt.date(2020, 1, 2)]
    entry = rule(f"{COLUMN}not_be_in_set", column="day", value_set=["2020-01-01", None])
    assert judged("day", values, entry) == [dt.date(2020, 1, 1)]


def test_whole_numbers_are_never_compared_as_floats() -> None:
    values = pa.array([2**53, 2**53 + 1, None], pa.int64())
    assert judged("large", values, rule(f"{COLUMN}be_between", column="large", min_value=2**53 + 1)) == [2**53]


def test_a_value_that_is_no_json_breaks_its_schema_and_nothing_else() -> None:
    values = pa.array(['{"a": 1}', '{"a": "x"}', "{", None, "[" * 100_000])
    assert judged("document", values, SCHEMA_CASE) == ['{"a": "x"}', "{", "[" * 100_000]


def test_a_column_of_nulls_only_meets_every_rule_about_values() -> None:
    cases = [case for case in CASES[::2] if case["kwargs"].get("column") and "be_null" not in case["type"]]
    suite = load_suite({"name": "all", "expectations": cases}, columns=COLUMNS)
    table = make_table(5, nulls=False)
    empty = pa.table({name: pa.nulls(5, table.schema.field(name).type) for name in COLUMNS})
    verdict = RulePlan(suite).judge(empty)
    assert [violation.code for violation in verdict.violations] == []
    assert all(share["unexpected"] == 0 for share in verdict.metrics["rows"].values())


def test_a_chunk_without_rows() -> None:
    suite = load_suite({"name": "all", "expectations": CASES[::4]}, columns=COLUMNS)
    verdict = RulePlan(suite).judge(make_table(0, nulls=False), {"text": np.empty(0, np.int64)})
    assert verdict.violations == ()
    assert {share["total"] for share in verdict.metrics["rows"].values()} == {0}
