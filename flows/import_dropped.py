"""Import many small dropped files in one flow run, each an import of its own in the ledger."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.form import asked
from sluice import inbox_files as files
from sluice.dataset import dataset_names
from sluice.errors import TransientError, UsageError
from sluice.inbox import UNAVAILABLE
from sluice.markdown import escaped, shortened, table
from sluice.model import Status
from sluice.settings import Settings
from tasks.inbox_import import Outcome, import_one

#: See `sluice.inbox_files.new_key`; nothing in it may lead out of the dataset's folder.
_KEY = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


def _run_name() -> str:
    return f"{flow_run.parameters['dataset']} <- dropped files, {flow_run.parameters['claim']}"


@flow(name="import-dropped", flow_run_name=_run_name, persist_result=False)
def import_dropped(
    dataset: Annotated[str, asked("Dataset", "The dataset, which is the name of the folder in the inbox, too.")],
    claim: Annotated[str, asked("Claim", "The folder below .importing that the inbox's watcher made for these files.")],
) -> State[Any]:
    """Import the files that the inbox's watcher took together. Started by it; runs of it are not started by hand.

    The files are imported one after another in the order they were dropped. One that fails stops none of the others.
    """
    settings = Settings.from_environment()
    if dataset not in dataset_names(settings.datasets) or not _KEY.fullmatch(claim):
        raise UsageError("This flow is started by the inbox's watcher.", hint="Drop files, or run import-file.")
    taken = files.taken(settings.inbox / dataset, claim)
    if taken is None or not taken.files:
        return Completed(message="None of its files is left to be imported: an earlier run saw to them.")
    outcomes: list[Outcome] = []
    try:
        for path in taken.files:
            outcomes.append(_without_folder(import_one(settings, taken, path), path))
    except TransientError as error:
        left = len(taken.files) - len(outcomes)
        return Failed(name=UNAVAILABLE, message=f"{left} of {len(taken.files)} files are left for another run: {error}")
    files.release(taken)
    create_markdown_artifact(_page(outcomes), key=f"inbox-{claim.lower()}", description=_message(outcomes))
    return _final_state(outcomes)


def _without_folder(outcome: Outcome, path: Path) -> Outcome:
    """A file lies in the claim's folder only while it is imported, so that folder helps nobody afterwards."""
    return replace(outcome, message=outcome.message.replace(f"{path.parent}{os.sep}", ""))


def _final_state(outcomes: list[Outcome]) -> State[Any]:
    message = _message(outcomes)
    if any(one.failed for one in outcomes):
        first = next(one for one in outcomes if one.failed)
        return Failed(message=f"{message} The first: {_reason(first)}")
    rejects = any(one.rejected for one in outcomes)
    return Completed(name="CompletedWithRejects" if rejects else None, message=message)


def _message(outcomes: list[Outcome]) -> str:
    imported = [one for one in outcomes if not (one.failed or one.before)]
    parts = [f"{len(imported):,} of {len(outcomes):,} files imported"]
    if before := sum(one.before for one in outcomes):
        parts.append(f"{before:,} imported before")
    if failed := sum(one.failed for one in outcomes):
        parts.append(f"{failed:,} failed")
    records, rejected = (sum(getattr(one, name) for one in imported) for name in ("records", "rejected"))
    counts = f"{records:,} records" + (f", {rejected:,} rejected" if rejected else "")
    return f"{', '.join(parts)}: {counts}."


def _reason(one: Outcome) -> str:
    return one.message if one.name in one.message else f"{one.name}: {one.message}"


def _page(outcomes: list[Outcome]) -> str:
    rows = [
        [
            escaped(shortened(one.name, 80)),
            "" if one.import_id is None else f"#{one.import_id}",
            f"{one.records:,}",
            f"{one.rejected:,}",
            Status.FAILED if one.failed else ("imported before" if one.before else "imported"),
        ]
        for one in sorted(outcomes, key=lambda one: (not one.failed, -one.rejected))
    ]
    page = ["# Dropped files", _message(outcomes), table(["file", "import:", "records:", "rejected:", "outcome"], rows)]
    if failed := [one for one in outcomes if one.failed]:
        page += ["## Why files failed", "\n".join(f"- {escaped(_reason(one), 300)}" for one in failed)]
    return "\n\n".join(page) + "\n"
