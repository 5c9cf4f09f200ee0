"""What an import leaves to be looked at in Prefect: a page in Markdown, a table of errors, the report as JSON.

Everything that comes from a file is escaped. The artifacts' keys are part of the interface: `import-<id>-report`,
`import-<id>-errors`, `import-<id>-json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from sluice.codes import CODES
from sluice.history import RuleErrors
from sluice.markdown import bar, code, escaped, inert, table
from sluice.model import Report, Status

#: Rows of the table of errors: one a rule and column. Prefect refuses events over 1.5 MB, and sends every artifact
#: as one; 200 rows of texts cut to `sluice.markdown.LIMIT` stay below a tenth of that.
MAX_ROWS = 200

#: Lines of the chart of rules; the table of errors has them all.
_CHART_ROWS = 25

#: Characters of an example: Prefect's columns become as wide as a value without blanks, and what follows is to be seen.
_EXAMPLE = 40

_HEADLINES = {
    Status.RUNNING: "Running",
    Status.COMPLETED: "Completed",
    Status.COMPLETED_WITH_REJECTS: "Completed with rejects",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
    Status.UNDONE: "Undone",
}

_COUNTS = ("records", "loaded", "updated", "unchanged", "skipped", "rejected")


def report_page(report: Report) -> str:
    """The report as a page in Markdown."""
    return "\n\n".join(_sections(report)) + "\n"


def _sections(report: Report) -> Iterator[str]:
    name = PurePath(report.source).name
    yield f"# {escaped(report.dataset or report.table)} ← {escaped(name)}"
    number = f" (import #{report.import_id})" if report.import_id is not None else " (dry run)"
    yield f"**{_HEADLINES[report.status]}**{number}. {escaped(report.message, 1000)}"
    yield table([f"{name}:" for name in _COUNTS], [[f"{getattr(report, name):,}" for name in _COUNTS]])
    yield (
        f"{report.bytes:,} bytes of {escaped(report.source, 500)} into {escaped(report.table)} in"
        f" {report.seconds:,.1f} s, {report.rows_per_second:,.0f} records a second: from {_time(report.started_at)} to"
        f" {_time(report.finished_at) or 'now'} UTC."
    )
    if report.errors_by_rule:
        yield "## Why rows were rejected"
        yield _chart("category", {str(key): count for key, count in report.errors_by_category.items()})
        yield _chart("rule", report.errors_by_rule)
        yield _remedies(report.errors_by_rule)
    if report.warnings_by_rule:
        yield "## Loaded with a warning"
        yield _chart("rule", report.warnings_by_rule)
    if report.samples:
        yield "## For example"
        yield table(
            ["line:", "column", "value", "what is wrong"],
            [
                [f"{sample.line:,}", escaped(sample.column), code(sample.value, _EXAMPLE), escaped(sample.message)]
                for sample in report.samples
            ],
        )
    steps = list(_next_steps(report))
    if steps:
        yield "## What to do next"
        yield table(["to", "run"], steps)


def _chart(title: str, counts: dict[str, int]) -> str:
    """Counts with bars, the largest first."""
    told = _by_count(counts)
    total = sum(counts.values())
    rows = [[code(name), f"{counts[name]:,}", bar(counts[name] / total)] for name in told[:_CHART_ROWS]]
    more = f"\n\nand {len(told) - _CHART_ROWS} more." if len(told) > _CHART_ROWS else ""
    return table([title, "errors:", "share"], rows) + more


def _remedies(counts: dict[str, int]) -> str:
    """What can be done about the rules of the chart, each remedy once. Prose of ours, in Markdown already."""
    rules: dict[str, list[str]] = {}
    for name in _by_count(counts)[:_CHART_ROWS]:
        remedy = CODES[name].remedy if name in CODES else "Correct the value, or the dataset's suite."
        rules.setdefault(remedy, []).append(code(name))
    return "What to do about it:\n\n" + "\n".join(f"- {', '.join(names)}: {text}" for text, names in rules.items())


def _by_count(counts: dict[str, int]) -> list[str]:
    """The names that occurred, the most frequent first."""
    return sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))


def _time(moment: str) -> str:
    """Of ISO 8601, to the second."""
    return moment[:19].replace("T", " ")


def _next_steps(report: Report) -> Iterator[tuple[str, str]]:
    if report.import_id is None:
        return
    if report.status in (Status.FAILED, Status.CANCELLED):
        yield "continue where it stopped", f"`sluice resume {report.import_id}`, or Retry in the menu of the flow run"
    if report.rejected:
        yield "see every rejected row with its reasons", f"`sluice rejects {report.import_id} --output rejects.csv`"
        yield "ask the database", f"`{query_of_errors(report.import_id)}`"
    yield "see counts, rules and chunks", f"`sluice show {report.import_id}`"


def query_of_errors(import_id: int) -> str:
    """The query for all errors of an import, for people to run."""
    return f"SELECT * FROM sluice.row_errors WHERE import_id = {import_id:d} ORDER BY line"  # noqa: S608 - a number


def errors_table(rules: Sequence[RuleErrors]) -> list[dict[str, Any]]:
    """One row a rule and column, the most frequent first.

    The order is that of the columns on Prefect's page, of which only the first are in view.
    """
    return [
        {
            "errors": rule.errors,
            "column": inert(rule.column),
            "first line": rule.first_line,
            "example": inert(rule.first_value, _EXAMPLE),
            "message": inert(rule.first_message),
            "code": rule.code,
            "category": rule.category,
            "rows": rule.rows,
        }
        for rule in rules[:MAX_ROWS]
    ]
