"""Which of PostgreSQL's errors are about a row, and what the row is then rejected with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa

from sluice.codes import category_of
from sluice.loadplan import LoadPlan
from sluice.route import ERRORS_SCHEMA

#: SQLSTATEs that say the row is at fault, as prefixes: data exception, integrity constraint violation, WITH CHECK
#: OPTION, unhandled user-defined exception (SQL/PSM's 45000, customary in triggers), a trigger's RAISE (P0001) or
#: SELECT INTO STRICT (P0002, P0003), an index entry or JSON nesting beyond a limit (54000, 54001).
#: Everything else (connection, space, rights, locks, timeouts, serialization, an unknown table) ends the import.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
ROW_STATES = ("22", "23", "44", "45", "P0001", "P0002", "P0003", "54000", "54001")

#: Raised by our own SQL when a trigger swallowed a row: no error, and no row either.
DISCARDED = "SLDIS"

#: Raised by our own SQL when another transaction changed a row between two statements: look again.
CHANGED = "SLCHG"

UNIQUE_VIOLATION = "23505"

_CODES = {
    "23514": "db.check_violation",
    "44000": "db.check_violation",
    "23502": "db.not_null_violation",
    "23503": "db.foreign_key_violation",
    "23001": "db.foreign_key_violation",
    UNIQUE_VIOLATION: "db.unique_violation",
    "23P01": "db.exclusion_violation",
}

#: "Failing row contains (...)" repeats the row, which is kept anyway, and every other column's values with it.
_REPEATS_THE_ROW = frozenset({"23514", "23502", "44000"})

_MOST_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server's answer to one row."""

    line: int
    state: str
    message: str
    detail: str | None = None
    column: str | None = None
    constraint: str | None = None


def is_row_error(state: str | None) -> bool:
    """Whether a SQLSTATE says that a row is at fault."""
    return state is not None and state.startswith((*ROW_STATES, DISCARDED))


@dataclass(frozen=True, slots=True)
class RowError:
    """One entry of `row_errors`, but for the value."""

    line: int
    column: str | None
    code: str
    message: str

    @property
    def category(self) -> str:
        return str(category_of(self.code))


def explain(refusal: Refusal, plan: LoadPlan, columns: Mapping[str, str]) -> RowError:
    """What the row is rejected with; `columns` names the column of each constraint on a single one."""
    if refusal.state == UNIQUE_VIOLATION and plan.keyed and refusal.constraint in plan.key_constraints:
        return duplicate(refusal.line, plan, None)
    code = _CODES.get(refusal.state) or ("db.data_exception" if refusal.state.startswith("22") else "db.refused")
    message = refusal.message
    if refusal.detail and refusal.state not in _REPEATS_THE_ROW:
        message = f"{message}: {refusal.detail}"
    message = message.replace(f' "staging_{plan.import_id}"', "")  # no name a reader could know
    return RowError(
        refusal.line, refusal.column or columns.get(refusal.constraint or ""), code, message[:_MOST_CHARACTERS]
    )


def duplicate(line: int, plan: LoadPlan, first_line: int | None) -> RowError:
    """A row whose key is taken: by line `first_line` of the file, or (None) by a row of the table."""
    holder = f"Line {first_line} of this file" if first_line is not None else f"A row of {plan.into}"
    return RowError(line, ", ".join(plan.key), "key.duplicate", f"{holder} has the same key ({', '.join(plan.key)}).")


def constraint_columns(conn: psycopg.Connection[Any], plan: LoadPlan) -> dict[str, str]:
    """The column of each constraint and unique index of the table that is about a single column, by its name."""
    rows = conn.execute(
        """
        SELECT c.name, a.attname FROM (
            SELECT conname AS name, conrelid AS relation, conkey[1] AS number
            FROM pg_catalog.pg_constraint WHERE cardinality(conkey) = 1
            UNION SELECT x.relname, i.indrelid, i.indkey[0]
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indnatts = 1
        ) c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.number
        WHERE c.relation = %s::regclass
        """,
        [plan.table.as_string(conn)],
    ).fetchall()
    return dict(rows)


def value_of(plan: LoadPlan, column: str | None, text: Callable[[str], str | None]) -> str | None:
    """The offending value: `text` gives a column's; of a key of several columns it is all of them."""
    if column is not None and column in plan.columns:
        return text(column)
    if column is not None and column == ", ".join(plan.key):
        return ", ".join(text(name) or "" for name in plan.key)
    return None


def errors_table(errors: Sequence[RowError], values: Sequence[str | None]) -> pa.Table:
    """Errors and their values as `ERRORS_SCHEMA`."""
    columns = {
        "line": [error.line for error in errors],
        "column": [error.column for error in errors],
        "code": [error.code for error in errors],
        "category": [error.category for error in errors],
        "message": [error.message for error in errors],
        "value": list(values),
    }
    return pa.table(columns, schema=ERRORS_SCHEMA)
