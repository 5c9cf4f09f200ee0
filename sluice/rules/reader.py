"""One entry of suite.json -> one rule, or all the reasons why not."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from sluice.model import ColumnType, Severity, TypeName
from sluice.rules.coerce import coerce_arguments
from sluice.rules.gx import (
    MAP_EXPECTATIONS,
    ColumnMapExpectation,
    ExpectationConfiguration,
    bound_expectation,
    dependencies,
)
from sluice.rules.messages import message_for
from sluice.rules.metrics import PARTIALS
from sluice.rules.regex import BadPattern, compile_pattern
from sluice.rules.stock import condition_of
from sluice.rules.values import RowRule, Rule, TableMetric, TableRule, UniqueRule

EXPECTATION_KEYS = frozenset(
    {"type", "kwargs", "meta", "id", "notes", "description", "severity", "rendered_content", "success_on_last_run"}
)
_SEVERITIES = tuple(str(severity) for severity in Severity)
_NUMBER = ColumnType(TypeName.DOUBLE)
_UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
#: Rules whose bounds are values of the column; other rules' bounds are counts and shares.
_BOUNDS_ARE_VALUES = (
    "expect_column_values_to_be_between",
    "expect_column_min_to_be_between",
    "expect_column_max_to_be_between",
)
#: Arguments whose value is an object by nature.
_OBJECTS = ("row_condition", "json_schema")
#: These rules read a column as text, which a timestamp has no one form of.
_TEXT_METRICS = ("column_values.value_length", "column_values.match_", "column_values.not_match_")

_NO_WHOLE = "needs all of the file at once, and cannot be put together exactly from chunks in bounded memory"
_ORDER = "compares each row with the one before, which chunks read independently cannot"
_TYPES = "is about the column's type, which dataset.yaml declares and the reader checks"
_DATABASE = "asks a database, and is not a rule about the file"
_REFUSED = {
    "expect_column_values_to_be_increasing": _ORDER,
    "expect_column_values_to_be_decreasing": _ORDER,
    "expect_column_value_z_scores_to_be_less_than": _NO_WHOLE,
    "expect_column_values_to_not_be_outliers": _NO_WHOLE,
    "expect_column_values_to_be_of_type": _TYPES,
    "expect_column_values_to_be_in_type_list": _TYPES,
    "expect_column_type_to_be": _TYPES,
    "expect_query_results_to_match_comparison": _DATABASE,
    "expect_table_row_count_to_equal_other_table": _DATABASE,
    "unexpected_rows_expectation": _DATABASE,
}


class Problem(Exception):
    """The entry cannot become a rule."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def read_rule(index: int, implementation: Any, entry: Mapping[str, Any], columns: Mapping[str, ColumnType]) -> Rule:
    """The rule an entry of the suite stands for.

    Args:
        index: the entry's position.
        implementation: Great Expectations' class for its type.
        entry: the entry.
        columns: the dataset's columns.

    Raises:
        Problem: with every reason found.
    """
    kind, kwargs = entry["type"], entry.get("kwargs") or {}
    if kind in _REFUSED:
        raise Problem(f"is not supported: it {_REFUSED[kind]}")
    if reasons := [*_severity_problems(entry), *_argument_problems(implementation, kwargs, columns)]:
        raise Problem(*reasons)
    names = _columns(implementation, kwargs)
    arguments = _arguments(kind, kwargs, names, columns)
    expectation = _expectation({**entry, "kwargs": _with_dates(kwargs, arguments)})
    configuration = json.loads(json.dumps(expectation.configuration.to_json_dict(), default=str))
    common: dict[str, Any] = {
        "index": index,
        "code": f"rule.{kind}",
        "columns": names,
        "severity": Severity(entry.get("severity") or Severity.CRITICAL),
        "mostly": float(getattr(expectation, "mostly", 1)),
        "message": message_for(kind, {**_defaults(expectation), **arguments}),
        "configuration": configuration,
    }
    bound = bound_expectation(configuration)
    if kind in _UNIQUE:
        if kwargs.get("row_condition"):
            raise Problem("a row_condition on a uniqueness rule is not supported")
        return UniqueRule(**common, ignore_row_if=getattr(expectation, "ignore_row_if", "any_value_is_missing"))
    if isinstance(expectation, MAP_EXPECTATIONS):
        return _row_rule(common, bound, arguments, columns)
    return _table_rule(common, bound, columns)


def _severity_problems(entry: Mapping[str, Any]) -> Iterator[str]:
    severity = entry.get("severity")
    if severity is not None and severity not in _SEVERITIES:
        yield f"severity {severity!r} must be one of {', '.join(_SEVERITIES)}"


def _argument_problems(
    implementation: Any, kwargs: Mapping[str, Any], columns: Mapping[str, ColumnType]
) -> Iterator[str]:
    fields = implementation.__fields__
    for name, value in kwargs.items():
        if isinstance(value, Mapping) and name not in _OBJECTS:
            yield f"{name}={value!r} must be a value; suite parameters are not supported"
    for name in ("regex", "regex_list", "value_set"):
        if name in fields and not kwargs.get(name):
            yield f"{name} is missing or empty"
    if "value_set" in fields and "value_set" in kwargs and not isinstance(kwargs["value_set"], list):
        yield "value_set must be a list"
    yield from _pattern_problems(kwargs)
    if "min_value" in fields and kwargs.get("min_value") is None and kwargs.get("max_value") is None:
        yield "min_value or max_value is missing"
    for column in _columns(implementation, kwargs):
        if column not in columns:
            yield f"there is no column {column!r}; the dataset has {', '.join(columns)}"
    yield from _condition_problems(kwargs.get("row_condition"), columns)


def _pattern_problems(kwargs: Mapping[str, Any]) -> Iterator[str]:
    listed = kwargs.get("regex_list")
    for pattern in [kwargs.get("regex"), *(listed if isinstance(listed, list) else [])]:
        if isinstance(pattern, str):
            try:
                compile_pattern(pattern)
            except BadPattern as problem:
                yield f"bad regex {pattern!r}: {problem}"


def _condition_problems(condition: Any, columns: Mapping[str, ColumnType]) -> Iterator[str]:
    """A row condition ends up in `DataFrame.query`, which would run code: `@name` and dunder attributes are code."""
    if isinstance(condition, Mapping):
        column = condition.get("column")
        if isinstance(column, Mapping) and column.get("name") not in columns:
            yield f"row_condition: there is no column {column.get('name')!r}"
        for inner in condition.get("conditions") or ():
            yield from _condition_problems(inner, columns)
        condition = condition.get("pass_through_filter")
    if isinstance(condition, str) and ("@" in condition or "__" in condition):
        yield "row_condition must compare columns with values, without '@' or '__'"


def _columns(implementation: Any, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns the rule is about; names in a list it merely compares with the table's are not."""
    names = [kwargs.get(name) for name in ("column", "column_A", "column_B") if kwargs.get(name) is not None]
    listed = kwargs.get("column_list")
    if "column_list" in implementation.domain_keys and isinstance(listed, list):
        names.extend(listed)
    return tuple(str(name) for name in names)


def _arguments(
    kind: str, kwargs: Mapping[str, Any], names: tuple[str, ...], columns: Mapping[str, ColumnType]
) -> dict[str, Any]:
    """The entry's own arguments, in the column's type: Great Expectations has made floats of whole numbers."""
    if "column" not in kwargs or "column_index" in kwargs:
        return dict(kwargs)
    try:
        column = columns[names[0]]
        arguments = coerce_arguments(kwargs, bounds=column if kind in _BOUNDS_ARE_VALUES else _NUMBER, values=column)
    except (ValueError, TypeError) as problem:
        raise Problem(str(problem)) from None
    low, high = arguments.get("min_value"), arguments.get("max_value")
    try:
        if low is not None and high is not None and low > high:
            raise Problem(f"min_value {low} is greater than max_value {high}")
    except TypeError:
        raise Problem(f"min_value {low!r} and max_value {high!r} are of different types") from None
    return arguments


def _with_dates(kwargs: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The entry's arguments with date bounds in the one form that Great Expectations reads as the column's type."""
    dates = {
        name: arguments[name].isoformat()
        for name in ("min_value", "max_value")
        if hasattr(arguments.get(name), "isoformat")
    }
    return {**kwargs, **dates}


def _expectation(entry: Mapping[str, Any]) -> Any:
    known = {name: value for name, value in entry.items() if name in EXPECTATION_KEYS}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # older ways to write row_condition
            expectation = ExpectationConfiguration(**known).to_domain_obj()
        if not known["kwargs"].get("condition_parser"):
            return expectation
        # Great Expectations has read the condition; without the deprecated argument it never warns again.
        configuration = expectation.configuration
        del configuration.kwargs["condition_parser"]
        return configuration.to_domain_obj()
    except Exception as error:
        details = getattr(error, "errors", None)
        if callable(details):
            raise Problem(*(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in details())) from None
        raise Problem(str(error)) from None


def _defaults(expectation: Any) -> dict[str, Any]:
    values: dict[str, Any] = expectation.configuration.kwargs
    return values


def _row_rule(
    common: dict[str, Any], expectation: Any, arguments: dict[str, Any], columns: Mapping[str, ColumnType]
) -> RowRule:
    metric, conditional = expectation.map_metric, bool(arguments.get("row_condition"))
    timestamps = [name for name in common["columns"] if columns[name].name is TypeName.TIMESTAMP]
    if timestamps and metric.startswith(_TEXT_METRICS):
        raise Problem(f"{timestamps[0]} is a timestamp, which has no one form as text; use bounds, or make it text")
    condition = condition_of(expectation)
    if conditional and not condition.metric_domain_kwargs.get("row_condition"):
        raise Problem("Great Expectations ignores row_condition for this type of expectation")
    own = ("min_value", "max_value", "value_set") if isinstance(expectation, ColumnMapExpectation) else ()
    values = dict(condition.metric_value_kwargs)
    return RowRule(
        **common,
        metric=metric,
        arguments=values | {name: arguments[name] for name in own if name in values and name in arguments},
        ignore_row_if=condition.metric_domain_kwargs.get("ignore_row_if"),
        conditional=conditional,
    )


def _table_rule(common: dict[str, Any], expectation: Any, columns: Mapping[str, ColumnType]) -> TableRule:
    metrics = []
    for name, needed in dependencies(expectation, {"result_format": "BASIC"}).items():
        if name not in PARTIALS:
            raise Problem(
                f"is not supported: {name} {_NO_WHOLE}. "
                f"Supported metrics of the whole file: {', '.join(sorted(PARTIALS))}"
            )
        for column in common["columns"]:
            if columns[column].name not in PARTIALS[name].types:
                raise Problem(f"{name} has no meaning for a column of type {columns[column].name}")
        arguments = {**expectation.configuration.kwargs, **needed.metric_value_kwargs}
        metrics.append(
            TableMetric(name, needed.metric_domain_kwargs.get("column"), tuple(arguments.get("value_set") or ()))
        )
    kwargs = expectation.configuration.kwargs
    return TableRule(**common, metrics=tuple(metrics), conditional=bool(kwargs.get("row_condition")), settled=None)
