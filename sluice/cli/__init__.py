"""The command `sluice`. Progress goes to stderr, stdout holds the result only. Exit statuses: 0 every record loaded
(or skipped as the dataset says), 3 completed with rejects, 1 failed, 2 wrong usage."""

from __future__ import annotations

import gc

from sluice.cli.importing import import_command, resume
from sluice.cli.inspecting import imports, rejects, show, status
from sluice.cli.root import root

for command in (import_command, imports, rejects, resume, show, status):
    root.add_command(command)


def main() -> None:
    """The entry point."""
    try:
        root(prog_name="sluice")
    finally:
        gc.freeze()  # Python ends by looking for cycles in all there is: a fifth of what a small import takes in all
