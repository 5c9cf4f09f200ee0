"""The rules of a dataset: the one package that knows Great Expectations.

Importing it costs nothing; Great Expectations (seconds, 275 MB) is imported by the first use of what needs it: a
suite that was not loaded before, or a rule without a kernel::

    suite = cached_suite(document, columns=..., key=..., folder=...)      # once a file
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
    from sluice.rules.cache import cached_suite
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
    "cached_suite",
    "load_suite",
    "merge_metrics",
    "suite_result",
    "unique_values",
]

_HOME = {
    "RulePlan": "sluice.rules.plan",
    "cached_suite": "sluice.rules.cache",
    "load_suite": "sluice.rules.suite",
    "merge_metrics": "sluice.rules.metrics",
    "suite_result": "sluice.rules.result",
}


def __getattr__(name: str) -> Any:
    """The names whose modules take long to import, on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
