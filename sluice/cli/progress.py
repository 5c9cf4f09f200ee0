"""Progress on stderr: a bar on a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sluice.cli.root import echo_stderr

if TYPE_CHECKING:
    from sluice.importer import Progress as ImportProgress

#: Seconds between lines where there is no terminal: often enough to see life, rare enough for a log.
LINE_INTERVAL = 10.0


@contextmanager
def shown_progress(title: str) -> Iterator[Callable[[ImportProgress], None]]:
    """A function to call after every chunk."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    # Not at the top: most imports nobody watches, and it takes a while.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, text="reading")
        yield lambda state: bar.update(
            task, total=state.bytes_total, completed=state.bytes_done, text=_text(state), refresh=True
        )


def _lines(title: str) -> Callable[[ImportProgress], None]:
    last = time.monotonic()

    def line(state: ImportProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_INTERVAL:
            last = time.monotonic()
            share = state.bytes_done / state.bytes_total if state.bytes_total else 1.0
            echo_stderr(f"{title}: {share:.0%}, {_text(state)}")

    return line


def _text(state: ImportProgress) -> str:
    return f"{state.counts.records:,} records, {state.counts.rejected:,} rejected"
