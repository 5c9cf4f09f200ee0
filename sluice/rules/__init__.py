"""The rules of a dataset: the one package that knows Great Expectations.

Importing it costs nothing; Great Expectations (seconds, 275 MB) is imported by the first use of a function that
needs it::

    suite = load_suite(document, columns=..., key=...)      # once a file
    plan = RulePlan(suite)
    verdict = plan.judge(table, failed_cells)               # once a chunk
    result = suite_result(suite, merge_metrics(parts), unique_counts)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sluice.rules.unique import unique_values
from sluice.rules.values import (
    FailedRule,
    Metrics,
    RowRule,
    Rule,
    Suite,
    SuiteResult,
    TableRule,
    UniqueRule,
    Verdict,
)

if TYPE_CHECKING:
    from sluice.rules.metrics import merge_metrics
    from sluice.rules.plan import RulePlan
    from sluice.rules.result import suite_result
    from sluice.rules.suite import load_suite

__all__ = [
    "FailedRule",
    "Metrics",
    "RowRule",
    "Rule",
    "RulePlan",
    "Suite",
    "SuiteResult",
    "TableRule",
    "UniqueRule",
    "Verdict",
    "load_suite",
    "merge_metrics",
    "suite_result",
    "unique_values",
]

_HOME = {
    "RulePlan": "sluice.rules.plan",
    "load_suite": "sluice.rules.suite",
    "merge_metrics": "sluice.rules.metrics",
    "suite_result": "sluice.rules.result",
}


def __getattr__(name: str) -> Any:
    """The names whose modules import Great Expectations, on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
