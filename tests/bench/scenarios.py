"""What is measured: each scenario is a question, and the runs that answer it, done in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.bench import datasets
from tests.bench.data import Data, Kind

M = 1_000_000

#: Rows for `--quick` are this many times fewer, but not under the least.
_QUICK, _QUICK_LEAST = 20, 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a scenario's table: a contender with its file and its table.

    Attributes:
        says: the line's name, where the contender's does not say it all.
    """

    contender: str
    data: Data
    dataset: str = datasets.CUSTOMERS
    says: str = ""

    @property
    def name(self) -> str:
        return f"{self.contender}, {self.says}" if self.says else self.contender


@dataclass(frozen=True, slots=True)
class Scenario:
    """Entries that are run in turn, `runs` times. Ratios are to the first one, by time a row.

    Attributes:
        full: only with `--full`, or when it is named.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    runs: int = 3
    full: bool = False


def _customers(rows: int, bad: float = 0, newlines: float = 0) -> Data:
    return Data(Kind.CUSTOMERS, rows, bad, newlines)


def _each(names: str, data: Data, dataset: str = datasets.CUSTOMERS) -> tuple[Entry, ...]:
    """The same for every contender named."""
    return tuple(Entry(name, data, dataset) for name in names.split())


_PAIR, _TRIO = "psql sluice", "psql sluice sluice-workers-2"
_PEERS = "psql sluice adbc dlt-parquet dlt-csv to_sql-psycopg to_sql-psycopg2 pgloader gx"
#: What is too slow for as many rows as the others.
_SLOW = Entry("to_sql-multi", _customers(20_000))

SCENARIOS = (
    Scenario("key", "1 % bad, with the key customer_id (random text)", _each(_TRIO, _customers(2 * M, bad=1)), runs=5),
    Scenario("no_key", "1 % bad, without a key", _each(_TRIO, _customers(2 * M, bad=1), datasets.NO_KEY), runs=5),
    Scenario(
        "bad",
        "What bad rows cost",
        tuple(Entry("sluice", _customers(M, bad=share), says=f"{share} % bad") for share in (0, 1, 20)),
        runs=5,
    ),
    Scenario(
        "flow",
        "As a Prefect flow, with a Prefect server on the same machine",
        _each("sluice sluice-flow", _customers(2 * M, bad=1)),
    ),
    Scenario(
        "size",
        "Time a row of a small file",
        tuple(Entry("sluice", _customers(rows, bad=1)) for rows in (2 * M, M // 5)),
    ),
    Scenario(
        "bigint_key",
        "1 % bad, with the key index (bigint, in order)",
        _each(_PAIR, _customers(M, bad=1), datasets.NUMBERED),
    ),
    Scenario("newlines", "10 % of the rows with a quoted line end", _each(_PAIR, _customers(M // 2, newlines=10))),
    Scenario("narrow", "3 columns", _each(_PAIR, Data(Kind.NARROW, 2 * M), datasets.NARROW_SET)),
    Scenario("wide", "94 columns", _each(_PAIR, Data(Kind.WIDE, M // 10), datasets.WIDE_SET)),
    Scenario("peers", "Other tools", (*_each(_PEERS, _customers(M // 5)), _SLOW)),
    Scenario("peers_large", "Other tools, 2 M rows", (*_each(_PEERS, _customers(2 * M)), _SLOW), full=True),
    Scenario(
        "flow_large",
        "As a Prefect flow, 10 M rows",
        _each("sluice sluice-flow", _customers(10 * M, bad=1)),
        full=True,
    ),
    Scenario(
        "size_large",
        "Time a row of a large file",
        tuple(Entry(name, _customers(rows, bad=1)) for name in ("sluice", "psql") for rows in (2 * M, 10 * M)),
        full=True,
    ),
    Scenario(
        "size_ordered",
        "Time a row of a large file, with the key index (bigint, in order)",
        tuple(Entry("sluice", _customers(rows, bad=1), datasets.NUMBERED) for rows in (2 * M, 10 * M)),
        full=True,
    ),
    Scenario(
        "unique",
        "A rule that customer_id is unique, without a key",
        _each(_PAIR, _customers(M, bad=1), datasets.UNIQUE),
        full=True,
    ),
)


def chosen(*, full: bool, names: list[str], only: list[str], runs: int | None, quick: bool) -> list[Scenario]:
    """The scenarios that were asked for, as they were.

    Args:
        names: of scenarios; none means those of a plain run, with `full` all.
        only: contenders, each with the first of its scenario, which the ratios are to; none means all.
    """
    found = []
    for scenario in SCENARIOS:
        if scenario.name not in names if names else scenario.full and not full:
            continue
        entries = scenario.entries
        if only:
            entries = tuple(e for at, e in enumerate(entries) if at == 0 or e.contender in only)
        if quick:
            entries = tuple(replace(entry, data=_smaller(entry.data)) for entry in entries)
        found.append(replace(scenario, entries=entries, runs=runs or (1 if quick else scenario.runs)))
    return found


def _smaller(data: Data) -> Data:
    return replace(data, rows=max(data.rows // _QUICK, min(data.rows, _QUICK_LEAST)))
