"""Who listens to the progress of the import that runs in this context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sluice.importer import OnProgress, Progress

_LISTENERS: ContextVar[tuple[OnProgress, ...]] = ContextVar("sluice_progress_listeners", default=())


def current_listener() -> OnProgress | None:
    """All listeners that were set around this call as one, if any."""
    listeners = _LISTENERS.get()
    return _all_of(listeners) if listeners else None


def _all_of(listeners: tuple[OnProgress, ...]) -> OnProgress:
    def tell(progress: Progress) -> None:
        for listener in listeners:
            listener(progress)

    return tell


@contextmanager
def listening(*listeners: OnProgress) -> Iterator[None]:
    """Pass the progress of an import that runs inside the block to `listeners` too, in this order."""
    token = _LISTENERS.set((*_LISTENERS.get(), *listeners))
    try:
        yield
    finally:
        _LISTENERS.reset(token)
