"""What every command shares: the group, errors in one paragraph, exit statuses, JSON, the ledger's connection."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import click

from sluice.errors import SluiceError

P = ParamSpec("P")


@click.group("sluice", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sluice")
def root() -> None:
    """CSV imports into PostgreSQL: every record of every file ends in exactly one place, once."""
    from sluice.without_pandas import keep_pandas_out

    keep_pandas_out()


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """End with the error's message on stderr and its exit status, instead of a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SluiceError as error:
            echo_error(error)
            sys.exit(error.exit_status)
        except OSError as error:
            if error.filename is None:  # a closed pipe, for example: click knows what to do
                raise
            echo_error(SluiceError(f"{error.filename}: {error.strerror}."))
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("sluice: interrupted.", err=True)
            sys.exit(1)

    return wrapped


def echo_error(error: SluiceError) -> None:
    """The message on stderr."""
    echo_stderr(f"sluice: {error}")


def echo_stderr(text: str) -> None:
    """The text on stderr; what of it may come from a file cannot command the terminal."""
    click.echo("".join(char if char.isprintable() or char == "\n" else "�" for char in text), err=True)


def echo_json(value: Any) -> None:
    """Exactly one JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


@contextmanager
def ledger_connection() -> Iterator[Any]:
    """A connection to the database of the settings, the ledger in place."""
    from sluice.database import connect, database_url
    from sluice.migrate import ensure_ledger
    from sluice.settings import Settings

    connection = connect(database_url(Settings.from_environment()))
    try:
        ensure_ledger(connection)
        yield connection
    finally:
        connection.close()
