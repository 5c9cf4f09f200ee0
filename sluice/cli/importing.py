"""`sluice import` and `sluice resume`: one import, in this process."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sluice.cli.progress import shown_progress
from sluice.cli.root import echo_error, echo_json, ledger_connection, reports_errors
from sluice.errors import SluiceError
from sluice.model import Commit, Mode, ShortRows, Status, StrayQuotes

if TYPE_CHECKING:
    from sluice.importer import OnProgress
    from sluice.model import Report
    from sluice.request import Request

#: Completed, but some rows were rejected.
EXIT_REJECTS = 3


def _pairs(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not FIELD=...", param=parameter)
        pairs[name] = rest
    return pairs


def _choice(kind: type[Any]) -> click.Choice[str]:
    return click.Choice([str(item) for item in kind])


_no_prefect = click.option("--no-prefect", is_flag=True, help="The engine alone: no run is recorded in Prefect.")
_as_json = click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")


@click.command("import")
@click.argument("source")
@click.option("--dataset", metavar="NAME", help="The folder under expectations/ that says what good data is.")
@click.option("--table", metavar="SCHEMA.NAME", help="Without a dataset: the table; its columns from the header.")
@click.option("--infer", is_flag=True, help="With --table: types that fit every value of the file (the default).")
@click.option("--all-text", is_flag=True, help="With --table: every column is text.")
@click.option("--mode", type=_choice(Mode), help="What becomes of rows whose key is in the table already.")
@click.option("--commit", type=_choice(Commit), help="Rows become visible chunk by chunk, or all at the end.")
@click.option("--max-rejects", metavar="N|P%", help="Fail when more rows than this are rejected.")
@click.option("--strict", is_flag=True, help="Fail if any row is rejected: --max-rejects 0.")
@click.option("--map", multiple=True, callback=_pairs, metavar="FIELD=HEADER|FIELD=#N", help="Where a column is found.")
@click.option("--set", multiple=True, callback=_pairs, metavar="FIELD=VALUE", help="A column the run fills.")
@click.option("--delimiter", metavar="C", help="Sniffed where not told; 'tab' and '\\t' are understood.")
@click.option("--quote", metavar="C", help="The quote character; 'none' for none.")
@click.option("--escape", metavar="C", help="Escapes a quote inside a quoted field, instead of doubling it.")
@click.option("--encoding", metavar="E", help="Detected where not told.")
@click.option("--no-header", is_flag=True, help="The first record is data; columns by position.")
@click.option("--skip-lines", type=int, metavar="N", help="Lines before the header.")
@click.option("--null", multiple=True, metavar="TEXT", help="A text read as NULL, in every column.")
@click.option("--stray-quotes", type=_choice(StrayQuotes), help="A quote inside an unquoted field.")
@click.option("--short-rows", type=_choice(ShortRows), help="A record with too few fields.")
@click.option("--dry-run", is_flag=True, help="Everything but the load; every error is reported.")
@click.option("--force", is_flag=True, help="Import again what was imported already.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Load with N processes (1).")
@click.option("--max-rows-per-second", type=click.IntRange(1), metavar="N", help="Load no faster than this.")
@click.option("--wait", is_flag=True, help="Wait for another import into the same table instead of refusing.")
@_no_prefect
@_as_json
@reports_errors
def import_command(source: str, no_prefect: bool, as_json: bool, **options: Any) -> None:
    """Import one file, in this process, as the Prefect flow import-file."""
    from sluice.request import request_of

    try:
        request = request_of(source, **options)
    except SluiceError as error:
        _fail(error, source, as_json=as_json)
    _run(request, no_prefect=no_prefect, as_json=as_json)


@click.command()
@click.argument("import_id", type=int)
@_no_prefect
@_as_json
@reports_errors
def resume(import_id: int, no_prefect: bool, as_json: bool) -> None:
    """Continue an import that failed, was cancelled or was killed, from its last committed chunk."""
    from sluice.run import request_to_resume
    from sluice.settings import Settings

    try:
        request = request_to_resume(Settings.from_environment(), import_id)
    except SluiceError as error:
        _fail(error, None, as_json=as_json)
    _run(request, no_prefect=no_prefect, as_json=as_json, resume=import_id)


def _run(request: Request, *, no_prefect: bool, as_json: bool, resume: int | None = None) -> None:
    """Run it, print the report, leave with the status of the interface."""
    engine = _run_engine if no_prefect else _run_flow
    try:
        with shown_progress(f"{request.dataset or request.table} <- {PurePath(request.source).name}") as on_progress:
            report = engine(request, on_progress, resume)
    except SluiceError as error:
        _fail(error, request.source, request.dataset, as_json=as_json)
    if as_json:
        echo_json(report.to_dict())
    else:
        from sluice.report import console, print_report

        print_report(report, console())
    sys.exit(EXIT_REJECTS if report.status is Status.COMPLETED_WITH_REJECTS else 0)


def _run_engine(request: Request, on_progress: OnProgress, resume: int | None) -> Report:
    from sluice.run import run
    from sluice.settings import Settings, user_name

    settings = Settings.from_environment()
    return run(request, settings, on_progress=on_progress, started_by=user_name(), resume=resume)


def _run_flow(request: Request, on_progress: OnProgress, resume: int | None) -> Report:
    from flows.local import run_import_file  # the command line is the one place in sluice/ that knows of flows/
    from sluice.opening import refuse_at_once
    from sluice.settings import Settings

    if resume is None:
        refuse_at_once(request, Settings.from_environment())
    return run_import_file(request, on_progress, resume)


def _fail(error: SluiceError, source: str | None, dataset: str | None = None, *, as_json: bool) -> NoReturn:
    """The message on stderr; with --json, a report on stdout all the same: the ledger's, if the import got there."""
    if as_json:
        echo_json(_report_of_failure(error, source, dataset))
    echo_error(error)
    sys.exit(error.exit_status)


def _report_of_failure(error: SluiceError, source: str | None, dataset: str | None) -> dict[str, Any]:
    from sluice.reporting import report_of, report_of_nothing

    if error.import_id is not None:
        with suppress(SluiceError), ledger_connection() as connection:  # it may be the database that failed
            return report_of(connection, error.import_id).to_dict()
    return report_of_nothing(source or "", dataset, str(error)).to_dict()
