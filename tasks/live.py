"""Tell Prefect how an import goes, from a thread of its own: the load waits for nothing here and fails of nothing.

The run is renamed as it goes (of a run's page in Prefect's UI, name, state, graph and logs refresh by themselves,
artifacts do not), a progress artifact serves the API, and events serve automations. With the server away, the latest
news are kept and told when it is back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from sluice.importer import Progress
from sluice.markdown import bar
from tasks.events import import_progressed

#: Seconds between news: what people see as live, and far below 1 % of the server's time.
EVERY = 2.0

#: Seconds between tries at the end, and how long the end may take: for a run that is over, and for one that is being
#: cancelled (Prefect kills it after 30 s). After that the news are dropped. Prefect's SQLite can be locked for 60 s,
#: and Prefect itself waits as long with the run's last state.
_RETRY, PATIENCE, HURRY = 0.5, 75.0, 5.0

Message = Callable[[SyncPrefectClient], object]


class LiveRun:
    """`begin` when the import is claimed, `progress` after every chunk (some microseconds), `end` once."""

    def __init__(self, flow_run_id: UUID, name: str, tags: Iterable[str], dataset: str | None) -> None:
        self._flow_run_id, self._name = flow_run_id, name
        self._tags = sorted({*tags, dataset or ""} - {""})
        self._shown = (name, sorted(tags))
        self._about: dict[str, Any] = {}
        self._first: Progress | None = None
        self._latest: Progress | None = None
        self._sent: Progress | None = None
        self._artifact: UUID | None = None
        self._labels: dict[str, Any] = {}
        self._with_events = True
        self._begun = 0.0
        self._messages: deque[Message] = deque()
        self._ending, self._given_up = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def import_id(self) -> int | None:
        return self._first.import_id if self._first is not None else None

    def begin(self, first: Progress, about: dict[str, Any], *, with_events: bool = True) -> None:
        """The import has a number; `about` goes into the events."""
        self._with_events = with_events
        self._about, self._first, self._latest, self._begun = about, first, first, time.monotonic()
        self._labels = {"sluice.import_id": first.import_id}
        self._labels |= {f"sluice.{key}": about[key] for key in ("table", "dataset")}
        self._start()

    def progress(self, progress: Progress) -> None:
        """A chunk was committed."""
        self._latest = progress

    def end(self, artifacts: list[ArtifactCreate], patience: float = PATIENCE) -> None:
        """Tell the last news and store `artifacts`; returns when that is done, or after `patience` seconds."""
        for artifact in artifacts:
            artifact.flow_run_id = self._flow_run_id
            self._messages.append(partial(_create, artifact))
        if self._labels:
            self._messages.append(partial(_label, self._flow_run_id, self._labels))
        if self._thread is None and (self._messages or self._shown != (self._name, self._tags)):
            self._start()
        if self._thread is not None:
            self._ending.set()
            self._thread.join(patience)
            self._given_up.set()

    def _start(self) -> None:
        context = copy_context()  # Prefect's settings and run are in it
        self._thread = threading.Thread(target=context.run, args=(self._loop,), name="sluice-live", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):  # its own would hold up the latest news
            while not self._given_up.is_set():
                with suppress(Exception):  # the server is away, or busy: once more, a little later
                    self._talk()
                    return
                if self._ending.wait(EVERY):
                    self._given_up.wait(_RETRY)

    def _talk(self) -> None:
        """Send news until the end. Raises whatever the client does."""
        with get_client(sync_client=True, httpx_settings={"timeout": 10.0}) as client:
            while True:
                ending = self._ending.is_set()
                self._send(client)
                if ending:
                    return
                self._ending.wait(EVERY)

    def _send(self, client: SyncPrefectClient) -> None:
        while self._messages and not self._given_up.is_set():
            try:
                self._messages[0](client)
            except (ObjectNotFound, httpx.HTTPStatusError) as error:
                if not _is_refused(error):
                    raise
            self._messages.popleft()
        latest, ending = self._latest, self._ending.is_set()
        if latest is not None and latest is not self._sent:
            self._send_progress(client, latest)
            if self._with_events and self._sent is not None and not ending:
                import_progressed(latest, self._about)
            self._sent = latest
        name = f"{self._name} · {percent(latest)} %" if latest is not None and not ending else self._name
        if (name, self._tags) != self._shown:
            client.update_flow_run(self._flow_run_id, name=name, tags=self._tags)
            self._shown = (name, self._tags)

    def _send_progress(self, client: SyncPrefectClient, latest: Progress) -> None:
        done, text = share(latest) * 100, self._text(latest)
        if self._artifact is None:
            key = f"import-{latest.import_id}-progress"
            created = client.create_artifact(
                ArtifactCreate(
                    type="progress", key=key, data=round(done, 1), description=text, flow_run_id=self._flow_run_id
                )
            )
            self._artifact = created.id
        else:
            client.update_artifact(self._artifact, ArtifactUpdate(data=round(done, 1), description=text))

    def _text(self, latest: Progress) -> str:
        """`██░░` **42 %** · 1,260,000 records · 12 rejected · 35,210 a second · 50 s left"""
        assert self._first is not None
        seconds = time.monotonic() - self._begun
        records = latest.counts.records - self._first.counts.records
        size = latest.bytes_done - self._first.bytes_done
        parts = [
            f"{bar(share(latest), 10)} **{percent(latest)} %**",
            f"{latest.counts.records:,} records",
            f"{latest.counts.rejected:,} rejected",
        ]
        if records and seconds > 0:
            parts.append(f"{records / seconds:,.0f} a second")
        if size and latest.bytes_done < latest.bytes_total:
            parts.append(f"{_duration(seconds * (latest.bytes_total - latest.bytes_done) / size)} left")
        return " · ".join(parts)


def _create(artifact: ArtifactCreate, client: SyncPrefectClient) -> None:
    client.create_artifact(artifact)


def _label(flow_run_id: UUID, labels: dict[str, Any], client: SyncPrefectClient) -> None:
    client.update_flow_run_labels(flow_run_id, labels)


def _is_refused(error: Exception) -> bool:
    """Whether the server will never take it; a server that is busy answers 408, 429 or 5xx."""
    if isinstance(error, httpx.HTTPStatusError):
        return 400 <= error.response.status_code < 500 and error.response.status_code not in (408, 429)
    return True


def share(progress: Progress) -> float:
    """How much of the text is committed, 0 to 1."""
    return progress.bytes_done / progress.bytes_total if progress.bytes_total else 1.0


def percent(progress: Progress) -> int:
    """Whole percents; 100 only when all is."""
    return int(share(progress) * 100)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
