"""Who listens to the progress of the import that runs in this context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sluice.importer import OnProgress

_LISTENER: ContextVar[OnProgress | None] = ContextVar("sluice_progress_listener", default=None)


def current_listener() -> OnProgress | None:
    """The listener that was set around this call, if any."""
    return _LISTENER.get()


@contextmanager
def listening(listener: OnProgress) -> Iterator[None]:
    """Pass the progress of an import that runs inside the block to `listener`."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
