"""What a sample says about a file's form: delimiter, quote, escape, preamble, header. Pure and deterministic.

Every candidate is tried with the strict reader itself. The first record decides more than the others: names in a
header seldom hold another delimiter, whereas prices ("1,50") and remarks in the rows do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sluice.fields import Record, fields, records
from sluice.model import Dialect
from sluice.names import normalise_header

#: In the order of preference where all else is equal. The rest are believed only if every record agrees.
DELIMITERS = (",", ";", "\t", "|")
RARE_DELIMITERS = ("\x1f", "^", "~", ":")

#: How much of a sample is looked at: enough to be sure, little enough to take milliseconds.
_BYTES, _RECORDS = 256 * 1024, 100
#: Titles and remarks before the table end within this many records.
_PREAMBLE = 30
#: Share of the records behind a supposed preamble that must be as wide as the supposed header.
_STEADY = 0.8

_NUMBER = re.compile(r"[-+]?[$€£]?\s?(\d{1,3}([., ' ]\d{3})+|\d+)([.,]\d+)?([eE][-+]?\d+)?\s?[%€$]?|[-+]?[.,]\d+")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(:\d{2})?.*")
_DATA = re.compile(
    r"[^@\s]+@[^@\s]+\.\w+|https?://\S+|[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?i:true|false)"
)
_LABEL = re.compile(r"#?[^\W\d][\w .,/()%&'’#?:*°€$+-]{0,99}")


@dataclass(frozen=True, slots=True)
class Row:
    """A record of the sample: its fields (none where the grammar refuses it) and its 0-based physical line."""

    values: tuple[str, ...]
    quoted: tuple[bool, ...]
    line: int

    @property
    def width(self) -> int:
        return len(self.values)

    @property
    def filled(self) -> int:
        return sum(bool(value.strip()) for value in self.values)


@dataclass(frozen=True, slots=True)
class Reading:
    """The sample read one way. `head` is the first row of the table: header or data; `quality` 0 to 1."""

    dialect: Dialect
    rows: tuple[Row, ...]
    head: int
    matches: int
    quality: float

    @property
    def width(self) -> int:
        return self.rows[self.head].width if self.rows else 0


def best_reading(text: bytes, base: Dialect, told: Collection[str], known: Collection[str]) -> Reading:
    """The most convincing way to read a text.

    Args:
        base: what is settled; `told` names the fields of it that may not be changed.
        known: normalised names a header may hold.
    """
    readings = [_read(text, dialect, told, known) for dialect in _candidates(text, base, told)]
    # max() keeps the first of equals, so the order of preference decides.
    best = max(readings, key=lambda reading: (reading.matches, reading.quality))
    if best.quality or best.matches or "delimiter" in told:
        return best
    for delimiter in RARE_DELIMITERS:
        rare = _read(text, replace(best.dialect, delimiter=delimiter), told, known)
        if rare.quality == 1.0 and len(rare.rows) > 1 and all(map(_LABEL.fullmatch, rare.rows[0].values)):
            return rare
    return best


def _candidates(text: bytes, base: Dialect, told: Collection[str]) -> Iterator[Dialect]:
    quote = base.quote if "quote" in told else _quote(text)
    escapes = [base.escape]
    if "escape" not in told and quote is not None and b"\\" + quote.encode() in text[:_BYTES]:
        escapes.append("\\")
    delimiters = [base.delimiter] if "delimiter" in told else [mark for mark in DELIMITERS if mark != quote]
    for escape in escapes:
        for delimiter in delimiters:
            if delimiter != escape:
                yield replace(base, delimiter=delimiter, quote=quote, escape=escape)


def _quote(text: bytes) -> str:
    """The double quote, unless whole fields on most lines stand in single quotes and none in double ones."""
    whole = rb"""(?m)(?:^|[,;\t|])%s[^%s\r\n]*%s(?=[,;\t|\r]|$)"""
    lines = text[:_BYTES].splitlines()[: _RECORDS + 1]
    start = b"\n".join(lines)
    single = re.compile(whole % (b"'", b"'", b"'"))
    double = re.compile(whole % (b'"', b'"', b'"'))
    if double.search(start) or 2 * sum(single.search(line) is not None for line in lines) < len(lines):
        return '"'
    return "'" if len(single.findall(start)) >= 2 else '"'


def _read(text: bytes, dialect: Dialect, told: Collection[str], known: Collection[str]) -> Reading:
    start = text[:_BYTES]
    found = islice(records(start, dialect, complete=len(start) == len(text)), _RECORDS)
    rows = tuple(_row(record, dialect) for record in found)
    if not rows:
        return Reading(dialect, rows, 0, 0, 0.0)
    head = 0 if "skip_lines" in told else _head(rows, known)
    width = rows[head].width
    body = rows[head:]
    steady = sum(row.width == width for row in body) / len(body)
    quality = 0.0
    if width > 1:
        clean = [_clean(row, dialect.delimiter) for row in body if row.width == width]
        quality = steady * (sum(clean) / len(clean)) * (0.9 if head else 1.0)
    return Reading(dialect, rows, head, _matches(rows[head], known), quality)


def _row(record: Record, dialect: Dialect) -> Row:
    if record.code is not None:
        return Row((), (), record.line)
    values, quoted = zip(*fields(record, dialect), strict=True)
    return Row(values, quoted, record.line)


def _clean(row: Row, delimiter: str) -> float:
    """The share of a row's fields that do not look as if another delimiter should have cut them."""
    others = [mark for mark in DELIMITERS if mark != delimiter]
    good = 0
    for value, quoted in zip(row.values, row.quoted, strict=True):
        plain = quoted or _NUMBER.fullmatch(value.strip()) is not None
        good += plain or not any(mark in (value.replace(", ", "") if mark == "," else value) for mark in others)
    return good / row.width


def _matches(row: Row, known: Collection[str]) -> int:
    return len({normalise_header(value.strip("\ufeff\"' ")) for value in row.values} & set(known))


def _head(rows: Sequence[Row], known: Collection[str]) -> int:
    """The first row of the table, after titles, remarks and hints."""
    first = rows[:_PREAMBLE]
    matches = [_matches(row, known) for row in first]
    if max(matches) > 0:
        # One word in a title may be a column's name by chance; two are a header.
        return matches.index(max(matches)) if max(matches) > 1 else (0 if matches[0] else _after_titles(rows))
    return _after_titles(rows)


def _after_titles(rows: Sequence[Row]) -> int:
    width = _usual_width(rows)
    if width < 2:
        comments = 0
        while comments < len(rows) - 1 and rows[comments].values[:1] and rows[comments].values[0].startswith("# "):
            comments += 1
        return comments
    for head, row in enumerate(rows[:_PREAMBLE]):
        if row.width != width or row.filled <= 1 or row.values[0].startswith("# "):
            continue
        steady = sum(later.width == width for later in rows[head:]) / len(rows[head:])
        if head == 0 or len(rows) - head < 2 or steady < _STEADY:
            return 0
        before = rows[:head]
        gap = rows[head].line > rows[head - 1].line + 1
        if all(_is_title(title) for title in before) or gap or _contrasts(rows[head:]):
            return head
        return 0
    return 0


def _usual_width(rows: Sequence[Row]) -> int:
    return Counter(row.width for row in rows).most_common(1)[0][0]


def _is_title(row: Row) -> bool:
    """A line before a table: one text, perhaps padded with delimiters as spreadsheets do, or a comment."""
    return row.filled <= 1 or row.values[0].startswith("#")


def has_header(reading: Reading) -> bool:
    """Whether the first row of the table names columns: it matches known names, or differs in kind from the rest."""
    if not reading.rows or reading.matches:
        return True
    head, body = reading.rows[reading.head], reading.rows[reading.head + 1 :]
    if not head.values:
        return True
    if any(_is_data(value) for value in head.values) and not _year_columns(head):
        return _contrasts(reading.rows[reading.head :])
    values = [value.strip() for value in head.values]
    if any(
        value and value in {row.values[at].strip() for row in body if at < row.width} for at, value in enumerate(values)
    ):
        return bool(body) and _contrasts(reading.rows[reading.head :])
    return any(values) or _contrasts(reading.rows[reading.head :])


def _is_data(value: str) -> bool:
    value = value.strip()
    return any(pattern.fullmatch(value) for pattern in (_NUMBER, _DATE, _DATA))


def _year_columns(row: Row) -> bool:
    """A label and different years: a table with a column a year."""
    numbers = [value.strip() for value in row.values if _is_data(value)]
    years = {number for number in numbers if re.fullmatch(r"(19|20)\d\d", number)}
    return len(row.values) > len(numbers) == len(years) > 1


def _contrasts(rows: Sequence[Row]) -> bool:
    """More columns hold data under a label than data under data."""
    head, body = rows[0], [row for row in rows[1:] if row.width == rows[0].width]
    votes = 0
    for at, name in enumerate(head.values):
        column = [row.values[at] for row in body if row.values[at].strip()]
        if column and sum(map(_is_data, column)) > 0.7 * len(column):
            votes += -1 if _is_data(name) or not name.strip() else 1
        elif _is_data(name):
            votes -= 1
    return votes > 0
