"""Connections, what the server's refusals become, and the life of the embedded server."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sluice.database import connect, conninfo_of, database_url, embedded_url, stop_embedded, translate, translated
from sluice.errors import DatabaseError, DatabaseUnavailable
from sluice.settings import Settings

Connection = psycopg.Connection[Any]


def at(url: str, **changes: str) -> str:
    return make_conninfo(**{**conninfo_of(url), **changes})


# --- connections -----------------------------------------------------------------------------------------------


def test_a_session_reads_and_writes_values_in_one_way(database_url: str) -> None:
    odd = at(database_url, options="-c DateStyle=German -c TimeZone=Asia/Tokyo -c extra_float_digits=-5")
    with connect(odd) as connection:
        shown = connection.execute(
            "SELECT '2026-01-02 00:00+00'::timestamptz::text, 0.1::float8::text, current_setting('client_encoding'),"
            " application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert shown == ("2026-01-02 00:00:00+00", "0.1", "UTF8", "sluice")


def test_a_transaction_is_what_stands_in_a_block(connection: Connection, database_url: str) -> None:
    connection.execute("CREATE TABLE t (n int)")
    connection.execute("SELECT * FROM t")
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO t VALUES (2)")
    with connect(database_url) as other:
        assert other.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_a_database_that_cannot_hold_every_character_is_refused(connection: Connection, server_url: str) -> None:
    connection.execute("DROP DATABASE IF EXISTS sluice_test_latin")
    connection.execute("CREATE DATABASE sluice_test_latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    with pytest.raises(DatabaseError, match="stores text as LATIN1"):
        connect(at(server_url, dbname="sluice_test_latin"))
    connection.execute("DROP DATABASE sluice_test_latin")


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"host": "127.0.0.1", "port": "1"}, DatabaseUnavailable, "at 127.0.0.1, .* Connection refused"),
        ({"host": "/nowhere"}, DatabaseUnavailable, "No such file or directory"),
        ({"host": "no-such-host.invalid"}, DatabaseError, "There is no host .* no-such-host.invalid"),
        ({"dbname": "nonesuch"}, DatabaseError, 'database "nonesuch" does not exist. Create the database'),
        ({"user": "nobody_here"}, DatabaseError, 'role "nobody_here" does not exist. Check user'),
    ],
)
def test_connections_that_are_refused(
    database_url: str, changes: dict[str, str], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        connect(at(database_url, **changes))


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable, "administrator ended the session"),
        ("SET statement_timeout = 10; SELECT pg_sleep(5)", DatabaseError, "statement_timeout"),
        ("SET transaction_read_only = on; CREATE TABLE t ()", DatabaseError, "point SLUICE_DATABASE_URL"),
        ("SELECT * FROM nonesuch", DatabaseError, r"42P01.*nonesuch"),
        ("SELECT lo_import('/nowhere/nothing')", DatabaseError, "58P01.*its own files"),
    ],
)
def test_statements_that_are_refused(connection: Connection, statement: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said), translated():
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("53100", DatabaseError),
        ("53200", DatabaseError),
        ("42501", DatabaseError),
        ("53300", DatabaseUnavailable),
        ("57P03", DatabaseUnavailable),
        ("57P02", DatabaseUnavailable),
        ("40001", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
    ],
)
def test_refusals_the_server_is_made_to_utter(connection: Connection, sqlstate: str, kind: type[Exception]) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{sqlstate}', DETAIL = 'row (secret)'; END $$"
    with pytest.raises(kind, match="said") as refused, translated():
        connection.execute(raising.encode())
    assert "secret" not in str(refused.value)


def test_a_connection_that_went_away_may_be_tried_again(connection: Connection, database_url: str) -> None:
    with connect(database_url) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    for _ in range(2):  # the server's last words, then a connection that is closed
        with pytest.raises(psycopg.Error) as lost:
            connection.execute("SELECT 1")
        assert isinstance(translate(lost.value), DatabaseUnavailable)


def test_a_deadlock_may_be_tried_again(database_url: str) -> None:
    with connect(database_url) as first, connect(database_url) as second:
        first.execute("CREATE TABLE t (n int PRIMARY KEY, x int); INSERT INTO t VALUES (1, 0), (2, 0)")
        for connection in (first, second):
            connection.execute("SET deadlock_timeout = '50ms'")
        both, refused = threading.Barrier(2), list[Exception]()

        def cross(connection: Connection, here: int, there: int) -> None:
            try:
                with translated(), connection.transaction():
                    connection.execute("UPDATE t SET x = 1 WHERE n = %s", [here])
                    both.wait(10)
                    connection.execute("UPDATE t SET x = 1 WHERE n = %s", [there])
            except DatabaseUnavailable as error:
                refused.append(error)

        threads = [threading.Thread(target=cross, args=words) for words in ((first, 1, 2), (second, 2, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert ["a deadlock with another transaction" in str(error) for error in refused] == [True]


# --- the embedded server ---------------------------------------------------------------------------------------


@pytest.fixture
def home(server_folder: Path) -> Iterator[Path]:
    """A home of the test's own; its path holds a blank."""
    home = server_folder / "a home"
    yield home
    stop_embedded(home)


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split()[0])


def kill_server(home: Path) -> None:
    """kill -9, and wait until the postmaster's children have noticed."""
    pid = postmaster(home)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)


def remember(home: Path) -> None:
    with connect(embedded_url(home)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)")


def remembered(home: Path) -> int:
    with connect(embedded_url(home)) as connection:
        return int(connection.execute("SELECT count(*) FROM kept").fetchall()[0][0])


def test_it_is_a_real_database(home: Path) -> None:
    settings = Settings(home, home, home, None)
    with connect(database_url(settings)) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "max_wal_size")
        buffers = connection.execute("SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers'")
        assert 2**26 <= buffers.fetchall()[0][0] <= min(2**30, psutil.virtual_memory().total // 4)
        shown = [connection.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in names]
    assert shown == ["on", "on", "on", "", "4GB"]
    assert database_url(Settings(home, home, home, "postgresql://elsewhere/db")) == "postgresql://elsewhere/db"


def _say_url(home: Path, answers: Any) -> None:
    answers.put((embedded_url(home), postmaster(home)))
    signal.pause()


def test_processes_that_start_it_at_once_share_it_and_it_outlives_them_all(home: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    processes = [spawn.Process(target=_say_url, args=(home, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    said = {answers.get(timeout=60) for _ in processes}
    assert len(said) == 1
    for process in processes:
        process.kill()
        process.join()
    assert said == {(embedded_url(home), postmaster(home))}
    remember(home)


def test_it_does_not_hold_the_output_of_the_process_that_started_it(home: Path) -> None:
    code = f"from pathlib import Path; from sluice.database import *; print(embedded_url(Path({str(home)!r})))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.strip() == embedded_url(home), "and the pipe was closed, or we would not be here"
    assert said.stderr == ""


def test_it_keeps_its_data_over_a_stop_and_over_a_kill(home: Path) -> None:
    remember(home)
    assert stop_embedded(home)
    assert not stop_embedded(home)
    assert remembered(home) == 1
    kill_server(home)
    assert remembered(home) == 1


def test_a_pid_file_that_names_another_process_does_not_stop_it(home: Path) -> None:
    remember(home)
    pid_file = home / "postgres" / "postmaster.pid"
    words = pid_file.read_text().split("\n")
    stop_embedded(home)
    pid_file.write_text("\n".join([str(os.getpid()), *words[1:]]))
    socket_lock = Path(words[4]) / f".s.PGSQL.{words[3]}.lock"
    socket_lock.write_text("\n".join([str(os.getpid()), *words[1:]]))
    assert remembered(home) == 1


def test_a_set_up_that_was_killed_half_way_is_begun_anew(home: Path) -> None:
    half = home / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    (home / "postgres").mkdir()
    remember(home)
    assert remembered(home) == 1


def test_a_path_too_long_for_a_socket_is_fine(home: Path) -> None:
    deep = home / ("x" * 60) / ("y" * 60)
    try:
        remember(deep)
        assert remembered(deep) == 1
        elsewhere = Path((deep / "postgres" / "postmaster.pid").read_text().split("\n")[4])
        assert not elsewhere.is_relative_to(home)
    finally:
        stop_embedded(deep)
    elsewhere.rmdir()


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="SLUICE_HOME"):
        embedded_url(tmp_path / "file")


def test_data_of_another_version_is_said(home: Path) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(DatabaseError, match="another version of PostgreSQL"):
        embedded_url(home)


def test_a_wrong_password_is_said_and_not_shown(home: Path, make_role: Callable[[], str]) -> None:
    url = embedded_url(home)
    access = home / "postgres" / "pg_hba.conf"
    with connect(url) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        access.write_text("local all guarded scram-sha-256\n" + access.read_text())
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
    with pytest.raises(DatabaseError, match=r"password authentication failed.*Check user and password") as refused:
        connect(at(url, user="guarded", password="wrong_secret"))
    assert "wrong_secret" not in str(refused.value)
    with pytest.raises(DatabaseError, match="no password supplied"):
        connect(at(url, user="guarded"))
    connect(at(url, user="guarded", password="right")).close()
