"""The main job: the customers sample through the program, line by line what it says it is."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from dataclasses import fields

import pytest

from sluice.model import Commit, Report
from tests.postgres.import_bench import SAMPLES, Bench, complaint, counts_of

SAMPLE = SAMPLES / "customers.csv"
KEYS = [field.name for field in fields(Report) if field.name != "samples"]


def expected(name: str = "customers.csv") -> set[tuple[int, str]]:
    with (SAMPLES / "expected.csv").open(encoding="utf-8") as file:
        return {(int(row["line"]), row["code"]) for row in csv.DictReader(file) if row["file"] == name}


@pytest.mark.parametrize("commit", list(Commit))
@pytest.mark.parametrize("name", ["customers", "people", "contacts", "leads", "prospects"])
def test_every_sample_is_rejected_exactly_where_it_is_bad(bench: Bench, name: str, commit: Commit) -> None:
    told = {"user_id": "42"} if name == "prospects" else {}

    report = bench.run(SAMPLES / f"{name}.csv", dataset=name, commit=commit, chunk_bytes=20_000, set=told)

    assert set(bench.errors(columns="line, code")) == expected(f"{name}.csv")
    assert [line for line, _ in bench.rejected()] == sorted(line for line, _ in expected(f"{name}.csv"))
    assert counts_of(report).balanced
    assert bench.query(f"SELECT count(*) FROM {name}") == [(report.loaded,)]
    assert report.rejected == len(expected(f"{name}.csv"))
    assert report.errors_by_rule == dict(sorted(Counter(code for _, code in expected(f"{name}.csv")).items()))
    assert bench.leftovers() == {}


def test_rows_are_loaded_as_they_stand_in_the_file(bench: Bench) -> None:
    bench.run(SAMPLE, dataset="customers", chunk_bytes=100_000)

    bad = {line for line, _ in expected()}
    lines = SAMPLE.read_text(encoding="utf-8", errors="replace").split("\n")
    wanted: dict[int, list[str | None]] = {}
    number = 2
    while number < len(lines):
        first, number = number, number + 1
        if first not in bad:
            while lines[first - 1].count('"') % 2:  # a good record with a line break in it
                lines[first - 1] += f"\n{lines[number - 1]}"
                number += 1
            (cells,) = csv.reader(io.StringIO(lines[first - 1]))
            wanted[first] = [cell or None for cell in cells]
    names = "index::text, customer_id, first_name, last_name, company, city, country, phone_1, phone_2, email"
    loaded = bench.query(f"SELECT _line, {names}, subscription_date::text, website, _import_id FROM customers")

    assert {line: cells for line, *cells, _ in loaded} == wanted
    assert {import_id for *_, import_id in loaded} == {1}


def test_the_program_says_what_it_did(bench: Bench) -> None:
    done = bench.sluice("import", SAMPLE, "--dataset", "customers", "--json")

    assert done.returncode == 3, done.stderr
    assert complaint(done) == ""
    report = json.loads(done.stdout)
    assert list(report) == KEYS
    assert (report["status"], report["import_id"], report["dataset"]) == ("completed_with_rejects", 1, "customers")
    assert (report["records"], report["loaded"], report["rejected"]) == (10_000, 9_795, 205)
    assert sum(report["errors_by_category"].values()) == sum(report["errors_by_rule"].values()) == 205
    assert set(report["errors_by_category"]) == {"missing_value", "invalid_format", "duplicate", "other"}
    assert report["bytes"] == SAMPLE.stat().st_size
    assert report["seconds"] > 0
    assert report["flow_run_id"] is None

    shown = json.loads(bench.sluice("show", 1, "--json").stdout)
    assert {key: shown[key] for key in KEYS} == report
    assert sum(chunk["records"] for chunk in shown["chunks"]) == 10_000
    assert json.loads(bench.sluice("imports", "--json").stdout) == [report]
    assert json.loads(bench.sluice("imports", "--dataset", "other", "--json").stdout) == []

    again = bench.sluice("import", SAMPLE, "--dataset", "customers", "--json")
    assert again.returncode == 1
    assert "#1" in again.stderr
    assert list(json.loads(again.stdout)) == KEYS
    assert json.loads(again.stdout)["status"] == "failed"


def test_rejects_are_a_csv_file_with_the_sources_columns(bench: Bench) -> None:
    bench.run(SAMPLE, dataset="customers")

    done = bench.sluice("rejects", 1)
    assert done.returncode == 0
    header, *rows = csv.reader(io.StringIO(done.stdout))
    with SAMPLE.open(encoding="utf-8", errors="replace") as file:
        assert header == [*file.readline().rstrip("\n").split(","), "_line", "_errors"]
    assert [int(row[-2]) for row in rows] == sorted(line for line, _ in expected())
    assert {len(row) for row in rows} == {14}
    codes = dict(expected())
    assert all(f"[{codes[int(row[-2])]}]" in row[-1] for row in rows)

    output = bench.folder / "rejects.csv"
    some = bench.sluice("rejects", 1, "--rule", "key.duplicate", "--output", output)
    assert (some.returncode, some.stdout) == (0, "")
    assert output.read_text(encoding="utf-8").count("\n") == 10
    of_category = bench.sluice("rejects", 1, "--category", "duplicate").stdout
    assert of_category == output.read_text(encoding="utf-8")


def test_statuses_for_programs(bench: Bench) -> None:
    bench.dataset()
    clean = bench.file("clean.csv", "id,amount,note\n1,2.50,x\n")

    assert bench.sluice("import", clean, "--dataset", "items").returncode == 0
    assert bench.sluice("import", clean, "--dataset", "items").returncode == 1
    assert bench.sluice("import", clean).returncode == 2
    assert bench.sluice("import", clean, "--dataset", "items", "--table", "t").returncode == 2
    assert bench.sluice("import", clean, "--dataset", "items", "--mode", "upsert").returncode == 2
    assert bench.sluice("import", clean, "--dataset", "items", "--max-rejects", "many").returncode == 2
    assert bench.sluice("show", 99).returncode == 2
    assert bench.sluice("rejects", 99).returncode == 2
    assert bench.sluice("resume", 99).returncode == 2
    assert bench.sluice("resume", 1).returncode == 2
    assert bench.rows(columns="id, amount::text, note, _line") == [(1, "2.50", "x", 2)]


def test_an_import_without_rules_loads_neither_prefect_nor_great_expectations(bench: Bench) -> None:
    file = bench.file("plain.csv", "a,b\n1,x\n2,y\n")
    program = (
        "import sys; from sluice import import_file\n"
        f"report = import_file({file!r}, table='public.plain')\n"
        "print(report.loaded, sorted({'prefect', 'great_expectations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=bench.environment(), capture_output=True, text=True)
    assert done.stdout == "2 []\n", done.stderr
