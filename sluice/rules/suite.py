"""suite.json, read strictly: what Great Expectations would drop, misread or only find out about per row is refused.

Stock Great Expectations drops a rule of unknown type or severity with a log line, accepts a regular expression
that does not compile, and reports a rule that raises as one without bad rows. A suite that this module returns
can be judged; all problems of one that cannot are reported at once, each with its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sluice.errors import RuleError, SuiteError
from sluice.model import ColumnType
from sluice.rules.digest import suite_digest
from sluice.rules.dryrun import sample_tables
from sluice.rules.gx import get_expectation_impl, great_expectations
from sluice.rules.metrics import PARTIALS, FromColumns, merge_metrics, subject_of
from sluice.rules.plan import RulePlan, unjudged
from sluice.rules.reader import EXPECTATION_KEYS, Problem, read_rule
from sluice.rules.result import suite_result
from sluice.rules.stock import Stock, stock_of
from sluice.rules.values import RowRule, Rule, Suite, TableRule, UniqueRule

_TOP_KEYS = frozenset({"name", "expectations", "meta", "notes", "id", "suite_parameters"})


def load_suite(
    document: Mapping[str, Any],
    *,
    columns: Mapping[str, ColumnType],
    key: tuple[str, ...] = (),
    file: str | None = None,
) -> Suite:
    """Check a suite and make it ready to be judged.

    Args:
        document: suite.json, parsed: what `ExpectationSuite.to_json_dict()` writes.
        columns: the dataset's columns, in the table's order.
        key: the dataset's key; a uniqueness rule about exactly these columns is left to the key's policy.
        file: where the document came from, for messages.

    Raises:
        SuiteError: once, with every problem on a line of its own.
    """
    problems = [f"unknown key {name!r}" for name in document if name not in _TOP_KEYS]
    name, entries = document.get("name"), document.get("expectations")
    if not isinstance(name, str) or not name:
        problems.append("'name' must be a text that is not empty")
    if document.get("suite_parameters"):
        problems.append("suite parameters are not supported; write the values into the rules")
    if not isinstance(entries, list):
        raise _refusal([*problems, "'expectations' must be a list"], file)
    rules: list[Rule] = []
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        found, rule = _read(index, entry, columns, seen)
        problems.extend(found)
        if rule is not None:
            rules.append(rule)
    suite = _suite(str(name), suite_digest(document, columns, key), columns, rules, key, entries)
    problems.extend(_dry_run(suite))
    if problems:
        raise _refusal(problems, file)
    return replace(suite, table_rules=tuple(_settled(rule, suite) for rule in suite.table_rules))


def _read(
    index: int, entry: Any, columns: Mapping[str, ColumnType], seen: dict[str, int]
) -> tuple[list[str], Rule | None]:
    """One entry's problems, each with its place, and the rule if there are none."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("kwargs", {}), Mapping):
        return [f"expectations[{index}]: must be an object with 'type' and 'kwargs'"], None
    kind, kwargs = entry.get("type"), entry.get("kwargs") or {}
    place = f"expectations[{index}] ({kind}, {_label(kwargs)})"
    problems = [f"unknown key {name!r}" for name in entry if name not in EXPECTATION_KEYS]
    try:
        implementation = get_expectation_impl(kind) if isinstance(kind, str) else None
    except Exception:  # of several kinds
        implementation = None
    if implementation is None:
        return [f"{place}: {problem}" for problem in [*problems, f"unknown expectation type {kind!r}"]], None
    same = json.dumps([kind, kwargs], sort_keys=True, default=str)
    if same in seen:
        problems.append(f"the same rule as expectations[{seen[same]}]")
    seen.setdefault(same, index)
    rule = None
    try:
        rule = read_rule(index, implementation, entry, columns)
    except Problem as problem:
        problems.extend(problem.reasons)
    return [f"{place}: {problem}" for problem in problems], None if problems else rule


def _suite(
    name: str,
    digest: str,
    columns: Mapping[str, ColumnType],
    rules: list[Rule],
    key: tuple[str, ...],
    entries: list[Any],
) -> Suite:
    conditions = "".join(json.dumps(_condition(entries[rule.index])) for rule in rules)
    return Suite(
        digest=digest,
        version=great_expectations.__version__,
        name=name,
        columns=dict(columns),
        row_rules=tuple(rule for rule in rules if isinstance(rule, RowRule)),
        table_rules=tuple(rule for rule in rules if isinstance(rule, TableRule)),
        unique_rules=tuple(r for r in rules if isinstance(r, UniqueRule) and (not key or set(r.columns) != set(key))),
        # A condition may be any pandas expression: a column whose name occurs in it may be used by it.
        condition_columns=tuple(column for column in columns if json.dumps(column)[1:-1] in conditions),
    )


def _condition(entry: Mapping[str, Any]) -> Any:
    return (entry.get("kwargs") or {}).get("row_condition") or ""


def _dry_run(suite: Suite) -> list[str]:
    """The last net: judge two rows, since an empty frame would not reveal, say, a comparison of text with a number."""
    if _try(suite) is None:
        return []
    rules: list[RowRule | TableRule] = [*suite.row_rules, *suite.table_rules]
    alone = [
        replace(
            suite,
            row_rules=(rule,) if isinstance(rule, RowRule) else (),
            table_rules=(rule,) if isinstance(rule, TableRule) else (),
        )
        for rule in rules
    ]
    return [problem for problem in map(_try, alone) if problem is not None]


def _try(suite: Suite) -> str | None:
    """Why the suite cannot be judged, if it cannot. Every mask is laid out as Great Expectations would compute it,
    also where a kernel is going to."""
    try:
        stock = Stock(suite)
        for rule in suite.row_rules:
            _lay_out(stock, rule)
        plan = RulePlan(suite)
        metrics = [plan.judge(table).metrics for table in sample_tables(suite.columns)]
        suite_result(suite, merge_metrics(metrics), {})
    except RuleError as error:
        return error.message
    return None


def _lay_out(stock: Stock, rule: RowRule) -> None:
    try:
        stock.condition(rule)
    except Exception as error:
        raise unjudged(rule, error) from error


def _settled(rule: TableRule, suite: Suite) -> TableRule:
    """The rule with Great Expectations' judgement if it is about the table's columns, which no row changes."""
    partials = [(metric, PARTIALS[metric.name]) for metric in rule.metrics]
    if rule.conditional or not all(isinstance(partial, FromColumns) for _, partial in partials):
        return rule
    values = {m.name: partial.finish(partial.empty(), subject_of(m, suite)) for m, partial in partials}
    return replace(rule, settled=stock_of(suite).judge_table(rule, values))


def _label(kwargs: Mapping[str, Any]) -> str:
    names = [kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B")]
    listed = kwargs.get("column_list")
    names.extend(listed if isinstance(listed, list) else [])
    return ", ".join(str(name) for name in names if name is not None) or "table"


def _refusal(problems: list[str], file: str | None) -> SuiteError:
    lines = problems[0] if len(problems) == 1 else "".join(f"\n  - {problem}" for problem in problems)
    head = "The suite cannot be used: " if len(problems) == 1 else f"The suite has {len(problems)} problems:"
    return SuiteError(head + lines, file=file)
