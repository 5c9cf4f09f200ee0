"""JSON end to end: the rows of the sample in CSV, and damage in the error table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sluice.errors import HeaderError, SourceError, UsageError
from tests.postgres.import_bench import ITEMS, SAMPLES, Bench

PEOPLE = SAMPLES / "people.json"


def test_the_sample_leaves_the_rows_its_csv_leaves(bench: Bench) -> None:
    ends = []
    for source in (PEOPLE, SAMPLES / "people.csv"):
        report = bench.run(source, dataset="people")
        errors = bench.errors(report.import_id, 'line, "column", code, message, value')
        ends.append((bench.rows("public.people", "name, email, age, department, _line"), errors))
        assert (report.records, report.loaded, report.rejected) == (250, 244, 6)
        bench.query("DROP TABLE public.people")
    assert ends[0] == ends[1]


@pytest.mark.parametrize("chunk_bytes", [None, 1, 300])
@pytest.mark.parametrize("commit", ["progressive", "atomic"])
@pytest.mark.parametrize("layout", ["lines", "array", "one line", "indented"])
def test_every_layout_ends_in_the_same_rows(bench: Bench, layout: str, commit: str, chunk_bytes: int | None) -> None:
    bench.dataset()
    records = [{"id": n, "amount": n / 4, "note": "\n" if n % 3 else None} for n in range(20)]
    records[7]["amount"] = "much"
    records[9]["id"] = 8
    text = json.dumps(records, indent=2 if layout == "indented" else None)
    if layout in ("lines", "array"):
        text = ("," if layout == "array" else "").join(json.dumps(record) + "\n" for record in records)
    report = bench.run(
        bench.file("items.json", f"[{text}]" if layout == "array" else text),
        dataset="items",
        commit=commit,
        chunk_bytes=chunk_bytes,
    )
    assert (report.records, report.loaded, report.rejected) == (20, 18, 2)
    assert [row[:3] for row in bench.rows()][:2] == [(0, 0, None), (1, pytest.approx(0.25), "\n")]
    assert [code for *_, code, _ in bench.errors()] == ["type.numeric", "key.duplicate"]
    assert [json.loads(raw) for _, raw in bench.rejected()] == [records[7], records[9]]


def test_keys_that_come_late_are_never_lost(bench: Bench) -> None:
    late = '{"id": 2, "note": "b", "Amount": 5}\n{"id": 3, "more": [1], "note": "c"}\n'
    text = '{"id": 1, "note": "a"}\n' * 1 + " \n" * 600_000 + late
    bench.dataset(ITEMS + 'missing_columns: "null"\nextra_columns: keep\n')
    report = bench.run(bench.file("late.json", text), dataset="items")
    assert (report.loaded, report.rejected) == (3, 0)
    found = bench.rows(columns="id, amount, note, _extra")
    assert found == [(1, None, "a", {}), (2, 5, "b", {}), (3, None, "c", {"more": "[1]"})]
    bench.dataset(ITEMS + 'missing_columns: "null"\n', name="strict")
    report = bench.run(bench.file("late.json", text), dataset="strict", force=True, mode="overwrite")
    assert report.errors_by_rule == {"json.unknown_key": 1}
    assert bench.errors(report.import_id)[0][2:] == ("json.unknown_key", "more")


def test_rejects_are_shown_by_key(bench: Bench, tmp_path: Path) -> None:
    bench.dataset()
    bench.run(
        bench.file(
            "bad.json", '[{"id": 1, "amount": 2, "note": "x"},\n{"note": "=y", "id": "one"},\n{"id": 3 "note"}]'
        ),
        dataset="items",
    )
    done = bench.sluice("rejects", 1)
    rows = list(csv.reader(done.stdout.splitlines()))
    assert rows[0] == ["id", "amount", "note", "_line", "_errors"]
    assert rows[1][:4] == ["one", "", "'=y", "2"]
    assert rows[2][:4] == ['{"id": 3 "note"}', "", "", "3"]
    assert "[json.invalid]" in rows[2][4]


def test_a_table_is_inferred(bench: Bench) -> None:
    text = '{"id": 1, "at": "2024-05-06", "tags": ["a"]}\n{"id": 2, "at": null}\n'
    bench.run(bench.file("new.ndjson", text), table="public.new", infer=True)
    assert bench.rows("public.new", "id, at::text, tags::text") == [(1, "2024-05-06", '["a"]'), (2, None, None)]


def test_what_cannot_be_is_refused(bench: Bench) -> None:
    bench.dataset()
    with pytest.raises(UsageError, match="--delimiter"):
        bench.run(PEOPLE, dataset="people", delimiter=";")
    with pytest.raises(SourceError, match="cut off"):
        bench.run(bench.file("cut.json", '[{"id": 1, "amount": 2, "note": "x"},\n'), dataset="items")
    with pytest.raises(HeaderError, match="no object can be read"):
        bench.run(bench.file("wrapped.json", '{"data":\n[{"id": 1},\n{"id": 2}]}\n'), dataset="items")
    with pytest.raises(HeaderError, match="amount is missing"):
        bench.run(bench.file("other.json", '[{"id": 1}]'), dataset="items")
    assert bench.imports() == []
    report = bench.run(bench.file("empty.json", "[]"), dataset="items")
    assert report.records == 0
