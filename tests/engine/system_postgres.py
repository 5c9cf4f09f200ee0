"""A PostgreSQL of the system, as operators have it: with contrib's extensions, over TCP, with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from tests.engine.service import free_port

_DEBIAN = Path("/usr/lib/postgresql")


class Missing(Exception):
    """This system has none; the message says what is missing."""


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest version."""
    found = shutil.which("initdb")
    debian = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return Path(found).parent if found else debian[-1].parent if debian else None


@contextmanager
def system_postgres() -> Iterator[str]:
    """Start one in a folder of its own; the URL of an empty database `prefect` with pg_trgm in it.

    Raises:
        Missing: the system has none.
    """
    programs = _programs()
    if programs is None:
        raise Missing("this system has no PostgreSQL server (Debian: apt-get install postgresql)")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-pg-"))
    try:
        folder.chmod(0o755)
        if user is not None:
            shutil.chown(folder, user)
        (folder / "password").write_text("secret")
        os.chmod(folder / "password", 0o644)

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), *arguments]
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

        data, port = str(folder / "data"), free_port()
        run("initdb", "-D", data, "-U", "owner", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "-N")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield _with_database(f"postgresql://owner:secret@127.0.0.1:{port}/")
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Whom to run it as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def _with_database(server: str) -> str:
    with closing(psycopg.connect(f"{server}postgres", autocommit=True)) as connection:
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchone():
            raise Missing("the system's PostgreSQL has no pg_trgm (Debian: apt-get install postgresql-contrib)")
        connection.execute("CREATE DATABASE prefect")
    with closing(psycopg.connect(f"{server}prefect", autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    return f"{server}prefect"
