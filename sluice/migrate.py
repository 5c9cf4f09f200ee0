"""Bring the ledger's schema up to date: cheap when it is, safe when many try at once."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from sluice.database import engine, translate
from sluice.errors import DatabaseError
from sluice.migrations import HEAD

#: Class of all of Sluice's two-integer advisory locks ("Sluc" in ASCII), and the object for migrations.
LOCK_CLASS = 0x536C7563
LOCK = (LOCK_CLASS, 0)

#: Alembic keeps its context in module globals: two upgrades in two threads of one process would mix theirs.
_ONE_AT_A_TIME = Lock()

_GRANTS = "docs/ledger.md lists the rights a role needs; or let the database's owner run `sluice status` once."


def ensure_ledger(connection: psycopg.Connection[Any]) -> None:
    """Create or upgrade the ledger, in a transaction of its own on a connection of its own. One query when there
    is nothing to do, and then no more rights are needed than to read `sluice.alembic_version`.

    Raises:
        DatabaseError: rights are missing, or a newer Sluice has written the ledger.
        DatabaseUnavailable: the connection was lost.
    """
    revision = _revision(connection)
    if revision == HEAD:
        return
    if revision is not None and not _known(revision):
        raise DatabaseError(
            f"The ledger of this database was made by a newer Sluice (revision {revision}, this one knows {HEAD}).",
            hint="Update Sluice.",
        )
    info = connection.info
    upgrade(make_conninfo(**info.get_parameters(), password=info.password or None))


def upgrade(url: str) -> None:
    """Run every migration that is missing, in one transaction."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    try:
        with _ONE_AT_A_TIME, engine(url).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise _no_rights(error.orig) from error
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from error
        raise


def _revision(connection: psycopg.Connection[Any]) -> str | None:
    try:
        with connection.transaction():
            row = connection.execute("SELECT version_num FROM sluice.alembic_version").fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None
    except psycopg.errors.InsufficientPrivilege as error:
        raise _no_rights(error) from error
    except psycopg.Error as error:
        raise translate(error) from error
    return row[0] if row is not None else None


def _known(revision: str) -> bool:
    return any((Path(__file__).parent / "migrations" / "versions").glob(f"v{revision}_*.py"))


def _no_rights(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"This role may not use or create the ledger: {error.diag.message_primary}.", hint=_GRANTS)
