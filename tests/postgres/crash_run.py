"""A child program for tests that kill it: the command line, with files cut into small chunks and taken for large ones.

python crash_run.py CHUNK_BYTES COMMAND...
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from sluice import first_pass
from sluice.cli.root import root
from tests.postgres.import_bench import cut_at


def main() -> None:
    import sluice.cli  # noqa: F401 - its import fills in the commands

    with cut_at(int(sys.argv[1])), patch.multiple(first_pass, LEAST_BYTES=0, SETTLED=0):
        root(sys.argv[2:], prog_name="sluice")


if __name__ == "__main__":
    main()
