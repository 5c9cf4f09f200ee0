"""Results as Markdown: tables, the machine they are from, and their places in docs/benchmarks.md. Pure."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from tests.bench.scenarios import Entry, Scenario
from tests.bench.session import Result
from tests.bench.steady import Resumed, Steady


class PageError(Exception):
    """docs/benchmarks.md has no place for the results, or more than one."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of some measurements."""

    middle: float
    least: float
    most: float

    def __format__(self, digits: str) -> str:
        """`{spread:.1f}`: the median, and the range where it shows at these digits."""
        middle, least, most = (format(value, digits) for value in (self.middle, self.least, self.most))
        return middle if least == most else f"{middle} ({least}-{most})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


Value = Callable[[Result], float | None]


def wall(result: Result) -> float:
    return result.run.wall


def of_import(result: Result) -> float | None:
    return result.seconds


def of_import_or_wall(result: Result) -> float:
    return result.run.wall if result.seconds is None else result.seconds


def ratios(results: Sequence[Result], base: Sequence[Result], value: Value, against: Value) -> Spread | None:
    """`value` a row of `results` to `against` a row of `base`, run by run: those of a pair followed each other, so
    that a machine that is slow for a while is slow for both. None where there is no such value."""
    pairs = [(value(one), one.rows, against(other), other.rows) for one, other in zip(results, base, strict=False)]
    found = [(mine / rows) / (its / its_rows) for mine, rows, its, its_rows in pairs if mine is not None and its]
    return spread(found) if found else None


def table(scenario: Scenario, found: Sequence[Sequence[Result]]) -> str:
    """One scenario's results; entries that were not run are left out."""
    base = found[0]
    with_prefect = any(result.run.prefect for results in found for result in results)
    heads = ["", "rows", "wall s", "us a row", "x", "import s", "x", "client CPU s", "server CPU s"]
    heads += ["Prefect CPU s"] if with_prefect else []
    heads += ["peak MB"]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for entry, results in zip_longest(scenario.entries, found):
        if results:
            lines.append(_row(_cells(entry, results, base, with_prefect=with_prefect)))
    return "\n".join(lines)


def _cells(entry: Entry, results: Sequence[Result], base: Sequence[Result], *, with_prefect: bool) -> list[str]:
    imports = [result.seconds for result in results if result.seconds is not None]
    wall_ratio = ratios(results, base, wall, wall)
    import_ratio = ratios(results, base, of_import, of_import_or_wall)
    cells = [
        entry.name,
        f"{results[0].rows:,}",
        f"{spread([result.run.wall for result in results]):.1f}",
        f"{statistics.median(result.each for result in results):.2f}",
        f"{wall_ratio:.2f}" if wall_ratio else "",
        f"{spread(imports):.1f}" if imports else "",
        f"{import_ratio:.2f}" if import_ratio else "",
        f"{statistics.median(result.run.client for result in results):.1f}",
        f"{statistics.median(result.run.server for result in results):.1f}",
    ]
    if with_prefect:
        cells.append(f"{statistics.median(result.run.prefect for result in results):.1f}")
    return [*cells, f"{max(result.run.peak for result in results):.0f}"]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def profile_table(result: Result, about: Mapping[str, str]) -> str:
    """Stages with their seconds: wall time of all threads added up, CPU, and CPU a row. `about` says what each is."""
    stages = json.loads(result.run.output)["stages"]
    lines = [_row(["stage", "what", "wall s", "CPU s", "CPU us a row"]), _row(["---", "---", *["---:"] * 3])]
    for name, (wall_seconds, cpu) in stages.items():
        each = cpu / result.rows * 1e6
        lines.append(_row([name, about.get(name, ""), f"{wall_seconds:.2f}", f"{cpu:.2f}", f"{each:.2f}"]))
    each = result.run.client / result.rows * 1e6
    lines.append(_row(["the process", "", f"{result.run.wall:.2f}", f"{result.run.client:.2f}", f"{each:.2f}"]))
    return "\n".join(lines)


def validation_table(found: Mapping[str, Any]) -> str:
    """Rows a second and core, by us and by Great Expectations' own validation."""
    rows, ours, stock = found["rows"], found["ours"], found["stock"]
    lines = [_row(["", "thousand rows/s a core", "x"]), _row(["---", "---:", "---:"])]
    for name, seconds in (("sluice: masks and routing", ours), ("stock Batch.validate", stock)):
        speed = spread([rows / one / 1000 for one in seconds])
        factor = spread([theirs / one for one, theirs in zip(seconds, stock, strict=True)])
        lines.append(_row([name, f"{speed:.0f}", f"{factor:.1f}"]))
    same = "Both find the same rows bad." if found["same"] else "**The two do not find the same rows bad.**"
    return "\n".join([*lines, "", f"{rows:,} rows at once, {len(ours)} times in turn. {same}"])


def steady_table(whole: Steady, resumed: Resumed) -> str:
    """The large file: first tenth against last, and the resumed import."""
    (first, last), (early, late) = whole.rates, whole.memory
    lines = [
        _row(["", "first tenth", "last tenth"]),
        _row(["---", "---:", "---:"]),
        _row(["rows/s", f"{first:,.0f}", f"{last:,.0f}"]),
        _row(["most MB held", f"{early:.0f}", f"{late:.0f}"]),
        "",
        f"{whole.rows:,} rows, {whole.size / 1e9:.1f} GB, in {whole.seconds:.0f} s; at most {whole.peak:.0f} MB."
        f" Half of the bytes were committed after {whole.half:.0%} of the time."
        f" Killed at {resumed.share:.0%} of the bytes and started again, it committed its next chunk after"
        f" {resumed.first:.1f} s and was done after {resumed.whole:.1f} s.",
    ]
    return "\n".join(lines)


def part(title: str, body: str, about: str) -> str:
    """A part of the page: what was asked, the answer, and where and when it was measured."""
    return f"### {title}\n\n{body}\n\n{about}\n"


def merged(page: str, parts: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with these parts between `<!-- begin results -->` and `<!-- end results -->`, in this order. Parts
    that are there and were not measured anew stay; those that are in no order any more go.

    Raises:
        PageError: the page has not exactly one such place.
    """
    begin, end = "<!-- begin results -->\n", "<!-- end results -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise PageError("docs/benchmarks.md must have one place for the results.")
    before, rest = page.split(begin)
    inner, after = rest.split(end)
    pieces = re.split(r"^<!-- part (\w+) -->\n", inner, flags=re.MULTILINE)
    known = dict(zip(pieces[1::2], pieces[2::2], strict=True)) | {name: f"{part}\n" for name, part in parts.items()}
    inner = "".join(f"<!-- part {name} -->\n{known[name]}" for name in order if name in known)
    return f"{before}{begin}{inner}{end}{after}"
