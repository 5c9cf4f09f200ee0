"""Metrics of a chunk that add up to the file's: what each table-level metric keeps, and how it merges.

Every merge is exact and in any order, in memory that does not grow with the file. A metric that cannot be had
that way (a median, a count of distinct values) is not here, and the loader refuses rules that need it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.model import ColumnType, TypeName
from sluice.rules.coerce import coerce
from sluice.rules.columns import arrow_type
from sluice.rules.text import text_of
from sluice.rules.values import SAMPLE, Metrics, Suite, TableMetric

#: Distinct unexpected values kept, to bound memory. The verdict stays exact, the count stops here.
MAX_DISTINCT = 1000

_INTEGERS = frozenset({TypeName.INTEGER, TypeName.BIGINT})
_NUMBERS = _INTEGERS | {TypeName.DOUBLE, TypeName.NUMERIC}
_ORDERED = _NUMBERS | {TypeName.DATE, TypeName.TIMESTAMP}
_ANY = frozenset(TypeName)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a table-level metric is about: the type of its column, if it has one, the values it looks for, if any,
    and the table's columns."""

    kind: ColumnType | None
    value_set: tuple[Any, ...]
    columns: tuple[str, ...]


def subject_of(metric: TableMetric, suite: Suite) -> Subject:
    """What the metric is about in a table of the suite's."""
    kind = suite.columns[metric.column] if metric.column is not None else None
    return Subject(kind, metric.value_set, tuple(suite.columns))


class Partial(ABC):
    """A table-level metric in shares."""

    #: Columns it makes sense for.
    types: ClassVar[frozenset[TypeName]] = _ANY

    @abstractmethod
    def empty(self) -> Any:
        """The share of no rows at all."""

    @abstractmethod
    def collect(self, values: pa.Array, subject: Subject) -> Any:
        """The share of one chunk, as JSON. `values` are its rows in the metric's column; if it has none, nulls."""

    @abstractmethod
    def merge(self, one: Any, other: Any) -> Any:
        """Two shares as one."""

    @abstractmethod
    def finish(self, share: Any, subject: Subject) -> Any:
        """The metric's value as Great Expectations would have computed it."""


class RowCount(Partial):
    def empty(self) -> int:
        return 0

    def collect(self, values: pa.Array, subject: Subject) -> int:
        return len(values)

    def merge(self, one: int, other: int) -> int:
        return one + other

    def finish(self, share: int, subject: Subject) -> int:
        return share


@dataclass(frozen=True)
class FromColumns(Partial):
    """A metric about the columns alone, which every chunk has alike."""

    value: Callable[[tuple[str, ...]], Any]

    def empty(self) -> None:
        return None

    def collect(self, values: pa.Array, subject: Subject) -> None:
        return None

    def merge(self, one: None, other: None) -> None:
        return None

    def finish(self, share: None, subject: Subject) -> Any:
        return self.value(subject.columns)


class NonNullProportion(Partial):
    def empty(self) -> list[int]:
        return [0, 0]

    def collect(self, values: pa.Array, subject: Subject) -> list[int]:
        return [len(values) - values.null_count, len(values)]

    def merge(self, one: list[int], other: list[int]) -> list[int]:
        return [one[0] + other[0], one[1] + other[1]]

    def finish(self, share: list[int], subject: Subject) -> float:
        return share[0] / share[1] if share[1] else 0


@dataclass(frozen=True)
class Extreme(Partial):
    """The least or greatest value. Shares are in an order-preserving form: a number as a fraction, a date or
    timestamp as ISO text."""

    types = _ORDERED
    pick: Callable[..., Any]

    def empty(self) -> None:
        return None

    def collect(self, values: pa.Array, subject: Subject) -> str | None:
        if values.null_count == len(values):
            return None
        value = self.pick(pc.min_max(values).as_py().values())
        return value.isoformat() if isinstance(value, date) else str(Fraction(value))

    def merge(self, one: str | None, other: str | None) -> str | None:
        if one is None or other is None:
            return one or other
        return str(self.pick((one, other), key=_order))

    def finish(self, share: str | None, subject: Subject) -> Any:
        if share is None:
            return None
        assert subject.kind is not None
        if subject.kind.name in _NUMBERS:
            return _plain_number(Fraction(share), subject.kind)
        value = datetime.fromisoformat(share)
        return value.date() if subject.kind.name is TypeName.DATE else value


@dataclass(frozen=True)
class Moments(Partial):
    """Count, sum and sum of squares; exact fractions, so that nothing cancels and no order matters."""

    types = _NUMBERS
    value: Callable[[int, Fraction, Fraction, ColumnType], Any]

    def empty(self) -> list[Any]:
        return [0, "0", "0"]

    def collect(self, values: pa.Array, subject: Subject) -> list[Any]:
        assert subject.kind is not None
        present = values.drop_null()
        total, squares = _sums(present)
        return [len(present), str(total), str(squares)]

    def merge(self, one: list[Any], other: list[Any]) -> list[Any]:
        return [one[0] + other[0], *(str(Fraction(a) + Fraction(b)) for a, b in zip(one[1:], other[1:], strict=True))]

    def finish(self, share: list[Any], subject: Subject) -> Any:
        assert subject.kind is not None
        return self.value(share[0], Fraction(share[1]), Fraction(share[2]), subject.kind)


@dataclass(frozen=True)
class OutsideSet(Partial):
    """The distinct values that are not in the rule's set: the first `MAX_DISTINCT` in text order."""

    value: Callable[[list[str]], Any]

    def empty(self) -> list[str]:
        return []

    def collect(self, values: pa.Array, subject: Subject) -> list[str]:
        texts = set(_distinct_texts(values))
        return sorted(texts - set(_set_texts(subject)))[:MAX_DISTINCT]

    def merge(self, one: list[str], other: list[str]) -> list[str]:
        return sorted({*one, *other})[:MAX_DISTINCT]

    def finish(self, share: list[str], subject: Subject) -> Any:
        return self.value(share)


@dataclass(frozen=True)
class MissingFromColumn(Partial):
    """The values of the rule's set that no row holds; a share is those that some row does hold."""

    value: Callable[[list[Any]], Any]

    def empty(self) -> list[str]:
        return []

    def collect(self, values: pa.Array, subject: Subject) -> list[str]:
        return sorted(set(_distinct_texts(values)) & set(_set_texts(subject)))

    def merge(self, one: list[str], other: list[str]) -> list[str]:
        return sorted({*one, *other})

    def finish(self, share: list[str], subject: Subject) -> Any:
        return self.value([value for text, value in _set_texts(subject).items() if text not in share])


def _mean(count: int, total: Fraction, _: Fraction, __: ColumnType) -> float | None:
    return float(total / count) if count else None


def _stdev(count: int, total: Fraction, squares: Fraction, _: ColumnType) -> float | None:
    """Of a sample (n - 1), as pandas computes it."""
    if count < 2:
        return None
    return math.sqrt(max(Fraction(0), (squares - total * total / count) / (count - 1)))


PARTIALS: dict[str, Partial] = {
    "table.row_count": RowCount(),
    "table.columns": FromColumns(list),
    "table.column_count": FromColumns(len),
    "column.non_null_proportion": NonNullProportion(),
    "column.min": Extreme(min),
    "column.max": Extreme(max),
    "column.sum": Moments(lambda count, total, squares, kind: _plain_number(total, kind)),
    "column.mean": Moments(_mean),
    "column.standard_deviation": Moments(_stdev),
    "column.distinct_values.not_in_set": OutsideSet(list),
    "column.distinct_values.not_in_set.count": OutsideSet(len),
    "column.distinct_values.missing_from_column": MissingFromColumn(list),
    "column.distinct_values.missing_from_column.count": MissingFromColumn(len),
}


def merge_metrics(parts: Iterable[Mapping[str, Any]]) -> Metrics:
    """The metrics of several chunks as those of all their rows.

    The result does not depend on the order of `parts`, but for which sample values are kept. No parts: {}.
    """
    merged: Metrics = {}
    for part in parts:
        merged = _merge(merged, part) if merged else dict(part)
    return merged


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> Metrics:
    rows = {rule: _merge_rows(share, other["rows"][rule]) for rule, share in one["rows"].items()}
    tables = {
        rule: {name: PARTIALS[name].merge(share, other["tables"][rule][name]) for name, share in shares.items()}
        for rule, shares in one["tables"].items()
    }
    return {"rows": rows, "tables": tables}


def _merge_rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: one[name] + other[name] for name in ("total", "missing", "judged", "unexpected")}
    return {**counts, "sample": [*one["sample"], *other["sample"]][:SAMPLE]}


def _order(share: str) -> Fraction | str:
    return share if "-" in share[1:] else Fraction(share)


def _plain_number(value: Fraction, kind: ColumnType) -> int | float:
    """As the suite's bounds, which are floats, are compared: a decimal as float, so that 0.30 is 0.3."""
    return int(value) if kind.name in _INTEGERS else float(value)


def _sums(values: pa.Array) -> tuple[Fraction, Fraction]:
    """Sum and sum of squares. Exact for whole numbers and decimals' sum; else to the last bits of a float.

    The squares go through the deviations from the mean, whose sum loses nothing.
    """
    count = len(values)
    if not count:
        return Fraction(0), Fraction(0)
    if pa.types.is_integer(values.type):
        numbers = np.asarray(values)
        # Two halves, since the sum of int64 may not fit one.
        total = Fraction((int((numbers >> 32).sum()) << 32) + int((numbers & 0xFFFFFFFF).sum()))
    elif pa.types.is_decimal(values.type):
        total = Fraction(pc.sum(values).as_py() or Decimal(0))
    else:
        total = Fraction(float(np.asarray(values).sum()))
    floats = np.asarray(values.cast(pa.float64(), safe=False))
    deviations = floats - float(total / count)
    about_mean = Fraction(float((deviations * deviations).sum())) - Fraction(float(deviations.sum())) ** 2 / count
    return total, about_mean + total * total / count


def _distinct_texts(values: pa.Array) -> list[str]:
    texts: list[str] = text_of(values.unique().drop_null()).to_pylist()
    return texts


def _set_texts(subject: Subject) -> dict[str, Any]:
    """Canonical text -> the value as the suite has it; values no cell can equal keep a text no cell has."""
    assert subject.kind is not None
    kind = arrow_type(subject.kind)
    result: dict[str, Any] = {}
    for value in subject.value_set:
        try:
            text = text_of(pa.array([coerce(value, subject.kind)], kind))[0].as_py()
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            text = f"\0{value!r}"
        if text is not None:
            result[text] = value
    return result
