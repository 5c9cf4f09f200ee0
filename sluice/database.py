"""Connections, and what a driver's error means. The only module that reads a database URL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import psycopg
from psycopg import conninfo, sql

from sluice.embedded import embedded_url, stop_embedded
from sluice.errors import DatabaseError, DatabaseUnavailable, SluiceError
from sluice.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = [
    "connect",
    "conninfo_of",
    "database_url",
    "embedded_url",
    "engine",
    "redact",
    "stop_embedded",
    "translate",
    "translated",
]

#: What a connection gets unless its URL says otherwise. The keepalives notice a dead server within a minute;
#: without them a COPY into a vanished machine waits for two hours.
_DEFAULTS = {
    "application_name": "sluice",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}

#: How values are written must not depend on the role, the database or the machine. The server's keepalives make
#: it notice a dead client, whose locks would otherwise keep its table busy for two hours.
_SESSION = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

_SET_SESSION = sql.SQL("SELECT {}").format(sql.SQL(", ").join([sql.SQL("set_config(%s, %s, false)")] * len(_SESSION)))

_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*)://(?P<rest>.*)", re.DOTALL)
_PASSWORD = re.compile(r"(?i)(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)")
_HIDE = r"\1***"


def database_url(settings: Settings) -> str:
    """The URL to connect to: the one told, else that of the embedded server, started now if need be."""
    return settings.database_url or embedded_url(settings.home)


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A new connection in autocommit: a transaction is what stands in `with connection.transaction():`, and
    nothing else, so that none is ever left open by a stray SELECT. Nested blocks are savepoints.

    Raises:
        DatabaseUnavailable: nobody answers there at the moment.
        DatabaseError: the address, the password or the database is wrong, or the database is not in UTF-8.
    """
    parameters = conninfo_of(url)
    with translated(parameters):
        connection = psycopg.connect(**parameters, autocommit=True)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise DatabaseError(
                f"Database {parameters.get('dbname')} stores text as {encoding}, which cannot hold every character.",
                hint="Create one with ENCODING 'UTF8'.",
            )
        connection.execute(_SET_SESSION, [word for pair in _SESSION.items() for word in pair])
    return connection


def engine(url: str) -> Engine:
    """A SQLAlchemy engine over `connect`, without a pool, for DDL, reflection and migrations."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def creator() -> psycopg.Connection[tuple[Any, ...]]:
        connection = connect(url)
        connection.autocommit = False  # SQLAlchemy begins and ends transactions itself
        return connection

    return create_engine("postgresql+psycopg://", creator=creator, poolclass=NullPool)


def conninfo_of(url: str) -> dict[str, Any]:
    """Any SQLAlchemy or libpq PostgreSQL URL, or `key=value` text, as libpq's parameters with our defaults.

    SQLAlchemy takes a password as it stands, libpq wants it percent-encoded, and reads one with a `/` as a host
    name; so user and password are encoded anew before libpq sees them.

    Raises:
        DatabaseError: it is neither, or names another kind of database.
    """
    url = url.strip()
    match = _URL.fullmatch(url)
    if match is not None:
        if match["scheme"].split("+")[0].lower() not in ("postgresql", "postgres"):
            raise DatabaseError(
                f"Sluice loads into PostgreSQL only; the database URL begins with {match['scheme']}://.",
                hint="Write postgresql://user:password@host:5432/database.",
            )
        url = f"postgresql://{_encoded_userinfo(match['rest'])}"
    try:
        told = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # libpq quotes the text it cannot read, and there may be a password in it.
        raise DatabaseError(
            "The database URL cannot be read.",
            hint="Write postgresql://user:password@host:5432/database, with %20 for a blank and so on.",
        ) from None
    return {**_DEFAULTS, **{key: value for key, value in told.items() if value is not None}}


def redact(url: str) -> str:
    """The URL as it may be shown: without passwords, and without anything when it cannot be read."""
    match = _URL.fullmatch(url.strip())
    if match is None:
        return _PASSWORD.sub(_HIDE, url)
    userinfo, at, place = _split_userinfo(match["rest"])
    user, colon, _ = userinfo.partition(":")
    hidden = ":***" if colon else ""
    return f"{match['scheme']}://{user}{hidden}{at}{_PASSWORD.sub(_HIDE, place)}"


def _split_userinfo(rest: str) -> tuple[str, str, str]:
    before_query = rest.partition("?")[0]
    userinfo, at, _ = (before_query if "@" in before_query else rest).rpartition("@")
    return userinfo, at, rest[len(userinfo) + len(at) :]


def _encoded_userinfo(rest: str) -> str:
    userinfo, at, place = _split_userinfo(rest)
    user, colon, password = userinfo.partition(":")
    return f"{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}{at}{place}"


@contextmanager
def translated(place: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Turn a driver's error inside the block into one of ours; `place` (libpq parameters) names the server."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, place) from error


#: Server-side refusals that pass: SQLSTATE classes and codes (PostgreSQL, appendix A).
_TRANSIENT_CLASSES = ("08",)
_TRANSIENT = {
    "40001": "a serialization conflict with another transaction",
    "40P01": "a deadlock with another transaction",
    "53300": "too many connections",
    "55P03": "a lock that another session holds",
    "57P01": "the server is shutting down, or an administrator ended the session",
    "57P02": "the server crashed and is recovering",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the session was idle for too long",
    "25P03": "the transaction was idle for too long",
    "25P04": "the transaction took longer than transaction_timeout",
}

#: Refusals that stay until somebody acts, and what to do.
_REMEDIES = {
    "28": "Check user and password in SLUICE_DATABASE_URL, and the server's pg_hba.conf.",
    "3D000": "Create the database, or correct its name in SLUICE_DATABASE_URL.",
    "42501": "Ask the owner for the right, or use another role; docs/ledger.md lists the rights Sluice needs.",
    "53100": "The server's disk is full: free some space, then `sluice resume` continues where it stopped.",
    "53200": "The server is out of memory: lower its work_mem, then `sluice resume`.",
    "53400": "A limit of the server's configuration is reached; its message says which.",
    "25006": "The server is read-only, perhaps a standby: point SLUICE_DATABASE_URL at the primary.",
    "57014": "A person or statement_timeout cancelled the statement: raise it for this role, then `sluice resume`.",
    "58": "The server has trouble with its own files; its log says more.",
    "XX": "The server reports damage or a bug of its own; its log says more.",
}  # fmt: skip

#: libpq hands no SQLSTATE over when a connection is refused, only text (English unless lc_messages says otherwise;
#: what is not recognised counts as transient, the harmless mistake).
_CONNECT_REFUSALS = (
    (re.compile("authentication failed|no password supplied|no pg_hba.conf entry|not permitted to log in"), "28"),
    (re.compile('role ".*" does not exist'), "28"),
    (re.compile('database ".*" does not exist'), "3D000"),
    (re.compile('permission denied for database "'), "42501"),
)


def translate(error: psycopg.Error, place: Mapping[str, Any] | None = None) -> SluiceError:
    """What a driver's error means for an import: `DatabaseUnavailable` (try again) or `DatabaseError` (act first).

    Only the server's primary message is passed on: its details may hold values of rows.
    """
    if error.sqlstate is None:
        return _translate_client_side(error, _named(place))
    said = error.diag.message_primary or "no message"
    if error.sqlstate in _TRANSIENT or error.sqlstate[:2] in _TRANSIENT_CLASSES:
        reason = _TRANSIENT.get(error.sqlstate, "the connection failed")
        return DatabaseUnavailable(f"PostgreSQL gave up for now: {reason} ({said}).", hint="It is safe to try again.")
    remedy = _REMEDIES.get(error.sqlstate) or _REMEDIES.get(error.sqlstate[:2])
    return DatabaseError(f"PostgreSQL refused ({error.sqlstate}): {said}.", hint=remedy)


def _translate_client_side(error: psycopg.Error, where: str) -> SluiceError:
    text = " ".join(str(error).split())
    if isinstance(error, psycopg.InterfaceError | psycopg.ProgrammingError | psycopg.NotSupportedError):
        return DatabaseError(f"The database driver refused: {text}.")
    if "failed to resolve host" in text:
        if "Temporary failure" in text:
            return DatabaseUnavailable(f"The name of the database server{where} could not be looked up just now.")
        return DatabaseError(
            f"There is no host of the database server's name{where}.",
            hint="Correct the host in SLUICE_DATABASE_URL.",
        )
    for sign, remedy in _CONNECT_REFUSALS:
        if sign.search(text):
            return DatabaseError(
                f"PostgreSQL{where} refused the connection: {_after_fatal(text)}.", hint=_REMEDIES[remedy]
            )
    if isinstance(error, psycopg.DataError):
        return DatabaseError(f"A value cannot be sent to PostgreSQL: {text}.")
    return DatabaseUnavailable(
        f"No connection to PostgreSQL{where}, or it was lost: {_after_fatal(text)}.",
        hint="Check that the server runs and can be reached; it is safe to try again.",
    )


def _after_fatal(text: str) -> str:
    return text.rpartition("FATAL: ")[2].strip().rstrip(".")


def _named(place: Mapping[str, Any] | None) -> str:
    if not place:
        return ""
    host = place.get("host") or place.get("hostaddr") or "the local socket"
    return f" at {host}, database {place.get('dbname') or place.get('user') or '(default)'}"
