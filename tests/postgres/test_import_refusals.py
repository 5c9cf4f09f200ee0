"""What goes wrong, by the real command line: one paragraph that says what and what to do, and nothing half done."""

from __future__ import annotations

import gzip
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from sluice.database import connect, conninfo_of
from sluice.errors import SourceError, SuiteError
from sluice.importer import Progress
from tests.postgres.import_bench import ITEMS, SAMPLES, Bench, assert_said, complaint

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100)
ROWS = "id,amount,note\n1,2.50,x\n2,3.50,y\n"


def nothing_happened(bench: Bench) -> bool:
    return bench.imports() == [] and not bench.exists("public.items")


def test_files_that_cannot_be_read(bench: Bench) -> None:
    bench.dataset()
    folder = bench.folder / "folder.csv"
    folder.mkdir()
    packed = gzip.compress(ROWS.encode() * 50)
    wrong = (
        (str(bench.folder / "missing.csv"), "There is no file", "missing.csv"),
        (str(folder), "folder.csv"),
        (bench.file("picture.csv", PNG), "PNG", "picture.csv"),
        (bench.file("empty.csv", b""), "empty.csv"),
        (bench.file("cut.csv.gz", packed[:-20]), "cut.csv.gz"),
        (bench.file("damaged.csv.gz", packed[:20] + b"\0\1\2" + packed[23:]), "damaged.csv.gz"),
        (bench.file("other.csv", "a,b,c\n1,2,3\n"), "other.csv", "amount"),
        ("ftp://nowhere.example/x.csv", "ftp"),
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda case: bench.sluice("import", case[0], "--dataset", "items"), wrong))
    for (_, *words), said in zip(wrong, done, strict=True):
        assert_said(said, 1, *words)
    assert nothing_happened(bench)


def test_a_file_that_may_not_be_read(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("secret.csv", ROWS)
    os.chmod(source, 0)
    if os.access(source, os.R_OK):
        pytest.skip("root may read everything")

    assert_said(bench.sluice("import", source, "--dataset", "items"), 1, "secret.csv")


def test_a_file_without_rows_is_no_mistake(bench: Bench) -> None:
    bench.dataset()

    done = bench.sluice("import", bench.file("bare.csv", "id,amount,note\n"), "--dataset", "items")

    assert done.returncode == 0, done.stderr
    assert bench.query("SELECT status, records, loaded FROM sluice.imports") == [("completed", 0, 0)]


def test_datasets_that_are_wrong(bench: Bench) -> None:
    source = bench.file("items.csv", ROWS)
    suites = bench.settings.datasets / "items"

    assert_said(bench.sluice("import", source, "--dataset", "itemz"), 2, "itemz", "customers")
    bench.dataset()
    assert_said(bench.sluice("import", source, "--dataset", "itemz"), 2, "itemz", "items")
    (suites / "suite.json").write_text("{not json", encoding="utf-8")
    assert_said(bench.sluice("import", source, "--dataset", "items"), 1, "suite.json", "line 1")
    bench.dataset(ITEMS, [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "amuont"}}])
    assert_said(bench.sluice("import", source, "--dataset", "items"), 1, "suite.json", "amuont", "amount")
    for rule, word in (
        (
            {"type": "expect_column_values_to_be_nice", "kwargs": {"column": "amount"}},
            "expect_column_values_to_be_nice",
        ),
        ({"type": "expect_column_values_to_match_regex", "kwargs": {"column": "note", "regex": "(("}}, "(("),
    ):
        bench.dataset(ITEMS, [rule])
        with pytest.raises(SuiteError, match=r"suite\.json") as caught:
            bench.run(source, dataset="items")
        assert word in str(caught.value)

    bench.dataset("table: [unclosed")
    assert_said(bench.sluice("import", source, "--dataset", "items"), 1, "dataset.yaml", "line 1")
    bench.dataset(ITEMS.replace("bigint", "number").replace("key: [id]", "keys: [id]"))
    wrong = bench.sluice("import", source, "--dataset", "items")
    assert wrong.returncode == 1
    for word in ("dataset.yaml", "problems", "line 3", "line 5", "'number'", "did you mean key?"):
        assert word in complaint(wrong)
    assert "Traceback" not in wrong.stderr
    assert nothing_happened(bench)


def test_databases_that_cannot_be_reached(
    bench: Bench, make_role: Callable[[], str], as_role: Callable[[str, str], str]
) -> None:
    bench.dataset()
    source = bench.file("items.csv", ROWS)
    role = make_role()

    def at(url: str, *words: str) -> None:
        done = bench.sluice("import", source, "--dataset", "items", SLUICE_DATABASE_URL=url)
        assert_said(done, 1, *words)
        assert "hunter2" not in done.stderr

    at("postgresql://me:hunter2@127.0.0.1:9/x?connect_timeout=3", "127.0.0.1", "safe to try again")
    at("mysql://me:hunter2@localhost/x", "PostgreSQL only")
    at("postgresql://me:hunter2@[::1/x", "cannot be read")
    at(
        make_conninfo(**{**conninfo_of(bench.url), "dbname": "no_such_database"}),
        "no_such_database",
        "Create the database",
    )
    at(make_conninfo(**{**conninfo_of(bench.url), "user": "nobody_known"}), "nobody_known", "SLUICE_DATABASE_URL")
    at(as_role(bench.url, role), "permission denied", "docs/ledger.md")
    assert nothing_happened(bench)


def test_a_role_that_may_not_write_the_table(
    bench: Bench, make_role: Callable[[], str], as_role: Callable[[str, str], str]
) -> None:
    bench.dataset()
    source = bench.file("items.csv", ROWS)
    role = make_role()
    bench.query(f"GRANT USAGE ON SCHEMA sluice TO {role}")
    bench.query(f"GRANT ALL ON ALL TABLES IN SCHEMA sluice TO {role}")
    told = as_role(bench.url, role)

    missing = bench.sluice("import", source, "--dataset", "items", SLUICE_DATABASE_URL=told)
    assert_said(missing, 1, "may not create it", "Grant CREATE on schema public")
    bench.query("CREATE TABLE items (id bigint PRIMARY KEY, amount numeric(8,2), note text)")
    bench.query(f"GRANT SELECT ON items TO {role}")
    unwritable = bench.sluice("import", source, "--dataset", "items", SLUICE_DATABASE_URL=told)
    assert_said(unwritable, 1, "lacks the right to INSERT")
    bench.query(f"GRANT INSERT ON items TO {role}")
    done = bench.sluice("import", source, "--dataset", "items", SLUICE_DATABASE_URL=told)
    assert done.returncode == 0, done.stderr


def test_folders_that_cannot_be_written(bench: Bench) -> None:
    bench.dataset()
    bench.run(bench.file("items.csv", ROWS + "x,1,z\n"), dataset="items")

    nowhere = bench.sluice("rejects", 1, "--output", bench.folder / "missing" / "rejects.csv")
    assert_said(nowhere, 1, "rejects.csv")
    blocked = bench.file("home", "a file where the folder should be")
    source = bench.file("more.csv.gz", gzip.compress((ROWS + "x,1,z\n").encode()))
    done = bench.sluice("import", source, "--dataset", "items", "--dry-run", SLUICE_HOME=blocked)
    assert_said(done, 1, "home")


def test_a_user_without_a_name_may_import(bench: Bench) -> None:
    """As in a container that runs under any number."""
    bench.dataset()
    source = bench.file("items.csv", ROWS)
    program = (
        "import getpass, sys; from sluice.cli import main\n"
        "def nobody():\n    raise KeyError('getpwuid(): uid not found: 12345')\n"
        "getpass.getuser = nobody\n"
        f"sys.argv = ['sluice', 'import', {source!r}, '--dataset', 'items', '--no-prefect']; main()"
    )

    done = subprocess.run([sys.executable, "-c", program], env=bench.environment(), capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_file_that_changes_while_it_is_read(bench: Bench) -> None:
    bench.dataset()
    source = bench.file("items.csv", [["id", "amount", "note"], *([n, n, "x"] for n in range(3000))])

    def change(state: Progress) -> None:
        if state.counts.records > 100:
            content = Path(source).read_bytes()
            Path(source).write_bytes(content.replace(b"2999", b"2998"))

    with pytest.raises(SourceError, match=r"changed.*|items\.csv"):
        bench.run(source, dataset="items", commit="atomic", chunk_bytes=500, on_progress=change)

    assert [status for _, status, _ in bench.imports()] == ["failed"]
    assert bench.rows() == []


def test_the_report_of_a_failure_is_json_all_the_same(bench: Bench) -> None:
    done = bench.sluice("import", SAMPLES / "customers.csv", "--dataset", "customers", "--strict", "--json")

    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["import_id"], report["status"]) == (1, "failed")
    assert report["rejected"] > 0
    assert report["message"] in complaint(done)


@pytest.fixture
def small_disk(server_url: str, tmp_path: Path) -> Iterator[str]:
    """The name of a tablespace of 24 MB, where that can be arranged."""
    with connect(server_url) as connection:
        folder = connection.execute("SHOW data_directory").fetchone()[0]  # type: ignore[index]
    owner = Path(folder).stat().st_uid if Path(folder).exists() else None
    if owner is None or os.geteuid() != 0:
        pytest.skip("only root, on the server's own machine, can mount a small disk")
    disk = Path(folder).parent / "small_disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        disk.rmdir()
        pytest.skip(f"no small disk: {mounted.stderr.strip()}")
    try:
        space = disk / "space"
        space.mkdir(mode=0o700)
        os.chown(space, owner, pwd.getpwuid(owner).pw_gid)
        with connect(server_url) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
        yield "small"
        with connect(server_url) as connection:
            connection.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        shutil.rmtree(disk)


def test_a_disk_that_is_full(small_disk: str, bench: Bench) -> None:
    bench.dataset()
    table = (
        "CREATE TABLE items (id bigint PRIMARY KEY, amount numeric(8,2), note text, _import_id bigint, _line bigint)"
    )
    bench.query(f"{table} TABLESPACE {small_disk}")
    source = bench.file("items.csv", [["id", "amount", "note"], *([n, n % 9, "x" * 500] for n in range(60_000))])

    done = bench.sluice("import", source, "--dataset", "items")

    assert_said(done, 1, "disk is full", "sluice resume")
    ((status, loaded),) = bench.query("SELECT status, loaded FROM sluice.imports")
    assert status == "failed"
    assert bench.query("SELECT count(*) FROM items") == [(loaded,)]
    bench.query("ALTER TABLE items SET TABLESPACE pg_default")
    assert bench.sluice("resume", 1).returncode == 0
    assert bench.query("SELECT count(*), count(DISTINCT id) FROM items") == [(60_000, 60_000)]
