"""Suites that were loaded before: found again in memory and on disk, never mistaken, rebuilt where a file is bad."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sluice.dataset import load_dataset
from sluice.errors import SuiteError
from sluice.model import ColumnType, TypeName
from sluice.rules import RulePlan, Suite, cache, cached_suite, load_suite
from sluice.rules.digest import suite_digest
from sluice.rules.plan import needs_great_expectations
from sluice.rules.stored import read_suite, write_suite

ROOT = Path(__file__).parents[2]
COLUMNS = {
    "name": ColumnType(TypeName.TEXT),
    "age": ColumnType(TypeName.BIGINT),
    "price": ColumnType(TypeName.NUMERIC, 10, 2),
    "day": ColumnType(TypeName.DATE),
    "seen": ColumnType(TypeName.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S%z"),
}


def rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def document(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"name": "people", "expectations": list(rules)}


ADULT = {"row_condition": "age > 1", "condition_parser": "pandas"}
BETWEEN = "column_values_to_be_between"
PEOPLE = document(
    rule("column_values_to_match_regex", column="name", regex=r"^\S+$", mostly=0.9),
    rule(BETWEEN, column="price", min_value=0.1, max_value=10),
    rule(BETWEEN, column="day", min_value="2020-01-01"),
    rule(BETWEEN, column="seen", max_value="2030-01-01T00:00:00+02:00"),
    rule("column_values_to_be_in_set", column="day", value_set=["2020-01-01", "2020-01-02"]),
    rule("column_values_to_be_unique", column="age"),
    rule("table_row_count_to_be_between", min_value=1),
    rule("table_columns_to_match_set", column_set=list(COLUMNS)),
)


@pytest.fixture(autouse=True)
def _nothing_in_memory() -> None:
    cache._loaded.clear()


def recall(folder: Path, suite: dict[str, Any] = PEOPLE) -> Suite:
    return cached_suite(suite, columns=COLUMNS, key=("age", "name"), folder=folder)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_suite_is_loaded_once_a_process(tmp_path: Path) -> None:
    assert recall(tmp_path) is recall(tmp_path)


def test_a_suite_from_disk_is_the_one_that_was_loaded(tmp_path: Path) -> None:
    first = recall(tmp_path)
    cache._loaded.clear()
    second = recall(tmp_path)
    assert second is not first
    assert second == first == load_suite(PEOPLE, columns=COLUMNS, key=("age", "name"))
    assert second.row_rules[1].arguments["min_value"] == Decimal("0.1")
    assert second.row_rules[2].arguments["min_value"] == date(2020, 1, 1)
    assert second.row_rules[3].arguments["max_value"] == datetime(2029, 12, 31, 22, tzinfo=UTC)
    assert [type(found.severity) for found in second.row_rules] == [type(found.severity) for found in first.row_rules]


CHANGES: dict[str, tuple[dict[str, Any], dict[str, ColumnType], tuple[str, ...]]] = {
    "a rule": (document(*PEOPLE["expectations"][1:]), COLUMNS, ()),
    "a number": (document(rule(BETWEEN, column="age", min_value=1)), COLUMNS, ()),
    "its kind": (document(rule(BETWEEN, column="age", min_value=1.0)), COLUMNS, ()),
    "the name": ({**PEOPLE, "name": "others"}, COLUMNS, ()),
    "a type": (PEOPLE, {**COLUMNS, "age": ColumnType(TypeName.INTEGER)}, ()),
    "a format": (PEOPLE, {**COLUMNS, "seen": ColumnType(TypeName.TIMESTAMP)}, ()),
    "a scale": (PEOPLE, {**COLUMNS, "price": ColumnType(TypeName.NUMERIC, 10, 3)}, ()),
    "the order": (PEOPLE, dict(reversed(COLUMNS.items())), ()),
    "the key": (PEOPLE, COLUMNS, ("name",)),
    "nothing": (PEOPLE, COLUMNS, ()),
}


def test_whatever_the_outcome_depends_on_tells_suites_apart() -> None:
    digests = {name: suite_digest(*change) for name, change in CHANGES.items()}
    assert len(set(digests.values())) == len(CHANGES)
    assert suite_digest(json.loads(json.dumps(PEOPLE)), COLUMNS, ()) == digests["nothing"]


def test_the_code_that_reads_suites_is_part_of_the_digest(tmp_path: Path) -> None:
    """A copy of the package with one more blank line in one module gives another digest."""
    ask = (
        "from sluice.rules.digest import suite_digest; print(suite_digest({}, {}, ()))",
        "import sluice.rules.digest as d; print(d.__file__)",
    )

    def run(code: str, root: Path) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
        ).stdout.strip()

    copy = tmp_path / "copy"
    for path in sorted((ROOT / "sluice").rglob("*.py")):
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert run(ask[1], copy).startswith(str(copy))
    before = run(ask[0], copy)
    assert before == run(ask[0], ROOT)
    kernels = copy / "sluice/rules/kernels.py"
    kernels.write_bytes(kernels.read_bytes() + b"\n")
    assert run(ask[0], copy) != before


def _flip(text: bytes) -> bytes:
    """Another limit than the suite's, in JSON as good as before."""
    changed = text.replace(b'"0.1"', b'"9.9"')
    assert changed != text
    return changed


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda text: b"",
    "half": lambda text: text[: len(text) // 2],
    "changed": _flip,
    "not utf-8": lambda text: b"\xff" + text,
    "other JSON": lambda text: b'{"sha256": 1, "suite": [1, 2]}',
    "a list": lambda text: b"[]",
    "deep": lambda text: b"[" * 100_000,
    "a pickle": lambda text: pickle.dumps(Path),
    "no checksum": lambda text: json.dumps({"suite": json.loads(text)["suite"]}).encode(),
    "another suite": lambda text: write_suite(load_suite(document(), columns=COLUMNS)).encode(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_file_is_replaced(tmp_path: Path, damage: str) -> None:
    good = recall(tmp_path)
    path = only_file(tmp_path)
    text = path.read_bytes()
    path.write_bytes(DAMAGES[damage](text))
    cache._loaded.clear()
    assert recall(tmp_path) == good
    assert path.read_bytes() == text
    assert only_file(tmp_path) == path


@pytest.mark.parametrize(
    "encoded",
    [
        ["eval", "1"],
        ["Path", "/etc/passwd"],
        ["Suite", {"digest": "x", "surprise": 1}],
        ["Severity", "fatal"],
        ["Decimal", "ten"],
        ["date", "today"],
        ["list", 3],
        [["list"], []],
        {"digest": "x"},
    ],
)
def test_nothing_but_a_suite_is_read(encoded: Any) -> None:
    from sluice.rules.stored import _checksum

    with pytest.raises(ValueError, match=r"."):
        read_suite(json.dumps({"sha256": _checksum(encoded), "suite": encoded}), "x")


def test_a_file_cannot_bring_in_a_condition_to_run(tmp_path: Path) -> None:
    """A forged file with a good checksum, under the right name: pandas would run what stands behind the @."""
    ran = tmp_path / "ran"
    condition = f"@__import__('pathlib').Path({str(ran)!r}).touch() is None"
    with pytest.raises(SuiteError, match="without '@'"):
        load_suite(
            document(rule(BETWEEN, column="age", min_value=1, row_condition=condition, condition_parser="pandas")),
            columns=COLUMNS,
        )
    folder = tmp_path / "rules"
    good = recall(folder)
    (found, *_) = load_suite(document(rule(BETWEEN, column="age", min_value=1, **ADULT)), columns=COLUMNS).row_rules
    configuration = {**found.configuration, "kwargs": {**found.configuration["kwargs"]}}
    configuration["kwargs"]["row_condition"] = {"type": "pass_through", "pass_through_filter": condition}
    for forged in (
        replace(found, configuration=configuration),
        replace(found, configuration=configuration, conditional=False, metric="column_values.unheard_of"),
    ):
        only_file(folder).write_text(write_suite(replace(good, row_rules=(forged,))))
        cache._loaded.clear()
        suite = recall(folder)
        assert suite == good
        RulePlan(suite).judge(pa.table({name: pa.nulls(1) for name in COLUMNS}))
    assert not ran.exists()


def test_a_wrong_suite_is_refused_every_time_and_leaves_nothing(tmp_path: Path) -> None:
    wrong = document(rule("column_values_to_not_be_null", column="nobody"))
    for _ in range(2):
        with pytest.raises(SuiteError, match="there is no column 'nobody'"):
            recall(tmp_path, wrong)
    assert list(tmp_path.iterdir()) == []
    assert cache._loaded == {}


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert recall(blocked).name == "people"
    assert blocked.read_text() == "in the way"


def test_what_cannot_be_written_down_is_not(tmp_path: Path) -> None:
    odd = document(rule("column_values_to_be_in_set", column="age", value_set=[1, float("1e400")]))
    with pytest.raises(SuiteError, match="is not a number"):  # the only way for such a value to come in
        recall(tmp_path, odd)
    (found,) = load_suite(document(rule(BETWEEN, column="age", min_value=1)), columns=COLUMNS).row_rules
    for value in (float("nan"), {1, 2}, b"", object()):
        suite = replace(load_suite(document(), columns=COLUMNS), row_rules=(replace(found, arguments={"x": value}),))
        with pytest.raises(ValueError, match=r"Out of range float|cannot be written down"):
            write_suite(suite)


def test_many_at_once_read_whole_files_or_none(tmp_path: Path) -> None:
    suite = load_suite(PEOPLE, columns=COLUMNS)
    path = tmp_path / f"{suite.digest}.json"

    def take_part(number: int) -> list[Suite | None]:
        found = []
        for _ in range(20):
            if number % 2:
                cache._write(path, suite)
            found.append(cache._read(path, suite.digest))
        return found

    with ThreadPoolExecutor(8) as pool:
        seen = [suite for found in pool.map(take_part, range(8)) for suite in found]
    assert all(found in (None, suite) for found in seen)
    assert only_file(tmp_path) == path


def test_old_files_are_removed_when_one_is_written(tmp_path: Path) -> None:
    old, young = tmp_path / "old.json", tmp_path / "young.json"
    for path, age in ((old, 91), (young, 89)):
        path.write_text("{}")
        os.utime(path, (time.time() - age * 86400,) * 2)
    recall(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_memory_holds_so_many_and_no_more(tmp_path: Path) -> None:
    suite = load_suite(document(), columns=COLUMNS)
    for number in range(cache._KEPT + 5):
        cache._keep(replace(suite, digest=str(number)))
    assert len(cache._loaded) == cache._KEPT
    assert str(cache._KEPT + 4) in cache._loaded


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "expectations").iterdir()))
def test_the_suites_we_ship_need_no_great_expectations(name: str) -> None:
    dataset = load_dataset(name, ROOT / "expectations")
    assert dataset.suite is not None
    columns = {column.name: column.type for column in dataset.columns}
    suite = load_suite(dataset.suite, columns=columns, key=dataset.key)
    assert not needs_great_expectations(suite)


@pytest.mark.parametrize(
    ("entry", "needs"),
    [
        (rule("column_values_to_not_be_null", column="name"), False),
        (rule("column_values_to_not_be_null", column="name", **ADULT), True),
        (rule("column_pair_values_to_be_in_set", column_A="name", column_B="age", value_pairs_set=[["a", 1]]), True),
        (rule("column_pair_values_to_be_equal", column_A="name", column_B="age"), True),
        (rule("table_row_count_to_equal", value=3), False),
        (rule("table_row_count_to_equal", value=3, **ADULT), True),
        (rule("column_max_to_be_between", column="day", max_value="2020-01-01"), True),
    ],
)
def test_who_needs_great_expectations(entry: dict[str, Any], needs: bool) -> None:
    assert needs_great_expectations(load_suite(document(entry), columns=COLUMNS)) is needs


def test_a_written_suite_judges_without_great_expectations_until_a_rule_needs_it(tmp_path: Path) -> None:
    """The same verdict, in a process that has imported it and in one that has not, before and after it does."""
    mixed = document(
        rule("column_values_to_match_regex", column="name", regex="^a"),
        rule("column_pair_values_to_be_in_set", column_A="name", column_B="age", value_pairs_set=[["a", 1], ["b", 2]]),
        rule("column_values_to_match_regex", column="name", regex="a$", **ADULT),
    )
    suite = recall(tmp_path, mixed)
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / suite.digest
    path.write_text(write_suite(suite))
    table = pa.table({"name": ["a", "b", "ca", None], "age": pa.array([1, 2, 3, 4])})
    expected = [(v.code, v.rows.tolist()) for v in RulePlan(suite).judge(table).violations]
    assert [rows for _, rows in expected] == [[1, 2], [2, 3], [1]]
    code = (
        "import sys\n"
        "from sluice.without_pandas import keep_pandas_out; keep_pandas_out()\n"
        "from pathlib import Path\n"
        "from sluice.rules.stored import read_suite\n"
        "from sluice.rules.plan import RulePlan\n"
        "import pyarrow as pa\n"
        f"suite = read_suite(Path({str(path)!r}).read_text(), {suite.digest!r})\n"
        "table = pa.table({'name': ['a', 'b', 'ca', None], 'age': pa.array([1, 2, 3, 4])})\n"
        "chunk = RulePlan(suite).open(table)\n"
        "print([chunk.judge(suite.row_rules[0])[0].tolist()])\n"
        "print({'great_expectations', 'pandas'} & set(sys.modules))\n"
        "print([(v.code, v.rows.tolist()) for v in chunk.verdict().violations])\n"
        "print(sorted({'great_expectations', 'pandas'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["[[1, 2]]", "set()", str(expected), "['great_expectations', 'pandas']"]


def test_pandas_is_kept_out_and_let_in_again() -> None:
    code = (
        "import sys\n"
        "from sluice.without_pandas import keep_pandas_out, let_pandas_in\n"
        "keep_pandas_out()\n"
        "import numpy as np, pyarrow as pa\n"
        "pa.array([1, None]); pa.array(np.arange(3)); pa.table({'a': [1]}).column(0).to_numpy()\n"
        "assert 'pandas' not in sys.modules\n"
        "let_pandas_in()\n"
        "import pandas as pd\n"
        "assert pa.array(pd.Series([1.0, None])).null_count == 1\n"
        "keep_pandas_out()\n"
        "assert pa.array(pd.Series([1.0, None])).null_count == 1\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
