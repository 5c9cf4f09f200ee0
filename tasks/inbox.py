"""Dropped files on a Prefect server: ask what became of their runs, begin runs, put ended files where they belong.

Used by the flows of `flows/watch_inbox.py` and by the watcher process, which has no other need of Prefect: nothing of
it is imported here, its HTTP API is spoken.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluice import inbox_files as files
from sluice.dataset import dataset_names
from sluice.errors import SluiceError
from sluice.history import Connection
from sluice.inbox import (
    WHY,
    Attempt,
    Dropped,
    Looks,
    Run,
    Step,
    after,
    fitted,
    free_datasets,
    next_batch,
    next_step,
    stillness_needed,
    strangers,
)
from sluice.inbox_files import Seen, Taken, TakenFile
from sluice.inbox_ledger import Known, by_source
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings
from tasks.inbox_settle import emit, settle_ended

Log = logging.Logger | logging.LoggerAdapter[Any]

#: The deployments that import taken files: one alone, or small ones together.
ONE = "import-file/import-file"
MANY = "import-dropped/import-dropped"

#: Flow runs under way at once, over all datasets.
RUNS_AT_ONCE = 4

#: What `make up` says in the state of the runs it cancels when it is stopped: they are to go on at the next start.
SERVICE_STOPS = "The service is being stopped."


def import_many(api: PrefectApi) -> bool:
    """Whether the deployment is there that imports several files in one run."""
    try:
        api.get(f"/deployments/name/{MANY}")
    except PrefectApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def run_of(api: PrefectApi, said: Mapping[str, Any]) -> Run:
    """A flow run, from what the API says of it."""
    state = said.get("state") or {}
    stopped = False
    if state.get("type") == "CANCELLED":
        history = api.get(f"/flow_run_states/?flow_run_id={said['id']}")
        stopped = any(SERVICE_STOPS in (one.get("message") or "") for one in history)
    return Run(said["id"], state.get("type") or "", state.get("name") or "", state.get("message") or "", stopped)


def tell(api: PrefectApi, log: Log, event: str, dataset: str, name: str, payload: Mapping[str, Any]) -> None:
    """Say what became of a file in the log, and as an event that automations can act on."""
    log.log(
        logging.INFO if event == "archived" else logging.WARNING,
        "%s/%s: %s %s", dataset, ascii(name)[1:-1], event, ", ".join(map(str, payload.values())),
    )  # fmt: skip
    emit(api, event, dataset, name, payload)


def _known(connection: Connection, taken: Iterable[TakenFile]) -> dict[str, Known]:
    return by_source(connection, [file.source for file in taken])


@dataclass(slots=True)
class Watch:
    """One watcher: looks at the inbox again and again. All that must last is on disk, on the server, in the ledger."""

    settings: Settings
    api: PrefectApi
    log: Log
    looks: Looks = field(default_factory=Looks)
    _deployments: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def scan(self) -> int:
        """One look, and every step it allows. Returns how many files are waiting or under way.

        Raises:
            PrefectApiError: the server did not answer; nothing is lost, look again.
            OSError: the inbox cannot be read.
        """
        datasets = dataset_names(self.settings.datasets)
        self._tell_strangers(datasets)
        claims = [claim for name in datasets for claim in self._claims(name)]
        settled = self._advance(claims)
        busy = Counter(claim.dataset for claim in claims if claim.key not in settled)
        seen = {name: one for name in datasets if (one := self._look(name)) is not None}
        waiting = self._waiting(seen)
        for name in free_datasets({name: len(found) for name, found in waiting.items()}, busy, RUNS_AT_ONCE):
            self._begin(name, waiting[name])
        under_way = sum(len(claim.files) for claim in claims if claim.key not in settled)
        return sum(len(one.files) for one in seen.values()) + under_way

    def _claims(self, dataset: str) -> list[Taken]:
        try:
            return list(files.claims(self.settings.inbox / dataset))
        except OSError as error:
            self._once(f"claims {error}", "the folder of %s cannot be read: %s", dataset, error)
            return []

    def _look(self, dataset: str) -> Seen | None:
        try:
            (self.settings.inbox / dataset).mkdir(parents=True, exist_ok=True)
            return files.look(self.settings.inbox / dataset)
        except OSError as error:
            self._once(f"look {error}", "the folder of %s cannot be read: %s", dataset, error)
            return None

    # What is dropped ---------------------------------------------------------------------------------------------

    def _waiting(self, seen: Mapping[str, Seen]) -> dict[str, list[Dropped]]:
        self.looks.look((file for one in seen.values() for file in one.files), time.monotonic())
        wall = time.time()
        waiting: dict[str, list[Dropped]] = {}
        for name, one in seen.items():
            for odd, why in one.odd.items():
                self._refuse(name, odd, why)
            waiting[name] = [
                file
                for file in one.files
                if file.marked
                or (not one.marks_only and self.looks.still_for(file, wall) >= stillness_needed(file, False))
            ]
        return waiting

    def _begin(self, dataset: str, waiting: list[Dropped]) -> None:
        batch = next_batch(file for file in waiting if self._is_complete(dataset, file))
        if len(batch) > 1 and not import_many(self.api):
            batch = batch[:1]
        claim = files.take(self.settings.inbox / dataset, batch) if batch else None
        if claim is not None:
            self._submit(claim, Attempt(left=len(claim.files)))

    def _is_complete(self, dataset: str, file: Dropped) -> bool:
        try:
            written_to = files.written_to(file.path)
        except PermissionError:
            self._refuse(dataset, file.path.name, "It may not be read by the user that runs Sluice.")
            return False
        except OSError:  # it is gone, or no plain file any more
            return False
        return file.marked or self.looks.still_for(file, time.time()) >= stillness_needed(file, written_to)

    # What is taken -----------------------------------------------------------------------------------------------

    def _advance(self, claims: list[Taken]) -> set[str]:
        """The next step of every claim; the keys of those that are settled."""
        attempts = {claim.key: files.read_attempt(claim) for claim in claims}
        runs = self._runs([_run_key(claim, attempts[claim.key]) for claim in claims])
        ended: set[str] = set()
        for claim in claims:
            attempt = attempts[claim.key]
            run = runs.get(_run_key(claim, attempt))
            if not claim.files:
                files.release(claim)
                ended.add(claim.key)
                continue
            step = next_step(run, attempt, time.time())
            if step is Step.SUBMIT:
                self._submit(claim, attempt)
            elif step is not Step.WAIT and run is not None and self._settle(claim, attempt, run, step):
                ended.add(claim.key)
        return ended

    def _runs(self, keys: list[str]) -> dict[str, Run]:
        if not keys:
            return {}
        found = self.api.post("/flow_runs/filter", {"flow_runs": {"idempotency_key": {"any_": keys}}, "limit": 200})
        return {one["idempotency_key"]: run_of(self.api, one) for one in found}

    def _submit(self, claim: Taken, attempt: Attempt) -> None:
        many = len(claim.files) > 1
        parameters: dict[str, Any] = {"dataset": claim.dataset}
        parameters |= {"claim": claim.key} if many else {"source": str(claim.files[0]), "wait": True}
        wanted = {
            "parameters": parameters,
            "idempotency_key": _run_key(claim, attempt),
            "tags": ["inbox", claim.dataset],
        }
        try:
            self.api.post(f"/deployments/{self._deployment(MANY if many else ONE)}/create_flow_run", wanted)
        except PrefectApiError as error:
            self._deployments.clear()
            if error.status not in (409, 422):  # bad parameters, which no later look betters
                raise
            refused = Run("", "FAILED", "Refused", f"Prefect refused to begin the import: {error}")
            self._settle(claim, attempt, refused, Step.SETTLE)
            return
        for path in claim.files:  # what was said of it when it was in the inbox before
            files.forget(self.settings.home, claim.dataset, path.name)
        self.log.info("%s: %s taken, attempt %s", claim.dataset, _named(claim.files), attempt.number)

    def _deployment(self, name: str) -> str:
        if name not in self._deployments:
            self._deployments[name] = self.api.get(f"/deployments/name/{name}")["id"]
        return self._deployments[name]

    # What has ended ----------------------------------------------------------------------------------------------

    def _settle(self, claim: Taken, attempt: Attempt, run: Run, step: Step) -> bool:
        """Put the files of an ended run where they belong; True when none is left."""
        try:
            left = self._settle_files(claim, claim.files, run, retry=step is Step.AGAIN)
            if not left:
                files.release(claim)
                return True
            following = after(attempt, run, len(left), time.time())
            if following is not None:
                self.log.warning("%s: run %s ended as %s; it will be tried again", claim.dataset, run.id, run.name)
                files.write_attempt(claim, following)
                return False
            # Enough. The oldest file was under way whenever the process died; the others get their turn without it.
            self._settle_files(claim, [left[0].path], run, retry=False)
            if len(left) > 1:
                files.write_attempt(claim, Attempt(attempt.number + 1, len(left) - 1))
                return False
            files.release(claim)
        except SluiceError as error:  # the ledger does not answer: nothing can be said of the file until it does
            self._once(f"ledger {error}", "the ledger does not answer: %s", error)
            return False
        except OSError as error:  # a full disk, a folder that may not be written to: somebody has to see to it
            self._once(f"move {error}", "files of %s cannot be moved: %s", claim.dataset, error)
            return False
        return True

    def _settle_files(self, claim: Taken, paths: Iterable[Path], run: Run, *, retry: bool) -> list[TakenFile]:
        taken = [TakenFile(claim, path, self.settings.home) for path in paths]
        return settle_ended(self.settings, taken, run, retry=retry, tell=self.tell, known_of=_known)

    def tell(self, event: str, dataset: str, name: str, **payload: Any) -> None:
        """As `tasks.inbox.tell`."""
        tell(self.api, self.log, event, dataset, name, payload)

    def _refuse(self, dataset: str, name: str, why: str) -> None:
        """Report a file that stays where it is."""
        if self._new(f"{dataset}/{name}"):
            text = f"{name}\n\n{why}\nIt stays in the inbox, and is taken as soon as that is mended.\n"
            files.notice(self.settings.home / "failed" / dataset / fitted("", name, WHY), text)
            self.tell("ignored", dataset, name, why=why)

    def _tell_strangers(self, datasets: list[str]) -> None:
        inbox = self.settings.inbox
        inbox.mkdir(parents=True, exist_ok=True)
        with os.scandir(inbox) as entries:
            found = [(one.name, one.is_dir()) for one in entries if not one.name.startswith(".")]
        for name in strangers((name for name, is_folder in found if is_folder), datasets):
            if name not in self._told and has_files(inbox / name):
                self._told.add(name)
                why = f"There is no dataset {name!r}. Datasets: {', '.join(datasets) or 'none'}."
                files.notice(inbox / fitted("", name, NOT_A_DATASET), f"{why}\nNothing in this folder is imported.\n")
                self.tell("ignored", name, "", why=why)
        for name, is_folder in found:
            if not is_folder and not name.endswith(NOT_A_DATASET):
                self._refuse(".", name, "It lies beside the datasets' folders; move it into one of them.")

    def _new(self, what: str) -> bool:
        new = what not in self._told
        self._told.add(what)
        return new

    def _once(self, what: str, message: str, *values: object) -> None:
        if self._new(what):
            self.log.error(message, *values)


#: Ends the name of the text that says that a folder of the inbox is no dataset's.
NOT_A_DATASET = ".is-no-dataset.txt"


def has_files(folder: Path) -> bool:
    """Whether anything lies in a folder; one that cannot be read counts as one."""
    try:
        return any(folder.iterdir())
    except OSError:
        return True


def _run_key(claim: Taken, attempt: Attempt) -> str:
    return f"inbox:{claim.dataset}:{claim.key}:{attempt.number}"


def _named(paths: tuple[Path, ...]) -> str:
    first = ascii(paths[0].name)[1:-1]
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
