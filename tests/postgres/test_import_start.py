"""What starting an import costs: nothing is imported that it does not need, and it ends alike with and without."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.postgres.import_bench import SAMPLES, Bench

#: The command line as it is, and at its end which of the slow packages it has imported.
PROGRAM = """
import atexit, json, sys
slow = "great_expectations pandas prefect alembic sqlalchemy jsonschema fsspec charset_normalizer".split()
atexit.register(lambda: print(json.dumps([name for name in slow if name in sys.modules]), file=sys.stderr))
from sluice.cli import main
main()
"""


def start(bench: Bench, *arguments: str) -> tuple[dict[str, Any], list[str]]:
    """An import in a process of its own: its report, and the slow packages it imported."""
    command = [sys.executable, "-c", PROGRAM, "import", *arguments, "--no-prefect", "--json"]
    done = subprocess.run(command, env=bench.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


def outcome(bench: Bench, report: dict[str, Any], table: str) -> list[Any]:
    """All that two imports of the same file must agree on."""
    import_id = report["import_id"]
    result = bench.query("SELECT suite_result FROM sluice.imports WHERE id = %s", [import_id])
    loaded = bench.query(f"SELECT to_jsonb(t) - '_import_id' FROM {table} t ORDER BY _line")
    names = ("status", "records", "loaded", "rejected", "errors_by_rule", "warnings_by_rule", "message")
    errors = bench.errors(import_id, 'line, "column", code, message, value')
    return [result, loaded, errors, *(report[name] for name in names)]


@pytest.mark.parametrize("name", ["customers", "contacts", "people"])
def test_an_import_with_a_cached_plan_imports_neither_great_expectations_nor_pandas(bench: Bench, name: str) -> None:
    source = str(SAMPLES / f"{name}.csv")
    first, imported = start(bench, source, "--dataset", name, "--force")
    assert {"great_expectations", "pandas"} <= set(imported)
    loaded = outcome(bench, first, f"public.{name}")
    bench.query(f"TRUNCATE public.{name}")
    second, imported = start(bench, source, "--dataset", name, "--force")
    assert imported == []
    assert outcome(bench, second, f"public.{name}") == loaded
    assert loaded[0][0][0]["meta"]["great_expectations_version"].startswith("1.24")


RULES = [
    {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "note", "regex": "^[a-z]+$"}},
    {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "amount", "max_value": 3, "row_condition": 'note == "a"', "condition_parser": "pandas"},
    },
    {"type": "expect_column_max_to_be_between", "kwargs": {"column": "id", "min_value": 1}},
    {"type": "expect_column_distinct_values_to_contain_set", "kwargs": {"column": "note", "value_set": ["a"]}},
]


def test_a_rule_that_needs_great_expectations_gets_it(bench: Bench) -> None:
    """Every time, and nothing of such a suite is kept."""
    bench.dataset(rules=RULES)
    file = bench.file("items.csv", [["id", "amount", "note"], [1, 2, "a"], [2, 4, "a"], [3, 5, "b"], [4, 1, "B"]])
    first, _ = start(bench, file, "--dataset", "items", "--force")
    loaded = outcome(bench, first, "public.items")
    assert [line for line, *_ in loaded[2]] == [3, 5]
    bench.query("TRUNCATE public.items")
    second, imported = start(bench, file, "--dataset", "items", "--force")
    assert imported[:2] == ["great_expectations", "pandas"]
    assert outcome(bench, second, "public.items") == loaded
    assert not (bench.settings.home / "rules").exists()


def test_an_import_goes_on_with_a_lost_or_damaged_plan(bench: Bench) -> None:
    bench.dataset(rules=RULES[:1])
    rows = [["id", "amount", "note"], *([number, 1, "a" if number % 3 else "A"] for number in range(9))]
    file = bench.file("items.csv", rows)
    first, _ = start(bench, file, "--dataset", "items", "--force")
    loaded = outcome(bench, first, "public.items")
    (plan,) = (bench.settings.home / "rules").iterdir()
    good = plan.read_bytes()
    for damaged in (good[:-20], b"", b"\x80\x04."):
        plan.write_bytes(damaged)
        bench.query("TRUNCATE public.items")
        report, imported = start(bench, file, "--dataset", "items", "--force")
        assert "great_expectations" in imported
        assert outcome(bench, report, "public.items") == loaded
        assert plan.read_bytes() == good
    shutil.rmtree(plan.parent)
    bench.query("TRUNCATE public.items")
    assert outcome(bench, start(bench, file, "--dataset", "items", "--force")[0], "public.items") == loaded


def test_a_changed_suite_is_a_new_one(bench: Bench) -> None:
    bench.dataset(rules=RULES[:1])
    file = bench.file("items.csv", [["id", "amount", "note"], [1, 1, "a"], [2, 2, "B"]])
    assert start(bench, file, "--dataset", "items")[0]["rejected"] == 1
    stricter = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 2}}
    bench.dataset(rules=[*RULES[:1], stricter])
    report, imported = start(bench, file, "--dataset", "items", "--force")
    assert "great_expectations" in imported
    assert report["rejected"] == 2
