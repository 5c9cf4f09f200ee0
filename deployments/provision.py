"""Everything a Prefect server needs to run Sluice: `python -m deployments.provision`. Safe to run again.

Work pool, the shared rate limit, automations, the ledger in the database, and every deployment of prefect.yaml, after
a strict check of that file. Server and database are those of the environment.
"""

from __future__ import annotations

import os
import sys

import click

from deployments.environment import PROJECT, enter
from deployments.runs import ensure_pool
from sluice.errors import SluiceError
from sluice.prefect_api import PrefectApi, PrefectApiError
from sluice.settings import Settings

#: The global concurrency limit that all imports share when they are to be slowed: one slot a row, given back over
#: time. Switched off until somebody sets it, as by SLUICE_ROWS_PER_SECOND.
RATE_LIMIT = "sluice-rows"
_DEFAULT_RATE = 100_000


def main() -> int:
    settings = enter()  # `prefect deploy` reads prefect.yaml in the working folder
    from deployments.check import problems

    if found := problems(PROJECT / "prefect.yaml"):
        click.echo("\n".join(found), err=True)
        return 1
    try:
        api = PrefectApi.from_environment(settings.home)
        ensure_pool(api)
        ensure_rate_limit(api, os.environ.get("SLUICE_ROWS_PER_SECOND", ""))
        ensure_database(settings)
        from deployments.automations import apply

        apply(os.environ)
    except (PrefectApiError, SluiceError, ValueError) as error:
        click.echo(str(error), err=True)
        return 1
    return deploy()


def ensure_rate_limit(api: PrefectApi, told: str) -> None:
    """Create the shared limit, switched off, unless it is there; set and switch it on where `told` is a number.

    Raises:
        ValueError: `told` is not a positive number.
    """
    if told and (not told.isdigit() or int(told) == 0):
        raise ValueError("SLUICE_ROWS_PER_SECOND must be a whole number above 0.")
    rate = int(told or _DEFAULT_RATE)
    wanted = {"limit": rate, "slot_decay_per_second": rate, "active": bool(told)}
    try:
        api.get(f"/v2/concurrency_limits/{RATE_LIMIT}")
    except PrefectApiError as error:
        if error.status != 404:
            raise
        api.post("/v2/concurrency_limits/", {"name": RATE_LIMIT, **wanted})
        return
    if told:
        api.patch(f"/v2/concurrency_limits/{RATE_LIMIT}", wanted)


def ensure_database(settings: Settings) -> None:
    """Connect to the database and bring the ledger up to date.

    Raises:
        SluiceError: it cannot be reached, or the role may not create the schema.
    """
    from sluice.database import connect, database_url
    from sluice.migrate import ensure_ledger

    with connect(database_url(settings)) as connection:
        ensure_ledger(connection)


def deploy() -> int:
    """`prefect deploy --all`, in this process, where Prefect and the flows are imported already; its exit status."""
    from prefect.cli import app

    sys.argv[1:] = ["--no-prompt", "deploy", "--all"]
    try:
        app()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
