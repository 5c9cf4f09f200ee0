"""One real server a session, one template database with the ledger in it, one clone of it a test (20 ms in memory).

`SLUICE_TEST_DATABASE_URL` names a server to use instead of the embedded one; its role must be able to create
databases and roles. Databases made here are named `sluice_test_...` and dropped at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from sluice.database import connect, conninfo_of, embedded_url, stop_embedded
from sluice.migrate import ensure_ledger
from tests.postgres.import_bench import Bench, make_bench

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the session's server, its maintenance database."""
    told = os.environ.get("SLUICE_TEST_DATABASE_URL")
    if told:
        yield told
        return
    # Not tmp_path_factory: its folders are readable by their owner only, and run by root the server is not root.
    home = Path(tempfile.mkdtemp(prefix="sluice-test-", dir=_memory()))
    try:
        url = embedded_url(home)
        with connect(url) as connection:
            # Only here: tests want the speed and lose nothing in a power failure.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        stop_embedded(home)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for the data of a server of the test's own, where a server that is not root may go."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-", dir=_memory()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _memory() -> str | None:
    """Linux's folder in memory, if there is room: cloning a database makes 300 files, 20 ms there, 200 on a disk."""
    folder = "/dev/shm"
    room = os.path.isdir(folder) and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2 << 30
    return folder if room else None


@pytest.fixture(scope="session")
def make_role(server_url: str) -> Iterator[Callable[[], str]]:
    """`make_role()` creates a role that may log in (password `secret`) and nothing else, and returns its name."""
    made: list[str] = []

    def make() -> str:
        name = f"sluice_test_{uuid4().hex[:12]}"
        with connect(server_url) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(name)))
        made.append(name)
        return name

    yield make
    with connect(server_url) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def as_role() -> Callable[[str, str], str]:
    """`as_role(url, role)`: the same database, as a role of `make_role`."""
    return lambda url, role: make_conninfo(**{**conninfo_of(url), "user": role, "password": "secret"})


@contextmanager
def new_database(server_url: str, template: str) -> Iterator[str]:
    """The URL of a new database, which is dropped at the end, whoever is still connected."""
    name = f"sluice_test_{uuid4().hex[:12]}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with connect(server_url) as connection:
        connection.execute(create)
    try:
        yield make_conninfo(**{**conninfo_of(server_url), "dbname": name})
    finally:
        with connect(server_url) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


# After make_role, here and below: at the end the databases, and with them all rights, go before the roles.
@pytest.fixture(scope="session")
def template(server_url: str, make_role: Callable[[], str]) -> Iterator[str]:
    """The name of the database every test's own is cloned from: an empty one with the ledger in it."""
    with new_database(server_url, "template0") as url:
        with connect(url) as connection:
            ensure_ledger(connection)
            name = connection.info.dbname
        yield name


@pytest.fixture
def empty_database_url(server_url: str, make_role: Callable[[], str]) -> Iterator[str]:
    """A new database without a ledger."""
    with new_database(server_url, "template0") as url:
        yield url


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A new database of the test's own, with the ledger in it."""
    with new_database(server_url, template) as url:
        yield url


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to the test's own database, in autocommit, as `sluice.database.connect` makes them."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    """A workplace for whole imports."""
    return make_bench(database_url, tmp_path)
