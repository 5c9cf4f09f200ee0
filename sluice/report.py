"""What an import comes to, for people: the report on the terminal. (For programs: `Report.to_dict`.)"""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sluice.model import Report, Status

_HEADLINES = {
    Status.COMPLETED: "[bold green]Imported:[/]",
    Status.COMPLETED_WITH_REJECTS: "[bold yellow]Imported with rejects:[/]",
    Status.FAILED: "[bold red]Failed:[/]",
    Status.CANCELLED: "[bold red]Cancelled:[/]",
    Status.RUNNING: "[bold]Running:[/]",
    Status.UNDONE: "[bold]Undone:[/]",
}


#: Characters of a message or a path: whole sentences, but not a page.
_MESSAGE = 1000

#: Columns where there is no terminal to measure: a log or a file takes long lines.
_WIDTH = 160


def console() -> Console:
    """Where reports go: stdout, as wide as the terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_WIDTH)


def print_report(report: Report, console: Console) -> None:
    """Counts, rejects by category and rule, a few examples, and the command that shows them all."""
    number = f" as [bold]#{report.import_id}[/]" if report.import_id is not None else ""
    headline = _HEADLINES[report.status] if report.import_id is not None else "[bold]Dry run:[/]"
    console.print(
        f"{headline} {shown(report.source, _MESSAGE)} into [bold]{shown(report.table)}[/]{number}"
        f" in {report.seconds:.1f} s ({report.rows_per_second:,.0f} records/s)"
    )
    console.print(_counts(report))
    if report.errors_by_rule:
        console.print("Rejected because:")
        console.print(_tally(report.errors_by_rule))
        console.print(f"By category: {_by_category(report)}")
    if report.warnings_by_rule:
        console.print("Loaded with a warning:")
        console.print(_tally(report.warnings_by_rule))
    if report.samples:
        console.print("For example:")
        console.print(_samples(report))
    if report.rejected and report.import_id is not None:
        console.print(f"All rejected rows: [bold]sluice rejects {report.import_id}[/]")
    if report.message:
        console.print(shown(report.message, _MESSAGE))


def shown(text: str | None, limit: int = 60) -> str:
    """Text from a file made safe for a terminal: no markup, no control characters, not too long."""
    if text is None:
        return "[dim]NULL[/]"
    plain = "".join(char if char.isprintable() else "�" for char in text[:limit])
    return escape(plain + ("…" if len(text) > limit else ""))


def _counts(report: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    names = ("records", "loaded", "updated", "unchanged", "skipped", "rejected")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row(*(f"{getattr(report, name):,}" for name in names))
    return table


def _by_category(report: Report) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in report.errors_by_category.items() if count)


def _tally(counts: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("count", justify="right")
    table.add_column("code")
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(f"{count:,}", code)
    return table


def _samples(report: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("line", "column", "value", "what is wrong"):
        table.add_column(name, justify="right" if name == "line" else "left")
    for sample in report.samples:
        table.add_row(f"{sample.line:,}", shown(sample.column or ""), shown(sample.value), shown(sample.message, 80))
    return table
