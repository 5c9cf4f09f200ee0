"""Import one file: claim it, load it window by window, publish it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import PurePath
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from sluice.errors import SluiceError
from sluice.model import Report, Status
from sluice.request import request_of
from tasks.claim import claim
from tasks.load_window import load_window, name_of
from tasks.publish import publish


def _run_name() -> str:
    parameters = flow_run.parameters
    return f"{parameters.get('dataset') or parameters.get('table')} <- {PurePath(str(parameters['source'])).name}"


@flow(name="import-file", flow_run_name=_run_name, persist_result=False)
def import_file(
    source: Annotated[str, Field(title="Source", description="Path or URI of the file.", min_length=1)],
    dataset: Annotated[str, Field(title="Dataset", description="A folder under expectations/.")] = "",
    table: Annotated[str, Field(title="Table", description="Without a dataset: schema.name of the table.")] = "",
    infer: Annotated[bool, Field(title="Infer types", description="With a table: from the whole file.")] = False,
    all_text: Annotated[bool, Field(title="All text", description="With a table: every column is text.")] = False,
    mode: Annotated[
        Literal["", "insert", "overwrite", "append", "replace"],
        Field(title="Mode", description="What becomes of rows whose key is in the table; empty: as the dataset says."),
    ] = "",
    commit: Annotated[
        Literal["", "progressive", "atomic"],
        Field(title="Commit", description="Chunk by chunk, or all at the end; empty: as the dataset says."),
    ] = "",
    max_rejects: Annotated[str, Field(title="Most rejects", description="A number, or a percentage: 5%.")] = "",
    strict: Annotated[bool, Field(title="Strict", description="Fail at the first rejected row.")] = False,
    map: Annotated[
        dict[str, str], Field(title="Map", description="Column -> header, or #N.")
    ] = {},  # noqa: B006
    set: Annotated[dict[str, str], Field(title="Set", description="Column -> value.")] = {},  # noqa: B006
    delimiter: Annotated[str, Field(title="Delimiter", description="Empty: found out.")] = "",
    quote: Annotated[str | None, Field(title="Quote", description="Not given: found out; empty: none.")] = None,
    escape: Annotated[str, Field(title="Escape", description="Empty: quotes are doubled.")] = "",
    encoding: Annotated[str, Field(title="Encoding", description="Empty: found out.")] = "",
    no_header: Annotated[bool, Field(title="No header", description="The first record is data.")] = False,
    skip_lines: Annotated[int, Field(title="Skip lines", description="Lines before the header; -1: found out.")] = -1,
    null: Annotated[list[str], Field(title="NULL texts", description="Texts read as NULL.")] = [],  # noqa: B006
    stray_quotes: Annotated[Literal["", "reject", "literal"], Field(title="Stray quotes")] = "",
    short_rows: Annotated[Literal["", "reject", "pad"], Field(title="Short rows")] = "",
    dry_run: Annotated[bool, Field(title="Dry run", description="Everything but the load.")] = False,
    force: Annotated[bool, Field(title="Force", description="Import again what was imported already.")] = False,
    wait: Annotated[bool, Field(title="Wait", description="Wait for another import into the same table.")] = False,
    resume: Annotated[int, Field(title="Resume", description="Number of an import to continue; 0: none.")] = 0,
) -> State[Any]:
    """Import one CSV file into PostgreSQL: strict reading, every row judged, bad rows kept with every reason."""
    options = {name: value for name, value in locals().items() if value not in ("", [], {}, -1, False)}
    options.pop("resume", None)
    if quote == "":
        options["quote"] = ""
    try:
        with ExitStack() as stack:
            running = claim(request_of(**options), stack, resume or None)
            for window in running.windows:
                load_window.with_options(task_run_name=name_of(window))(running, window)
            report = publish(running)
    except SluiceError as error:
        return Failed(message=str(error), data=error)
    return final_state(report)


def final_state(report: Report) -> State[Any]:
    """Completed, or CompletedWithRejects; the message has the counts."""
    name = "CompletedWithRejects" if report.status is Status.COMPLETED_WITH_REJECTS else None
    return Completed(name=name, message=report.message, data=report)
