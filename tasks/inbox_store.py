"""Objects dropped into a store, on a Prefect server: begin runs, and put the objects of ended ones where they belong.

Which runs there are is known to the Prefect server alone, and what is imported to the ledger, so that watchers on any
number of hosts see the same. A dataset's objects have one run at a time. Its idempotency key names the oldest of them
and the attempt, its parameters name them all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from sluice.dataset import dataset_names
from sluice.errors import SluiceError
from sluice.history import Connection
from sluice.inbox import TRIES, Run, free_datasets, is_ended, is_interrupted, next_batch, pause_after
from sluice.inbox_ledger import Known, by_source
from sluice.inbox_remote import Object, RemoteInbox
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings
from tasks.inbox import MANY, ONE, RUNS_AT_ONCE, Log, import_many, run_of, tell
from tasks.inbox_settle import settle_ended

#: On every run of objects, beside `inbox` and the dataset's name.
_TAG = "store"

#: A run's idempotency key: the identity of its oldest object, and which attempt at it this is.
_KEY = re.compile(r"store:.*:([0-9a-f]+):(\d+)", re.DOTALL)

#: Runs of a dataset that are looked at, the newest: more than there are attempts at one object.
_RUNS = 2 * TRIES


@dataclass(frozen=True, slots=True)
class Batch:
    """One run of a dataset's objects.

    Attributes:
        keys: of its objects (`Object.key`), the oldest first.
        number: which attempt at the oldest it is.
        ended: seconds since the epoch, 0 while it runs.
    """

    run: Run
    keys: tuple[str, ...]
    number: int
    ended: float


@dataclass(slots=True)
class StoreWatch:
    """One watcher: looks at the store again and again."""

    settings: Settings
    api: PrefectApi
    log: Log
    inbox: RemoteInbox

    def scan(self) -> int:
        """One look, and every step it allows. Returns how many objects are waiting or under way.

        Raises:
            PrefectApiError: the server did not answer; nothing is lost, look again.
            SluiceError: the store or the ledger did not, for some dataset; the others were seen to.
        """
        busy: dict[str, int] = {}
        waiting: dict[str, list[Object]] = {}
        batches: dict[str, list[Batch]] = {}
        problem: SluiceError | None = None
        count = 0
        for name in dataset_names(self.settings.datasets):
            try:
                if not self.inbox.look(name):
                    continue
                # Runs first: what a run has moved that ended before we asked is not in the second look.
                batches[name] = self._batches(name)
                found = self.inbox.look(name)
                count += len(found)
                if any(not is_ended(batch.run) for batch in batches[name]):
                    busy[name] = 1
                else:
                    waiting[name] = self._settle(found, batches[name])
            except SluiceError as error:
                problem = error
        for name in free_datasets({name: len(found) for name, found in waiting.items()}, busy, RUNS_AT_ONCE):
            self._begin(name, waiting[name], batches[name])
        if problem is not None:
            raise problem
        return count

    def _batches(self, dataset: str) -> list[Batch]:
        """The newest runs of a dataset's objects, the newest first."""
        wanted = {"tags": {"all_": ["inbox", _TAG, dataset]}}
        query = {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_DESC", "limit": _RUNS}
        found = [self._batch(said) for said in self.api.post("/flow_runs/filter", query)]
        return [batch for batch in found if batch is not None]

    def _batch(self, said: Mapping[str, Any]) -> Batch | None:
        """None for a run that somebody made by hand, as a copy of one of ours."""
        key = _KEY.fullmatch(said["idempotency_key"] or "")
        if key is None:
            return None
        identity, number = key.groups()
        parameters = said["parameters"]
        keys = parameters.get("objects") or [f"{identity} {parameters['source'].rsplit('/', 1)[-1]}"]
        ended = datetime.fromisoformat(said["end_time"]).timestamp() if said.get("end_time") else 0.0
        return Batch(run_of(self.api, said), tuple(keys), int(number), ended)

    def _settle(self, found: Sequence[Object], batches: Sequence[Batch]) -> list[Object]:
        """Move away what ended runs have seen to; what is left to be imported, the oldest first."""
        left: list[Object] = []
        of_run: dict[str, list[Object]] = {}
        runs = {batch.run.id: batch.run for batch in batches}
        for one in found:
            run = next((batch.run for batch in batches if one.key in batch.keys), None)
            (of_run.setdefault(run.id, []) if run is not None else left).append(one)
        for run_id, objects in of_run.items():
            left += self._settle_run(runs[run_id], objects, retry=is_interrupted(runs[run_id]))
        return sorted(left, key=lambda one: one.age)

    def _settle_run(self, run: Run, objects: Iterable[Object], *, retry: bool) -> list[Object]:
        def known_of(connection: Connection, objects: Iterable[Object]) -> dict[str, Known]:
            # Of this run only: the same address may have been another file's before. And an address that the ledger
            # shortens (a name with `?` or `#`) may be another object's: such a one is never taken for imported here.
            return by_source(connection, [one.source for one in objects if one.is_shown], run.id)

        return settle_ended(self.settings, objects, run, retry=retry, tell=self._tell, known_of=known_of)

    def _begin(self, dataset: str, waiting: list[Object], batches: Sequence[Batch]) -> None:
        """Begin the next run, unless one that was interrupted is to be given time."""
        first = waiting[0]
        mine = [batch for batch in batches if batch.keys[0] == first.key]
        fruitless = list(takewhile(lambda batch: batch in mine and is_interrupted(batch.run), batches))
        if fruitless:
            last = fruitless[0]
            if len(fruitless) >= TRIES and last.run.state == "CRASHED":  # its fault: the others get their turn
                self._settle_run(last.run, [first], retry=False)
                return
            if not last.run.stopped_by_service and time.time() < last.ended + pause_after(len(fruitless)):
                return
        batch = next_batch(waiting)
        if len(batch) > 1 and not import_many(self.api):
            batch = batch[:1]
        self._submit(dataset, batch, 1 + max((one.number for one in mine), default=0))

    def _submit(self, dataset: str, batch: Sequence[Object], number: int) -> None:
        first, many = batch[0], len(batch) > 1
        parameters: dict[str, Any] = {"dataset": dataset}
        parameters |= {"objects": [one.key for one in batch]} if many else {"source": first.source, "wait": True}
        wanted = {
            "parameters": parameters,
            "idempotency_key": f"store:{dataset}:{first.identity}:{number}",
            "tags": ["inbox", _TAG, dataset],
        }
        try:
            deployment = self.api.get(f"/deployments/name/{MANY if many else ONE}")["id"]
            self.api.post(f"/deployments/{deployment}/create_flow_run", wanted)
        except PrefectApiError as error:
            if error.status not in (409, 422):  # bad parameters, which no later look betters
                raise
            refused = Run("", "FAILED", "Refused", f"Prefect refused to begin the import: {error}")
            self._settle_run(refused, [first], retry=False)
            return
        self.inbox.forget(dataset, [one.name for one in batch])
        more = f" and {len(batch) - 1} more" if many else ""
        self.log.info("%s: %s%s begun, attempt %s", dataset, ascii(first.name)[1:-1], more, number)

    def _tell(self, event: str, dataset: str, name: str, **payload: Any) -> None:
        tell(self.api, self.log, event, dataset, name, payload)
