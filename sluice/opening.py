"""Before the first row: settle how the file is read, fingerprint it, take its table, claim it.

    with opened(request, settings) as running:
        for window in running.windows:
            running.load(window)
        report = running.finish()

Leaving the block with an exception marks the import failed (or cancelled, on an interrupt). What it committed is
kept, and the same call again goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

from sluice import claim as claims
from sluice import first_pass, history
from sluice.catalog import inspect_table
from sluice.chunks import CHUNK_BYTES, Cutter
from sluice.claim import Claim, Claimed, table_lock
from sluice.database import connect, database_url
from sluice.errors import SourceError, TerminalError
from sluice.importer import Connection, Import, OnProgress
from sluice.location import locate
from sluice.migrate import ensure_ledger
from sluice.model import Chunk, Commit
from sluice.prepare import recipe_for, with_rules, with_types
from sluice.publish import create_staging
from sluice.recipe import Recipe
from sluice.request import Request
from sluice.settings import Settings
from sluice.source import Snapshot, reopened, snapshot
from sluice.target import ensure_target

#: A file up to this size is read once more to say "already imported" at once: a fraction of a second, where
#: starting Prefect takes several.
LOOK_AHEAD_BYTES = 128 * 1024 * 1024


@contextmanager
def opened(
    request: Request,
    settings: Settings,
    *,
    on_progress: OnProgress | None = None,
    flow_run_id: str | None = None,
    started_by: str | None = None,
    resume: int | None = None,
    connection: Connection | None = None,
) -> Iterator[Import]:
    """Settle everything that can be settled before the first row, claim the import, and hold its table.

    The file is read through once here: its fingerprint, its text and its chunks come from the same pass; a large one
    that an earlier attempt read through is not, while it is unchanged. `resume` is the number of an import to go on
    with; without it, an unfinished import of the same content is found. `connection` is one to use and to leave open
    (it is idle); without it, there is a new one.

    Raises:
        UsageError, DatasetError, SuiteError, SourceError, HeaderError, TargetError: something does not fit.
        AlreadyImported: this content is in the table. TableBusy: another import is writing to it.
        DatabaseError, DatabaseUnavailable: no usable database.
    """
    recipe = recipe_for(request, settings)
    with ExitStack() as stack:
        if connection is None:
            connection = stack.enter_context(closing(connect(database_url(settings))))
        ensure_ledger(connection)
        snap, chunks, kept = _read_through(stack, connection, request, recipe, settings)
        if recipe.untyped:
            recipe = with_types(recipe, request, snap, chunks, inspect_table(connection, recipe.dataset.table))
        wanted = replace(_claim(request, recipe, snap, flow_run_id, started_by), first_pass=kept)
        if resume is None and not (request.force or request.dry_run):
            claims.refuse_repetition(connection, wanted)  # at once: the rules take seconds to load
        recipe = with_rules(recipe, settings)
        table = recipe.dataset.table
        stack.enter_context(table_lock(connection, table, wait=request.wait))
        if request.dry_run:
            stack.enter_context(connection.transaction(force_rollback=True))
        target = ensure_target(connection, recipe.dataset)
        with connection.transaction():  # a claim without its staging table could not be resumed
            claimed = claims.claim(connection, wanted) if resume is None else _resumed(connection, wanted, resume)
            _check_cuts(claimed, chunks)
            # How it commits is settled once: what the first attempt loaded lies where that says.
            dataset = replace(recipe.dataset, commit=Commit(claimed.row.plan["commit"]))
            recipe = replace(recipe, dataset=dataset)
            running = Import(request, settings, recipe, snap, chunks, connection, target, claimed, on_progress, stack)
            if dataset.commit is Commit.ATOMIC and not claimed.resumed:
                create_staging(connection, running.plan)
        try:
            yield running
        except BaseException as error:
            running.failed(error)
            raise


def _read_through(
    stack: ExitStack, connection: Connection, request: Request, recipe: Recipe, settings: Settings
) -> tuple[Snapshot, list[Chunk], dict[str, Any] | None]:
    """The file, fingerprinted and cut, and what to keep of that: read through once, unless an attempt before this one
    has done it."""
    location, began = locate(request.source), time.time_ns()
    known = first_pass.recall(connection, location, recipe)
    if known is not None:
        chunks, snap = known.chunks, stack.enter_context(reopened(location, known.sha256, known.text))
    else:
        chunks, cutter = [], Cutter(recipe.dialect, start=recipe.data_start, first_line=recipe.first_line)
        snap = stack.enter_context(
            snapshot(
                request.source,
                recipe.dialect.encoding,
                settings.home / "spool",
                on_block=lambda block: chunks.extend(cutter.feed(block)),
                begins_with=recipe.begins_with,
            )
        )
        chunks += cutter.finish()
    return snap, chunks, first_pass.to_keep(location, snap, chunks, began)


def refuse_at_once(request: Request, settings: Settings) -> None:
    """Refuse a file that was imported already, before anything slow is started; `opened` has the last word.

    Files larger than `LOOK_AHEAD_BYTES`, remote ones and those without a dataset are left to it.

    Raises:
        AlreadyImported: and all that `opened` raises of the request, the file and the database.
    """
    path = locate(request.source).path
    if request.force or request.dry_run or request.table or path is None:
        return
    if path.is_file() and path.stat().st_size > LOOK_AHEAD_BYTES:
        return
    recipe = recipe_for(request, settings)
    with (
        snapshot(request.source, recipe.dialect.encoding, settings.home / "spool") as snap,
        closing(connect(database_url(settings))) as connection,
    ):
        ensure_ledger(connection)
        claims.refuse_repetition(connection, _claim(request, recipe, snap, None, None))


def _claim(request: Request, recipe: Recipe, snap: Snapshot, flow_run_id: str | None, started_by: str | None) -> Claim:
    return Claim(
        dataset=request.dataset,
        table=recipe.dataset.table,
        source=snap.uri,
        sha256=snap.sha256,
        size=snap.size,
        fingerprint=f"dry run {uuid4()}" if request.dry_run else recipe.fingerprint(snap.sha256),
        options=request.to_dict() | {"source": snap.uri},
        dialect=asdict(recipe.dialect),
        plan={**recipe.plan_dict(), "chunk_bytes": CHUNK_BYTES, "commit": recipe.dataset.commit},
        bytes_total=snap.text_size,
        flow_run_id=flow_run_id,
        started_by=started_by,
        force=request.force,
    )


def _resumed(connection: Connection, wanted: Claim, import_id: int) -> Claimed:
    """Go on with an import by its number, if what was found now is what it was begun with."""
    row = history.get(connection, import_id)
    if row.sha256 != wanted.sha256:
        raise SourceError(
            f"{row.source} is not the file any more that import #{import_id} was begun with.",
            hint="Bring back that file to continue; the new one is an import of its own.",
        )
    if row.fingerprint != wanted.fingerprint:
        raise TerminalError(
            f"The dataset {row.dataset} was changed since import #{import_id} began, so its rows would not be alike.",
            hint="Bring back the old definition to continue it, or import the file again with --force.",
        )
    return claims.resume(connection, import_id)


def _check_cuts(claimed: Claimed, chunks: list[Chunk]) -> None:
    """A resumed import must cut the text where its first attempt did."""
    cuts = {(chunk.byte_start, chunk.byte_end) for chunk in chunks}
    if any((done.byte_start, done.byte_end) not in cuts for done in claimed.done):
        raise TerminalError(
            f"Import #{claimed.import_id} was begun by a version of Sluice that cuts files elsewhere.",
            hint="Resume it with that version, or import the file again with --force.",
        )
