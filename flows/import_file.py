"""Import one file: claim it, load it window by window, publish it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows import form
from sluice.errors import ImportCancelled, SluiceError, TransientError, UsageError
from sluice.inbox import UNAVAILABLE
from sluice.markdown import plain
from sluice.model import Report, Status
from sluice.request import Request, request_of
from tasks import cluster
from tasks.claim import claim, report_of_earlier_attempt
from tasks.load_parts import load_by_parts
from tasks.load_window import load_window, name_of
from tasks.narrate import Narrator, narrated, run_name
from tasks.progress import listening
from tasks.publish import publish

#: Characters of a state's message: whole sentences, but not a page.
_MESSAGE = 1000

#: What a parameter holds that was left as it is, where that is not an empty text.
_NOT_TOLD = {"workers": 0, "max_rows_per_second": 0, "skip_lines": -1, "set": {}, "map": {}, "null": []}


@flow(name="import-file", flow_run_name=run_name, persist_result=False, task_runner=cluster.task_runner())
def import_file(
    source: form.Source,
    dataset: form.Dataset = "",
    table: form.Table = "",
    mode: form.ModeChoice = "",
    commit: form.CommitChoice = "",
    max_rejects: form.MaxRejects = "",
    strict: form.Strict = False,
    dry_run: form.DryRun = False,
    force: form.Force = False,
    wait: form.Wait = False,
    workers: form.Workers = 0,
    max_rows_per_second: form.Rate = 0,
    resume: form.Resume = 0,
    set: form.Sets = {},  # noqa: B006
    map: form.Maps = {},  # noqa: B006
    infer: form.Infer = False,
    all_text: form.AllText = False,
    delimiter: form.Delimiter = "",
    quote: form.Quote = "",
    escape: form.Escape = "",
    encoding: form.Encoding = "",
    no_header: form.NoHeader = False,
    skip_lines: form.SkipLines = -1,
    null: form.Nulls = [],  # noqa: B006
    stray_quotes: form.StrayQuotes = "",
    short_rows: form.ShortRows = "",
) -> State[Any]:
    """Import one CSV or JSON file into PostgreSQL: every row is judged, bad rows are kept with every reason."""
    told = {name: value for name, value in locals().items() if name != "resume" and value != _NOT_TOLD.get(name, "")}
    try:
        request = request_of(**told)  # before anything is opened: what no single field can tell
    except UsageError as error:
        return Failed(message=f"The parameters do not fit: {plain(str(error), _MESSAGE)}", data=error)
    with narrated(request) as narrator:
        try:
            report = report_of_earlier_attempt() or _import(request, resume or None, narrator)
        except SluiceError as error:
            narrator.failed(error)
            return _state_of_failure(error)
        narrator.completed(report)
    return final_state(report)


def _import(request: Request, resume: int | None, narrator: Narrator) -> Report:
    with listening(narrator.progress), ExitStack() as stack:
        running = claim(request, stack, resume)
        narrator.begin(running)
        for window in running.windows:
            if cluster.is_told() and not request.dry_run:  # a dry run is one transaction
                load_by_parts(running, window)
            else:
                load_window.with_options(task_run_name=name_of(window))(running, window)
        return publish(running)


def _state_of_failure(error: SluiceError) -> State[Any]:
    """Cancelled, Failed, or Failed by the name that lets the inbox try the file again."""
    message = plain(str(error), _MESSAGE)
    if isinstance(error, ImportCancelled):
        return Cancelled(message=message, data=error)
    if isinstance(error, TransientError):
        return Failed(name=UNAVAILABLE, message=message, data=error)
    return Failed(message=message, data=error)


def final_state(report: Report) -> State[Any]:
    """Completed, or CompletedWithRejects; the message has the counts."""
    name = "CompletedWithRejects" if report.status is Status.COMPLETED_WITH_REJECTS else None
    return Completed(name=name, message=plain(report.message, _MESSAGE), data=report)
