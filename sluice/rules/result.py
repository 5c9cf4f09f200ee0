"""The whole file's verdict: Great Expectations decides from the merged metrics, as if it had seen all the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sluice.errors import RuleError
from sluice.model import ColumnType
from sluice.rules.gx import (
    ColumnMapExpectation,
    ExpectationSuiteValidationResult,
    calc_validation_statistics,
    dependencies,
    great_expectations,
    with_batch,
)
from sluice.rules.messages import range_text, shorten, shown
from sluice.rules.metrics import PARTIALS, SAMPLE, Subject
from sluice.rules.values import FailedRule, Rule, Suite, SuiteResult, TableRule

_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE}


def suite_result(suite: Suite, metrics: Mapping[str, Any], unique_counts: Mapping[int, int]) -> SuiteResult:
    """Judge the file.

    Args:
        suite: the suite.
        metrics: merged with `merge_metrics`; {} where the file had no rows.
        unique_counts: position in `suite.unique_rules` -> rows that break it (all members of each group of
            equal values, as Great Expectations counts); a rule without an entry has none.

    Raises:
        RuleError: the metrics do not fit the suite.
    """
    unexpected = {rule.index: unique_counts.get(i, 0) for i, rule in enumerate(suite.unique_rules)}
    rules = sorted((*suite.row_rules, *suite.unique_rules, *suite.table_rules), key=lambda rule: rule.index)
    judged = [(rule, _judge(suite, rule, metrics, unexpected.get(rule.index))) for rule in rules]
    return SuiteResult(
        success=all(verdict.success for _, verdict in judged),
        json=_document(suite, [verdict for _, verdict in judged]),
        failed=tuple(
            _failure(rule, verdict)
            for rule, verdict in judged
            if not verdict.success and (isinstance(rule, TableRule) or rule.mostly < 1)
        ),
    )


def _judge(suite: Suite, rule: Rule, metrics: Mapping[str, Any], unexpected: int | None) -> Any:
    expectation = with_batch(rule.expectation)
    try:
        if isinstance(rule, TableRule):
            values = _table_values(suite, rule, expectation, metrics.get("tables", {}).get(str(rule.index)))
        else:
            share = dict(metrics["rows"][str(rule.index)]) if metrics else dict(_NOTHING)
            if unexpected is not None:
                share["unexpected"] = unexpected
            values = _row_values(expectation, share)
        verdict = expectation.metrics_validate(metrics=values, runtime_configuration={"result_format": dict(_FORMAT)})
    except Exception as error:
        name = rule.code.removeprefix("rule.")
        raise RuleError(f"expectations[{rule.index}] ({name}, {rule.column}) cannot be judged: {error}") from error
    verdict.expectation_config.kwargs.pop("batch_id", None)
    return verdict


_NOTHING = {"total": 0, "missing": 0, "judged": 0, "unexpected": 0, "sample": []}


def _row_values(expectation: Any, share: Mapping[str, Any]) -> dict[Any, Any]:
    metric = expectation.map_metric
    sample = share["sample"]
    if not isinstance(expectation, ColumnMapExpectation):
        sample = [tuple(value) if isinstance(value, list) else value for value in sample]
    known = {
        "table.row_count": share["total"],
        f"{metric}.unexpected_count": share["unexpected"],
        f"{metric}.filtered_row_count": share["judged"],
        f"{metric}.unexpected_values": sample,
        f"{metric}.unexpected_index_list": None,
        f"{metric}.unexpected_index_query": None,
    }
    # A rule that is itself about NULLs counts the others' missing ones as its unexpected ones.
    known.setdefault("column_values.nonnull.unexpected_count", share["missing"])
    needed = dependencies(expectation, _FORMAT)
    return {config.id: known[name] for name, config in needed.items()}


def _table_values(suite: Suite, rule: TableRule, expectation: Any, shares: Mapping[str, Any] | None) -> dict[Any, Any]:
    values = {}
    for name, config in dependencies(expectation, _FORMAT).items():
        column: str | None = config.metric_domain_kwargs.get("column")
        kind: ColumnType | None = suite.columns.get(column) if column else None
        arguments = {**rule.expectation.configuration.kwargs, **config.metric_value_kwargs}
        subject = Subject(column, kind, tuple(suite.columns), arguments)
        partial = PARTIALS[name]
        share = partial.empty() if shares is None else shares[name]
        values[config.id] = partial.finish(share, subject)
    return values


def _failure(rule: Rule, verdict: Any) -> FailedRule:
    result = verdict.result or {}
    if isinstance(rule, TableRule):
        return FailedRule(rule.code, rule.column, rule.severity, shorten(_table_message(rule, result)), "table")
    met = 100 - (result.get("unexpected_percent") or 0)
    message = f"{met:.6g} % of the rows pass, {100 * rule.mostly:.6g} % are asked for; one that does not {rule.message}"
    return FailedRule(rule.code, rule.column, rule.severity, shorten(message), "row")


def _table_message(rule: TableRule, result: Mapping[str, Any]) -> str:
    kwargs = rule.expectation.configuration.kwargs
    subject, _, what = rule.code.removeprefix("rule.expect_").replace("_", " ").partition(" to ")
    observed = result.get("observed_value")
    if observed is None:
        lists = ((name, result.get(f"partial_{name}_list")) for name in ("unexpected", "missing"))
        observed = "; ".join(f"{name}: {', '.join(map(str, found))}" for name, found in lists if found) or "no value"
    if what == "be between":
        what = f"be {range_text(kwargs)}"
    elif kwargs.get("value") is not None:
        what = f"{what} {shown(kwargs['value'])}"
    return f"{subject} is expected to {what}; found {observed}"


def _document(suite: Suite, verdicts: list[Any]) -> dict[str, Any]:
    counts = calc_validation_statistics(verdicts)
    result = ExpectationSuiteValidationResult(
        success=counts.success,
        results=verdicts,
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": counts.evaluated_expectations,
            "successful_expectations": counts.successful_expectations,
            "unsuccessful_expectations": counts.unsuccessful_expectations,
            "success_percent": counts.success_percent,
        },
        meta={"great_expectations_version": great_expectations.__version__},
    )
    document: dict[str, Any] = json.loads(json.dumps(result.to_json_dict(), default=str))
    return document
