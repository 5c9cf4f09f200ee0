"""The benchmark's pure parts: its files have the rows they say, its ratios are ratios, its page keeps what it has."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE

import pytest

from sluice.dataset import dataset_names, load_dataset
from tests.bench import report, scenarios, stages, steady
from tests.bench.contenders import CONTENDERS
from tests.bench.data import FIRST_NUMBER, NARROW, WIDE, Data, Kind, pieces, rows_of, write
from tests.bench.datasets import write_datasets
from tests.bench.measure import CommandFailed, Run, cpu_seconds, run
from tests.bench.scenarios import Entry, Scenario
from tests.bench.session import Result

ROOT = Path(__file__).parents[2]


def text_of(data: Data) -> bytes:
    return b"".join(text for text, _ in pieces(data))


def rows_in(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


def result(wall: float, rows: int, seconds: float | None = None, *, client: float = 1, peak: float = 100) -> Result:
    return Result(Run(wall, client, 2.0, 0.0, peak, ""), rows, seconds)


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (Data(Kind.CUSTOMERS, 50_123), 12),
        (Data(Kind.NARROW, 100_500), len(NARROW)),
        (Data(Kind.WIDE, 5_500), len(WIDE)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_file_has_its_rows_each_with_a_number_of_its_own(data: Data, columns: int) -> None:
    header, *rows = rows_in(text_of(data))
    assert len(header) == columns
    assert {len(row) for row in rows} == {columns}
    assert [int(row[0]) for row in rows] == list(range(FIRST_NUMBER, FIRST_NUMBER + data.rows))


def test_the_wide_file_has_94_columns() -> None:
    assert (len(NARROW), len(WIDE)) == (3, 94)


def test_no_key_comes_twice_and_keys_are_in_no_order() -> None:
    rows = 250_123  # more than a round of blocks, and a rest
    lines = text_of(Data(Kind.CUSTOMERS, rows)).splitlines()[1:]
    assert [int(line[:9]) for line in lines] == list(range(FIRST_NUMBER, FIRST_NUMBER + rows))
    keys = [line[10:25].lower() for line in lines]
    assert len(set(keys)) == rows
    assert all(re.fullmatch(b"[0-9a-f]{15}", key) for key in keys[:1000])
    rising = sum(earlier < later for earlier, later in pairwise(keys))
    assert rising / rows == pytest.approx(0.5, abs=0.01)


def test_the_same_call_makes_the_same_bytes() -> None:
    data = Data(Kind.CUSTOMERS, 60_000, bad=1, newlines=1)
    assert text_of(data) == text_of(data)


@pytest.mark.parametrize("bad", [0, 1, 20])
def test_the_share_of_bad_rows_is_as_told(bad: int, tmp_path: Path) -> None:
    file = write(Data(Kind.CUSTOMERS, 120_000, bad=bad), tmp_path / "some.csv")
    assert file.bad == pytest.approx(bad / 100 * file.rows, rel=0.05)
    assert (file.rows, file.size) == (120_000, file.path.stat().st_size)


def test_quoted_line_ends_are_where_told() -> None:
    data = Data(Kind.CUSTOMERS, 60_000, newlines=10)
    text = text_of(data)
    assert len(rows_in(text)) == data.rows + 1
    assert text.count(b"\n") - data.rows - 1 == pytest.approx(6_000, rel=0.05)


def test_a_size_can_be_asked_for() -> None:
    assert len(text_of(Data(Kind.CUSTOMERS, rows_of(Kind.CUSTOMERS, 20_000_000)))) == pytest.approx(2e7, rel=0.01)


def test_every_dataset_of_a_scenario_can_be_read(tmp_path: Path) -> None:
    write_datasets(tmp_path)
    used = {entry.dataset for scenario in scenarios.SCENARIOS for entry in scenario.entries}
    assert used <= set(dataset_names(tmp_path))
    for name in dataset_names(tmp_path):
        assert load_dataset(name, tmp_path).suite is not None


def test_every_contender_of_a_scenario_is_known() -> None:
    for scenario in scenarios.SCENARIOS:
        assert {entry.contender for entry in scenario.entries} <= set(CONTENDERS)


def test_what_is_run_is_what_was_asked_for() -> None:
    plain = scenarios.chosen(full=False, names=[], only=[], runs=None, quick=False)
    assert [scenario.name for scenario in plain] == [s.name for s in scenarios.SCENARIOS if not s.full]
    assert scenarios.chosen(full=True, names=[], only=[], runs=None, quick=False) == list(scenarios.SCENARIOS)
    (one,) = scenarios.chosen(full=False, names=["peers_large"], only=["adbc"], runs=7, quick=True)
    assert [entry.contender for entry in one.entries] == ["psql", "adbc"]
    assert [entry.data.rows for entry in one.entries] == [100_000, 100_000]
    assert one.runs == 7


def test_ratios_are_of_time_a_row_turn_by_turn() -> None:
    base, other = [result(10, 1000), result(20, 1000)], [result(2, 100), result(6, 100)]
    found = report.ratios(other, base, report.wall, report.wall)
    assert found == report.Spread(2.5, 2.0, 3.0)
    assert report.ratios(base, base, report.of_import, report.wall) is None


def test_a_spread_shows_its_range_where_there_is_one() -> None:
    assert f"{report.spread([1.0, 2.0, 4.0]):.1f}" == "2.0 (1.0-4.0)"
    assert f"{report.spread([1.01, 1.02]):.1f}" == "1.0"


def test_a_table_leaves_out_who_was_not_there() -> None:
    entries = tuple(Entry(name, Data(Kind.CUSTOMERS, 1000)) for name in ("psql", "sluice", "pgloader"))
    table = report.table(Scenario("some", "", entries), [[result(4, 1000)], [result(6, 1000, 5.0)], []])
    assert table.splitlines() == [
        "|  | rows | wall s | us a row | x | import s | x | client CPU s | server CPU s | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| psql | 1,000 | 4.0 | 4000.00 | 1.00 |  |  | 1.0 | 2.0 | 100 |",
        "| sluice | 1,000 | 6.0 | 6000.00 | 1.50 | 5.0 | 1.25 | 1.0 | 2.0 | 100 |",
    ]


def test_the_page_keeps_what_was_not_measured_anew() -> None:
    page = "Before\n<!-- begin results -->\n<!-- end results -->\nAfter\n"
    page = report.merged(page, {"b": "### B\n"}, ["a", "b"])
    page = report.merged(page, {"a": "### A\n"}, ["a", "b"])
    page = report.merged(page, {"b": "### B2\n"}, ["a", "b"])
    parts = "<!-- part a -->\n### A\n\n<!-- part b -->\n### B2\n\n"
    assert page == f"Before\n<!-- begin results -->\n{parts}<!-- end results -->\nAfter\n"
    assert report.merged(page, {}, ["b"]).count("### ") == 1
    with pytest.raises(report.PageError):
        report.merged("no place", {}, [])


def test_the_page_has_a_place_for_the_results() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert report.merged(page, {}, re.findall(r"<!-- part (\w+) -->", page)) == page


def test_steadiness_compares_the_first_tenth_with_the_last() -> None:
    fast = [steady.Commit(at, 100, 10) for at in range(11)]
    slow = [steady.Commit(10 + 2 * at, 100, 10) for at in range(1, 11)]
    assert steady.rates([*fast, *slow]) == (100.0, 50.0)
    assert steady.half(fast) == 0.5
    assert steady.half([*fast, *slow]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("target", [target for _, targets in stages.STAGES.values() for target in targets])
def test_every_function_of_the_stage_profile_is_there(target: str) -> None:
    owner, name = stages.resolve(target)
    assert callable(getattr(owner, name))


def test_a_stage_does_not_count_what_it_calls() -> None:
    clock = stages.Clock(["outer", "inner"])
    with clock.stage("outer"), clock.stage("inner"):
        sum(range(300_000))
    outer, inner = clock.seconds()["outer"], clock.seconds()["inner"]
    assert inner[1] > 5 * outer[1] > 0  # CPU: others on the machine have no part in it


BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_cpu_is_counted_of_children_that_ended_and_of_those_that_live() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])\nprint(flush=True); input()"
    child = f"{BURN}print(flush=True); input()"
    with (
        subprocess.Popen([sys.executable, "-c", parent], stdin=PIPE, stdout=PIPE) as first,
        subprocess.Popen([sys.executable, "-c", child], stdin=PIPE, stdout=PIPE) as second,
    ):
        assert first.stdout is not None
        assert second.stdout is not None
        first.stdout.readline()
        second.stdout.readline()
        assert cpu_seconds(first.pid) >= 0.25  # of 0.3, counted in hundredths of a second, process by process
        assert cpu_seconds(os.getpid()) >= 0.6
        first.communicate(b"\n")
        second.communicate(b"\n")


def test_a_command_is_measured_whole(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", f"{BURN}print('done')"], env=os.environ, cwd=tmp_path, postgres=os.getpid())
    assert (done.output, done.prefect) == ("done\n", 0.0)
    assert done.wall >= 0.25  # of 0.3, counted in hundredths of a second, process by process
    assert done.client >= 0.25  # of 0.3, counted in hundredths of a second, process by process
    assert 1 < done.peak < 30  # Python alone, without what this process holds


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what its processes share")
def test_the_processes_of_a_command_are_added_up(tmp_path: Path) -> None:
    hold = "held = b'x' * 100_000_000; import time; time.sleep(1.5)"
    both = f"import subprocess, sys; other = subprocess.Popen([sys.executable, '-c', {hold!r}]); {hold}; other.wait()"
    done = run([sys.executable, "-c", both], env=os.environ, cwd=tmp_path, postgres=os.getpid())
    assert 200 < done.peak < 300


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="gone wrong"):
        run([sys.executable, "-c", "exit('gone wrong')"], env=os.environ, cwd=tmp_path, postgres=os.getpid())
