"""Import many small dropped files in one flow run, each an import of its own in the ledger."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from socket import gethostname
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.form import asked
from sluice import inbox_files as files
from sluice.dataset import dataset_names
from sluice.errors import SourceUnavailable, TransientError, UsageError
from sluice.inbox import IMPORTING, UNAVAILABLE
from sluice.inbox_files import TakenFile
from sluice.inbox_remote import RemoteInbox
from sluice.markdown import escaped, shortened, table
from sluice.model import Status
from sluice.settings import Settings
from tasks.inbox_import import Outcome, Session, import_one
from tasks.inbox_settle import Dropped

#: See `sluice.inbox_files.new_key`; nothing in it may lead out of the dataset's folder.
_KEY = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")

#: See `sluice.inbox_remote.Object.key`; the same for the store.
_OBJECT = re.compile(r"[0-9a-f]{16} [^/]+", re.DOTALL)


def _run_name() -> str:
    told = flow_run.parameters
    return f"{told['dataset']} <- dropped files, {told.get('claim') or told['objects'][0].partition(' ')[0]}"


@flow(name="import-dropped", flow_run_name=_run_name, persist_result=False)
def import_dropped(
    dataset: Annotated[str, asked("Dataset", "The dataset, which is the name of the folder in the inbox, too.")],
    claim: Annotated[
        str, asked("Claim", "The folder below .importing that the inbox's watcher made for these files.")
    ] = "",
    objects: Annotated[
        list[str],
        asked("Objects", "Of an inbox in an object store: what the inbox's watcher saw of each, and its name."),
    ] = [],  # noqa: B006
) -> State[Any]:
    """Import the files that the inbox's watcher took together. Started by it; runs of it are not started by hand.

    The files are imported one after another in the order they were dropped. One that fails stops none of the others.
    """
    settings = Settings.from_environment()
    named = [_OBJECT.fullmatch(one) for one in objects]
    if dataset not in dataset_names(settings.datasets) or not (
        _KEY.fullmatch(claim) if claim else named and all(named)
    ):
        raise UsageError("This flow is started by the inbox's watcher.", hint="Drop files, or run import-file.")
    try:
        found = _taken(settings, dataset, claim) if claim else _objects(dataset, objects)
    except TransientError as error:
        return Failed(name=UNAVAILABLE, message=str(error))
    if not found:
        return Completed(message="None of its files is left to be imported: an earlier run saw to them.")
    outcomes: list[Outcome] = []
    try:
        with closing(Session(settings)) as session:
            for file in found:
                outcomes.append(_without_folder(import_one(settings, session, file), file))
    except TransientError as error:
        left = len(found) - len(outcomes)
        return Failed(name=UNAVAILABLE, message=f"{left} of {len(found)} files are left for another run: {error}")
    if claim and (taken := files.taken(settings.inbox / dataset, claim)) is not None:
        files.release(taken)
    key = claim.lower() or objects[0].partition(" ")[0]
    create_markdown_artifact(_page(outcomes), key=f"inbox-{key}", description=_message(outcomes))
    return _final_state(outcomes)


def _without_folder(outcome: Outcome, file: Dropped) -> Outcome:
    """A file lies in this folder only while it is imported, so that the folder helps nobody afterwards."""
    return replace(outcome, message=outcome.message.replace(file.source.removesuffix(file.name), ""))


def _taken(settings: Settings, dataset: str, claim: str) -> Sequence[Dropped]:
    """The files of a claim that are left.

    Raises:
        SourceUnavailable: this machine does not have the inbox.
    """
    folder = settings.inbox / dataset
    if not (folder / IMPORTING).is_dir():  # it stays there once a file was taken
        raise SourceUnavailable(
            f"{gethostname()} does not see the inbox: {folder / IMPORTING} is not there.",
            hint="All hosts with a worker need SLUICE_INBOX to name the same shared folder.",
        )
    taken = files.taken(folder, claim)
    if taken is None:
        return []
    each = replace(taken, files=())  # Prefect looks through all that a task is given
    return [TakenFile(each, path, settings.home) for path in taken.files]


def _objects(dataset: str, keys: Sequence[str]) -> Sequence[Dropped]:
    """The objects that are left, and still what the watcher saw.

    Raises:
        SourceUnavailable: the store does not answer, or this machine does not know it.
    """
    inbox = RemoteInbox.from_environment()
    if inbox is None:
        raise SourceUnavailable(
            f"SLUICE_INBOX_URI is not set on {gethostname()}.", hint="All hosts with a worker need it."
        )
    found = [inbox.get(dataset, key.partition(" ")[2]) for key in keys]
    return [one for one, key in zip(found, keys, strict=True) if one is not None and one.key == key]


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
