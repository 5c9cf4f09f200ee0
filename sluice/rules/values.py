"""What a suite is once it has been read, and what judging by it yields. No Great Expectations in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sluice.model import ColumnType, Severity, Violation

#: JSON values: a chunk's share of the suite's result, or the sum of several.
Metrics = dict[str, Any]

#: Sample values a rule keeps; Great Expectations' own `partial_unexpected_count`.
SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one rule says of the whole file: Great Expectations' `success` and `result` for it."""

    success: bool
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation of the suite.

    Attributes:
        index: its position in suite.json.
        code: `rule.<expectation type>`.
        columns: the columns it names; empty for a rule about the table.
        mostly: the share of rows that must meet it for the file to be accepted; 1 also where none was given.
        message: one short sentence for the person who reads a rejected row.
        configuration: the expectation as Great Expectations writes it, JSON: its results show it, and
            `sluice.rules.stock` makes the expectation from it again.
    """

    index: int
    code: str
    columns: tuple[str, ...]
    severity: Severity
    mostly: float
    message: str
    configuration: Mapping[str, Any] = field(repr=False)

    @property
    def column(self) -> str | None:
        """The columns as a violation names them: `A, B`."""
        return ", ".join(self.columns) or None


@dataclass(frozen=True, slots=True)
class RowRule(Rule):
    """A rule that each row meets or breaks by itself.

    Attributes:
        metric: Great Expectations' name of what is looked at, such as `column_values.match_regex`.
        arguments: the arguments of its metric, values and bounds in the column's own type
            (`datetime.date`, `datetime.datetime`, `Decimal`).
        ignore_row_if: which rows with NULLs are left out, for a rule about several columns; None for one about one.
        conditional: it has a `row_condition`, which may look at any column.
    """

    metric: str
    arguments: Mapping[str, Any]
    ignore_row_if: str | None
    conditional: bool


@dataclass(frozen=True, slots=True)
class TableMetric:
    """A metric a rule about the table needs: its name in `sluice.rules.metrics`, the column it is about, and the
    values it looks for, if any."""

    name: str
    column: str | None
    value_set: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class TableRule(Rule):
    """A rule about the whole file, judged once from merged metrics.

    Attributes:
        metrics: what it is judged by.
        conditional: it has a `row_condition`.
        settled: Great Expectations' verdict where no row can change it, as that on the table's columns.
    """

    metrics: tuple[TableMetric, ...]
    conditional: bool
    settled: Judgement | None


@dataclass(frozen=True, slots=True)
class UniqueRule(Rule):
    """A rule that no chunk can judge: the values go to the ledger and are compared there at the end.

    `ignore_row_if` is Great Expectations' own: which rows with NULLs do not take part.
    """

    ignore_row_if: Literal["any_value_is_missing", "all_values_are_missing", "never"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite that has been checked: every rule in it can be judged. Plain values, which can be written down.

    Attributes:
        digest: of all it was made from (`sluice.rules.digest`).
        version: of the Great Expectations that read it.
        unique_rules: without the one that says what the dataset's key says: the key's policy sees to it.
        condition_columns: those a `row_condition` may look at.
    """

    digest: str
    version: str = field(hash=False)
    name: str = field(hash=False)
    columns: Mapping[str, ColumnType] = field(hash=False)
    row_rules: tuple[RowRule, ...] = field(hash=False)
    table_rules: tuple[TableRule, ...] = field(hash=False)
    unique_rules: tuple[UniqueRule, ...] = field(hash=False)
    condition_columns: tuple[str, ...] = field(default=(), hash=False)

    @property
    def used_columns(self) -> tuple[str, ...]:
        """The columns any rule looks at, in the dataset's order."""
        rules: tuple[Rule, ...] = (*self.row_rules, *self.table_rules)
        used = {name for rule in rules for name in rule.columns} | set(self.condition_columns)
        return tuple(name for name in self.columns if name in used)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a chunk's rows are worth.

    `violations` cover every row, also those with a cell that did not cast (never for a rule that looks at such
    a cell); `metrics` count only the rows whose every cell cast.
    """

    violations: tuple[Violation, ...]
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class FailedRule:
    """A rule the file as a whole does not meet: a share of good rows below `mostly`, or a rule about the table."""

    code: str
    column: str | None
    severity: Severity
    message: str
    kind: Literal["row", "table"]


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Great Expectations' verdict on the whole file; `json` is its own result document.

    `success` is Great Expectations' word: a single bad row of a rule without `mostly` makes it False, although
    that row was merely routed to the error table. What fails an import is in `failed`.
    """

    success: bool
    json: dict[str, Any]
    failed: tuple[FailedRule, ...]
