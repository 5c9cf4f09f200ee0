"""The Prefect server, with our own kind of notification known to it: `python -m deployments.server`.

Automations send their notifications from the server's process, which can load a block only of a class it has seen.
SQLite gets less time to wait for its lock than Prefect gives it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from deployments.environment import enter

_PLAIN = ("postgresql://", "postgres://")

#: Milliseconds a statement waits for SQLite's lock before the server answers 503, which clients take for "once more".
#: Prefect's 60,000 are as long as its server can hang: a client that vanishes in the middle of a request leaves a
#: cursor, and the event loop that clears it away waits for its connection, which waits for the lock, whose holder waits
#: for the event loop. Transactions take some milliseconds, so this is still patient.
LOCK_MILLISECONDS = 3_000


def main() -> None:
    """Run `prefect server start` in this process, in the foreground. Address and database: Prefect's own variables."""
    enter()
    url = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    for plain in _PLAIN:  # what everybody else calls a PostgreSQL; Prefect wants its driver in the name
        if url.startswith(plain):
            os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = "postgresql+asyncpg://" + url.removeprefix(plain)

    from prefect.cli import app

    import deployments.email_block  # noqa: F401

    shorten_waits_for_sqlite()
    sys.argv[1:1] = ["server", "start"]
    app()


def shorten_waits_for_sqlite() -> None:
    """Change what Prefect sets up on each connection; it has no setting for it."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    set_up = AioSqliteConfiguration.setup_sqlite

    def set_up_impatient(self: Any, connection: Any, record: Any) -> None:
        set_up(self, connection, record)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")
        cursor.close()

    setattr(AioSqliteConfiguration, "setup_sqlite", set_up_impatient)  # noqa: B010  # mypy minds an assignment


if __name__ == "__main__":
    main()
