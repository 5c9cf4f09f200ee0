"""The ledger's schema: what the migrations make is what `sluice.schema` says, once, however many try."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql

import sluice.migrations
from sluice import schema
from sluice.database import connect, engine
from sluice.errors import DatabaseError
from sluice.migrate import ensure_ledger
from sluice.migrations import HEAD
from sluice.names import SCHEMA

MakeRole = Callable[[], str]
AsRole = Callable[[str, str], str]


def test_the_migrated_database_is_the_metadata(database_url: str) -> None:
    with engine(database_url).connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table_schema": SCHEMA,
                "compare_type": True,
                "compare_server_default": True,
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
            },
        )
        assert compare_metadata(context, schema.metadata) == []


def test_check_constraints_and_views_are_there(connection: psycopg.Connection[tuple[str]]) -> None:
    checks = connection.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'sluice'::regnamespace"
    ).fetchall()
    told = {c.name for t in schema.metadata.tables.values() for c in t.constraints if str(c.name).endswith("_known")}
    assert {name for (name,) in checks} == told
    views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'sluice'").fetchall()
    assert {name for (name,) in views} == {"import_history", "import_progress", "errors_by_rule"}


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(sluice.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_many_processes_may_create_it_at_once(empty_database_url: str) -> None:
    def ensure(_: int) -> str:
        with connect(empty_database_url) as connection:
            ensure_ledger(connection)
            return str(connection.execute("SELECT version_num FROM sluice.alembic_version").fetchall()[0][0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ensure, range(4))) == [HEAD] * 4


def test_a_newer_ledger_is_not_touched(connection: psycopg.Connection[tuple[str]]) -> None:
    connection.execute("UPDATE sluice.alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="newer Sluice"):
        ensure_ledger(connection)


def test_a_role_without_rights_is_told_so(empty_database_url: str, make_role: MakeRole, as_role: AsRole) -> None:
    with (
        connect(as_role(empty_database_url, make_role())) as connection,
        pytest.raises(DatabaseError, match=r"may not use or create the ledger.*docs/ledger\.md"),
    ):
        ensure_ledger(connection)


def test_an_up_to_date_ledger_needs_no_right_to_create(database_url: str, make_role: MakeRole, as_role: AsRole) -> None:
    role = make_role()
    with connect(as_role(database_url, role)) as connection, pytest.raises(DatabaseError, match="may not use"):
        ensure_ledger(connection)
    with connect(database_url) as owner:
        owner.execute(sql.SQL("GRANT USAGE ON SCHEMA sluice TO {}").format(sql.Identifier(role)))
        owner.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA sluice TO {}").format(sql.Identifier(role)))
    with connect(as_role(database_url, role)) as connection:
        ensure_ledger(connection)
        assert connection.execute("SELECT count(*) FROM sluice.import_history").fetchone() == (0,)


def test_every_query_of_the_documentation_runs(connection: psycopg.Connection[tuple[str]]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(queries) > 10
    connection.execute("CREATE TABLE customers (customer_id text, _import_id bigint, _line bigint)")
    with connection.transaction(force_rollback=True):  # roles belong to the whole server
        connection.execute("CREATE ROLE loader")
        for query in queries:
            connection.execute(query.encode())
