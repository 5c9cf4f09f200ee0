"""The whole file's verdict from the merged metrics, as if Great Expectations had seen all the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.errors import RuleError
from sluice.rules.judgement import row_judgement, table_judgement
from sluice.rules.messages import range_text, shorten, shown
from sluice.rules.metrics import PARTIALS, subject_of
from sluice.rules.values import FailedRule, Judgement, RowRule, Rule, Suite, SuiteResult, TableRule, UniqueRule

Judged = list[tuple[Rule, Judgement]]


def suite_result(suite: Suite, metrics: Mapping[str, Any], unique_counts: Mapping[int, int]) -> SuiteResult:
    """Judge the file. Great Expectations is imported only for a rule about the table that needs its code.

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
    judged: Judged = [(rule, _judge(suite, rule, metrics, unexpected.get(rule.index))) for rule in rules]
    return SuiteResult(
        success=all(judgement.success for _, judgement in judged),
        json=_document(suite, judged),
        failed=tuple(
            _failure(rule, judgement)
            for rule, judgement in judged
            if not judgement.success and (isinstance(rule, TableRule) or rule.mostly < 1)
        ),
    )


def _judge(suite: Suite, rule: Rule, metrics: Mapping[str, Any], unexpected: int | None) -> Judgement:
    try:
        if isinstance(rule, TableRule):
            return _judge_table(suite, rule, metrics.get("tables", {}).get(str(rule.index)))
        assert isinstance(rule, RowRule | UniqueRule)
        share = dict(metrics["rows"][str(rule.index)]) if metrics else dict(_NOTHING)
        if unexpected is not None:
            share["unexpected"] = unexpected
        return row_judgement(rule, share)
    except Exception as error:
        name = rule.code.removeprefix("rule.")
        raise RuleError(f"expectations[{rule.index}] ({name}, {rule.column}) cannot be judged: {error}") from error


_NOTHING = {"total": 0, "missing": 0, "judged": 0, "unexpected": 0, "sample": []}


def _judge_table(suite: Suite, rule: TableRule, shares: Mapping[str, Any] | None) -> Judgement:
    values = {}
    for metric in rule.metrics:
        partial = PARTIALS[metric.name]
        share = partial.empty() if shares is None else shares[metric.name]
        values[metric.name] = partial.finish(share, subject_of(metric, suite))
    judgement = table_judgement(rule, values)
    if judgement is not None:
        return judgement
    from sluice.rules.stock import stock_of

    return stock_of(suite).judge_table(rule, values)


def _failure(rule: Rule, judgement: Judgement) -> FailedRule:
    result = judgement.result
    if isinstance(rule, TableRule):
        return FailedRule(rule.code, rule.column, rule.severity, shorten(_table_message(rule, result)), "table")
    met = 100 - (result.get("unexpected_percent") or 0)
    message = f"{met:.6g} % of the rows pass, {100 * rule.mostly:.6g} % are asked for; one that does not {rule.message}"
    return FailedRule(rule.code, rule.column, rule.severity, shorten(message), "row")


def _table_message(rule: TableRule, result: Mapping[str, Any]) -> str:
    kwargs = rule.configuration["kwargs"]
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


def _document(suite: Suite, judged: Judged) -> dict[str, Any]:
    """Great Expectations' `ExpectationSuiteValidationResult` as its `to_json_dict()` writes it."""
    evaluated, successful = len(judged), sum(judgement.success for _, judgement in judged)
    return {
        "success": successful == evaluated,
        "results": [
            {
                "success": judgement.success,
                "expectation_config": dict(rule.configuration),
                "result": dict(judgement.result),
                "meta": {},
                "exception_info": {
                    "raised_exception": False,
                    "exception_traceback": None,
                    "exception_message": None,
                },
            }
            for rule, judgement in judged
        ],
        "suite_name": suite.name,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": evaluated,
            "successful_expectations": successful,
            "unsuccessful_expectations": evaluated - successful,
            "success_percent": successful / evaluated * 100 if evaluated else None,
        },
        "meta": {"great_expectations_version": suite.version},
        "id": None,
    }
