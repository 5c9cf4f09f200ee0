"""What Great Expectations makes of the metrics of a whole file, rule by rule, without Great Expectations.

Its `_validate`, `_format_map_output` and `_validate_metric_value_between` in version 1.24, for the result format
SUMMARY. `tests/unit/test_rules_judgement.py` holds each of them against the original, over invented metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sluice.rules.values import SAMPLE, Judgement, RowRule, TableRule, UniqueRule

#: Rules about NULLs: every row counts, and none is missing.
ABOUT_NULLS = ("column_values.nonnull", "column_values.null")

_EQUAL = ("rule.expect_table_row_count_to_equal", "rule.expect_table_column_count_to_equal")


def row_judgement(rule: RowRule | UniqueRule, share: Mapping[str, Any]) -> Judgement:
    """The judgement on a rule that holds row by row, from its merged metrics (`sluice.rules.metrics`)."""
    total, unexpected = share["total"], share["unexpected"]
    about_nulls = isinstance(rule, RowRule) and rule.metric in ABOUT_NULLS
    several = "column" not in rule.configuration["kwargs"]
    present = share["judged"] if several else total - share["missing"]
    looked_at = total if about_nulls else present
    success = total == 0 or looked_at == 0 or (looked_at - unexpected) / looked_at >= rule.mostly
    result = _counts(total, None if about_nulls else present, unexpected)
    sample = share["sample"][:SAMPLE]
    result["partial_unexpected_list"] = sample
    counts = _most_common(sample)
    if counts is not None:
        result["partial_unexpected_counts"] = counts
    return Judgement(success, result)


def _counts(total: int, present: int | None, unexpected: int) -> dict[str, Any]:
    """The counts, and percentages where they have a meaning. `present` is None for a rule about NULLs."""
    of_total = unexpected / total * 100 if total else None
    if present is None:
        return {"element_count": total, "unexpected_count": unexpected, "unexpected_percent": of_total}
    of_present = unexpected / present * 100 if total and present > 0 else None
    return {
        "element_count": total,
        "unexpected_count": unexpected,
        "unexpected_percent": of_present,
        "missing_count": total - present,
        "missing_percent": (total - present) / total * 100 if total else None,
        "unexpected_percent_total": of_total,
        "unexpected_percent_nonmissing": of_present,
    }


def _most_common(sample: list[Any]) -> list[dict[str, Any]] | None:
    """The sample's values by their frequency; None where they cannot be sorted, as NULL among texts."""
    values = [_hashable(value) for value in sample]
    try:
        ordered = sorted(Counter(values).most_common(SAMPLE), key=lambda counted: (-counted[1], counted[0]))
    except TypeError:
        return None
    return [{"value": list(value) if isinstance(value, tuple) else value, "count": count} for value, count in ordered]


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list) else value


def table_judgement(rule: TableRule, values: Mapping[str, Any]) -> Judgement | None:
    """The judgement on a rule about the table, from the values of its metrics by name; None where only Great
    Expectations can tell."""
    if rule.settled is not None:
        return rule.settled
    if not can_judge(rule):
        return None
    (observed,) = values.values()
    if observed is not None and not isinstance(observed, int | float):
        return None
    kwargs = rule.configuration["kwargs"]
    met = observed == kwargs["value"] if rule.code in _EQUAL else _is_between(observed, kwargs)
    return Judgement(met, {"observed_value": observed})


def can_judge(rule: TableRule) -> bool:
    """Whether the rule's judgement needs no Great Expectations, if its metric is a number."""
    if rule.settled is not None:
        return True
    kwargs = rule.configuration["kwargs"]
    bounds = (kwargs.get("min_value"), kwargs.get("max_value"))
    between = rule.code.endswith("_to_be_between") and all(isinstance(b, int | float | None) for b in bounds)
    return len(rule.metrics) == 1 and (rule.code in _EQUAL or between)


def _is_between(observed: float | None, kwargs: Mapping[str, Any]) -> bool:
    if observed is None:
        return False
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = low is None or (observed > low if kwargs.get("strict_min") else observed >= low)
    below = high is None or (observed < high if kwargs.get("strict_max") else observed <= high)
    return above and below
