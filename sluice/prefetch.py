"""Work ahead in one thread: while the database takes a chunk, the next is being read and judged."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: How often a waiting producer looks whether it is still wanted, in seconds.
_POLL = 0.1


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Stream(Generic[Item]):
    def __init__(self, items: Iterable[Item], depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[object] = queue.Queue(depth)
        self._stop = threading.Event()
        self._end = object()
        self._thread = threading.Thread(target=self._produce, name="sluice-prefetch", daemon=True)
        self._thread.start()

    def _produce(self) -> None:
        last: object = self._end
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # handed to the consumer, whatever it is
            last = _Failure(error)
        self._put(last)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not self._end:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def prefetched(items: Iterable[Item], depth: int = 1) -> Iterator[Iterator[Item]]:
    """Iterate in another thread, at most `depth` items ahead. An exception there is raised here; leaving the
    block, however it is left, stops the thread after the item it is working on."""
    stream = _Stream(items, depth)
    try:
        yield iter(stream)
    finally:
        stream.close()
