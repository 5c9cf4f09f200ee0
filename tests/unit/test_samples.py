"""Each sample is bad where samples/expected.csv says, in that way, and nowhere else."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from sluice.cast import cast_table
from sluice.dataset import load_dataset, normalise_header
from sluice.model import Chunk, Dialect, Severity
from sluice.parse import parse
from sluice.rules import RulePlan, load_suite

PROJECT = Path(__file__).parents[2]
SAMPLES = PROJECT / "samples"
#: Sample file -> dataset.
FILES = {
    "customers.csv": "customers",
    "prospects.csv": "prospects",
    "people.csv": "people",
    "contacts.csv": "contacts",
    "leads.csv": "leads",
    "leads-strict.csv": "leads",
}


def expected_codes(file: str) -> dict[int, str]:
    with (SAMPLES / "expected.csv").open(newline="") as lines:
        return {int(row["line"]): row["code"] for row in csv.DictReader(lines) if row["file"] == file}


def found_codes(file: str, dataset_name: str) -> dict[int, set[str]]:
    """Physical line -> codes, for everything but duplicates, which only the database can tell."""
    dataset = load_dataset(dataset_name, PROJECT / "expectations")
    data = (SAMPLES / file).read_bytes()
    header, _, _ = data.partition(b"\n")
    names = header.decode().split(",")
    chunk = Chunk(0, len(header) + 1, len(data), first_line=2, lines=data.count(b"\n") - 1)
    parsed = parse(chunk, lambda start, end: data[start:end], len(data), Dialect(), names)
    aliases = {
        normalise_header(alias): column.name for column in dataset.columns for alias in (column.name, *column.sources)
    }
    kept = [name for name in names if normalise_header(name) in aliases]
    text = parsed.text.select(kept).rename_columns([aliases[normalise_header(name)] for name in kept])
    cast = cast_table(text, dataset.columns, {"user_id": "42"})
    assert dataset.suite is not None
    types = {column.name: column.type for column in dataset.columns}
    failed = {v.column: v.rows for v in cast.violations if v.column and v.code != "type.required"}
    verdict = RulePlan(load_suite(dataset.suite, columns=types, key=dataset.key)).judge(cast.table, failed)
    found: dict[int, set[str]] = defaultdict(set)
    for bad in parsed.bad:
        found[bad.line].add(bad.code)
    for violation in [*cast.violations, *verdict.violations]:
        if violation.severity is Severity.CRITICAL:
            for row in violation.rows:
                found[int(parsed.lines[row])].add(violation.code)
    return dict(found)


@pytest.mark.parametrize(("file", "dataset"), FILES.items())
def test_a_sample_is_bad_where_and_how_it_says(file: str, dataset: str) -> None:
    expected = {line: code for line, code in expected_codes(file).items() if code != "key.duplicate"}
    found = found_codes(file, dataset)
    assert {line: code for line, code in expected.items() if code not in found.get(line, set())} == {}
    assert {line: codes for line, codes in found.items() if line not in expected} == {}
