"""The Prefect server, with our own kind of notification known to it: `python -m deployments.server`.

Automations send their notifications from the server's process, which can load a block only of a class it has seen.
"""

from __future__ import annotations

import os
import sys

from deployments.environment import enter

_PLAIN = ("postgresql://", "postgres://")


def main() -> None:
    """Run `prefect server start` in this process, in the foreground. Address and database: Prefect's own variables."""
    enter()
    url = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    for plain in _PLAIN:  # what everybody else calls a PostgreSQL; Prefect wants its driver in the name
        if url.startswith(plain):
            os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = "postgresql+asyncpg://" + url.removeprefix(plain)

    from prefect.cli import app

    import deployments.email_block  # noqa: F401

    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
