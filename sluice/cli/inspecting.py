"""`sluice imports`, `show`, `rejects` and `status`: questions to the ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sluice.cli.root import echo_error, echo_json, ledger_connection, reports_errors
from sluice.codes import Category
from sluice.errors import SluiceError

if TYPE_CHECKING:
    from rich.table import Table

    from sluice.history import Details


@click.command()
@click.option("--dataset", metavar="NAME", help="Only imports of this dataset.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of reports.")
@reports_errors
def imports(dataset: str | None, limit: int, as_json: bool) -> None:
    """History, newest first."""
    from sluice import history
    from sluice.model import Status
    from sluice.reporting import report_of

    with ledger_connection() as connection:
        reports = [report_of(connection, row.id) for row in history.imports(connection, dataset, limit)]
    if as_json:
        echo_json([report.to_dict() for report in reports])
        return
    from rich.table import Table

    from sluice.report import console, shown

    table = Table(box=None, pad_edge=False)
    for name in ("id", "status", "dataset", "table", "source", "records", "loaded", "rejected", "started (UTC)"):
        table.add_column(name, justify="right" if name in ("id", "records", "loaded", "rejected") else "left")
    for report in reports:
        table.add_row(
            str(report.import_id),
            report.status,
            shown(report.dataset or ""),
            shown(report.table),
            shown(report.source, 48),
            f"{report.records:,}",
            f"{report.loaded:,}",
            f"{report.rejected:,}",
            report.started_at[:19].replace("T", " "),
        )
    out = console()
    out.print(table if reports else "No imports yet.")
    for report in reports:
        if report.status == Status.RUNNING and report.message:
            out.print(report.message)


@click.command()
@click.argument("import_id", type=int)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object, with chunks.")
@reports_errors
def show(import_id: int, as_json: bool) -> None:
    """One import: counts, errors by rule and category, chunks, speed."""
    from sluice import history
    from sluice.reporting import report_of

    with ledger_connection() as connection:
        details = history.show(connection, import_id)
        report = report_of(connection, import_id)
    if as_json:
        echo_json(report.to_dict() | {"chunks": [_chunk(chunk) for chunk in details.chunks]})
        return
    from sluice.report import console, print_report

    out = console()
    print_report(report, out)
    out.print(_rules(details))
    out.print(
        f"Chunks: {len(details.chunks):,}, {details.row.bytes_done:,} of {details.row.bytes_total:,} bytes of text, "
        f"attempt {details.row.attempt}, {details.open_rejects:,} rejected rows still open"
    )


def _chunk(chunk: Any) -> dict[str, Any]:
    return {name: getattr(chunk, name) for name in chunk.__slots__}


def _rules(details: Details) -> Table:
    from rich.table import Table

    from sluice.report import shown

    table = Table(box=None, pad_edge=False, title="Errors by rule", title_justify="left")
    for name in ("errors", "rows", "code", "column", "first line", "first value"):
        table.add_column(name, justify="right" if name in ("errors", "rows", "first line") else "left")
    for rule in details.rules:
        table.add_row(
            f"{rule.errors:,}",
            f"{rule.rows:,}",
            rule.code,
            shown(rule.column or ""),
            f"{rule.first_line:,}",
            shown(rule.first_value),
        )
    return table


@click.command()
@click.argument("import_id", type=int)
@click.option("--rule", metavar="CODE", help="Only rows with such an error.")
@click.option("--category", type=click.Choice([str(item) for item in Category]), help="Only rows with such an error.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of stdout.")
@reports_errors
def rejects(import_id: int, rule: str | None, category: str | None, output: Path | None) -> None:
    """Rejected rows as CSV: the source's own columns, then _line and _errors."""
    from sluice.reporting import write_rejects

    with ledger_connection() as connection:
        if output is None:
            write_rejects(connection, import_id, sys.stdout, rule=rule, category=category)
            return
        with output.open("w", encoding="utf-8", newline="") as file:
            count = write_rejects(connection, import_id, file, rule=rule, category=category)
    click.echo(f"{count:,} rejected rows written to {output}", err=True)


@click.command()
@reports_errors
def status() -> None:
    """Addresses and health of database, Prefect server and worker."""
    from sluice.database import database_url, redact
    from sluice.health import prefect_health
    from sluice.settings import Settings

    settings = Settings.from_environment()
    healthy = True
    try:
        with ledger_connection() as connection:
            version = connection.execute("SHOW server_version").fetchone()[0]
            running = connection.execute("SELECT count(*) FROM sluice.imports WHERE status = 'running'").fetchone()[0]
        click.echo(
            f"database  up    {redact(database_url(settings))} (PostgreSQL {version}, {running} imports running)"
        )
    except SluiceError as error:
        healthy = False
        click.echo("database  down")
        echo_error(error)
    for name, up, text in prefect_health(settings.home):
        click.echo(f"{name:<9} {'up' if up else 'down':<5} {text}")
    sys.exit(0 if healthy else 1)
