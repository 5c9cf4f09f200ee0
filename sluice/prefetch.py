"""Work ahead in one thread: while the database takes a chunk, the next is being read and judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def prefetched(items: Iterable[Item], name: str) -> Iterator[Iterator[Item]]:
    """Iterate in another thread, one item ahead: the next is made while one is used, and no more are held than these
    two. An exception there is raised here; leaving the block, however it is left, waits for the item that is in the
    making.

    Args:
        name: the thread's.
    """
    with ThreadPoolExecutor(1, name) as pool:
        yield _ahead(pool, iter(items))


def _ahead(pool: ThreadPoolExecutor, items: Iterator[Item]) -> Iterator[Item]:
    end = object()
    coming = pool.submit(next, items, end)
    while (item := coming.result()) is not end:
        coming = pool.submit(next, items, end)
        yield item  # type: ignore[misc]
