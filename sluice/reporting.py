"""The ledger's answer in forms to hand out: the report of an import, and its rejected rows as a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg

from sluice import history
from sluice.claim import held_by_another
from sluice.codes import Category
from sluice.history import ImportRow, RejectedRecord
from sluice.json_parse import Keys
from sluice.json_values import Unfit, members_of
from sluice.location import locate
from sluice.model import Counts, Dialect, Format, Report, Status
from sluice.parse import split_record
from sluice.recipe import dialect_from

Connection = psycopg.Connection[tuple[Any, ...]]

#: Examples in a report: enough to see what kind of thing is wrong, few enough to read.
SAMPLES = 5

#: A cell a spreadsheet would run (https://owasp.org/www-community/attacks/CSV_Injection). A sign followed by
#: nothing but digits and the punctuation of numbers and telephone numbers is data.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d\s().,/x#-]*$)")


def report_of(connection: Connection, import_id: int) -> Report:
    """The report of an import as the ledger has it. Raises UsageError when there is none of that number."""
    row = history.get(connection, import_id)
    counts, errors_by_category, errors_by_rule, warnings = _counts_of(connection, row)
    return Report(
        import_id=row.id,
        status=Status(row.status),
        dataset=row.dataset,
        table=row.table_name,
        source=row.source,
        sha256=row.sha256,
        bytes=row.size,
        records=counts.records,
        loaded=counts.loaded,
        updated=counts.updated,
        unchanged=counts.unchanged,
        skipped=counts.skipped,
        rejected=counts.rejected,
        errors_by_category={category: int(errors_by_category.get(category, 0)) for category in Category},
        errors_by_rule=dict(sorted(errors_by_rule.items())),
        warnings_by_rule=dict(sorted(warnings.items())),
        seconds=round(row.seconds, 3),
        rows_per_second=round(counts.records / row.seconds, 1) if row.seconds else 0.0,
        started_at=row.started_at.isoformat(),
        finished_at=row.finished_at.isoformat() if row.finished_at else "",
        flow_run_id=row.flow_run_id,
        message=row.message or _silence(connection, row),
        samples=history.samples(connection, import_id, SAMPLES),
    )


def _silence(connection: Connection, row: ImportRow) -> str:
    """What there is to say about an import that is `running` in the ledger, while nobody holds its table."""
    if row.status != Status.RUNNING or held_by_another(connection, row.table):
        return ""
    return (
        f"Import #{row.id} has no process: it was killed, or has lost the database for a moment. What it had committed "
        f"is kept; the same import again, or `sluice resume {row.id}`, continues it."
    )


def report_of_nothing(source: str, dataset: str | None, message: str) -> Report:
    """The report of an import that failed before it had a number."""
    now = datetime.now(UTC).isoformat()
    return Report(
        import_id=None,
        status=Status.FAILED,
        dataset=dataset,
        table="",
        source=source and locate(source).shown,
        sha256="",
        bytes=0,
        records=0,
        loaded=0,
        updated=0,
        unchanged=0,
        skipped=0,
        rejected=0,
        errors_by_category=dict.fromkeys(Category, 0),
        errors_by_rule={},
        warnings_by_rule={},
        seconds=0.0,
        rows_per_second=0.0,
        started_at=now,
        finished_at=now,
        message=message,
    )


def _counts_of(connection: Connection, row: ImportRow) -> tuple[Counts, dict[str, int], dict[str, int], dict[str, int]]:
    """An ended import's stored totals; of a running one the sum of its chunks so far."""
    if row.status != Status.RUNNING:
        return row.counts, row.errors_by_category, row.errors_by_rule, row.warnings_by_rule
    from sluice.ledger import totals

    sums = totals(connection, row.id)
    return sums.counts, sums.errors_by_category, sums.errors_by_rule, sums.warnings_by_rule


def write_rejects(
    connection: Connection, import_id: int, file: IO[str], *, rule: str | None = None, category: str | None = None
) -> int:
    """Rejected rows as CSV: the source's own columns, then `_line` and `_errors`. How many there were.

    A record with more fields than columns has the surplus in its last one, joined by the delimiter. A cell that a
    spreadsheet would run as a formula begins with an apostrophe.
    """
    row = history.get(connection, import_id)
    dialect = dialect_from(row.dialect)
    names = list(row.plan["names"])
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*(defused(name) for name in names), "_line", "_errors"])
    count = 0
    for record in history.rejected(connection, import_id, rule=rule, category=category):
        cells = cells_of(record.raw, dialect, names)
        writer.writerow([*(defused(cell) for cell in cells), record.line, defused(_reasons(record))])
        count += 1
    return count


def export_rejects(connection: Connection, import_id: int, folder: Path) -> Path:
    """All rejected rows of an import as a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rejects-{import_id}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_rejects(connection, import_id, file)
    return path


def defused(cell: str) -> str:
    """The cell, unless a spreadsheet would take it for a formula: then with an apostrophe before it."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def cells_of(raw: bytes, dialect: Dialect, names: Sequence[str]) -> list[str]:
    """A rejected record's fields, as well as they can be told apart: one for each of the file's columns.

    Of a JSON object members with other keys are left out, and one that cannot be read is whole in the first cell.
    """
    width = len(names)
    if dialect.format is not Format.CSV:
        return _json_cells(raw, dialect, names)
    text = raw.decode(dialect.encoding, "backslashreplace")
    plain = text.replace("\0", "\\x00").encode()
    cells = [value.decode() for value, _ in split_record(plain, dialect)]
    if len(cells) > width:
        cells[width - 1 :] = [dialect.delimiter.join(cells[width - 1 :])]
    return cells + [""] * (width - len(cells))


def _json_cells(raw: bytes, dialect: Dialect, names: Sequence[str]) -> list[str]:
    row: list[str | None] = [None] * len(names)
    try:
        Keys(names).place(members_of(raw.decode(dialect.encoding).strip(" \t\r\n")), row)
    except (Unfit, UnicodeDecodeError):
        row[:1] = [raw.decode(dialect.encoding, "backslashreplace").replace("\0", "\\x00")]
    return [cell or "" for cell in row]


def _reasons(record: RejectedRecord) -> str:
    return "; ".join(_reason(record))


def _reason(record: RejectedRecord) -> Iterator[str]:
    for error in record.errors:
        yield f"{f'{error.column}: ' if error.column else ''}{error.message} [{error.code}]"
