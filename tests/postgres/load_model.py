"""Shared by the tests of loading: making chunks, an import's row, and a model of the rules in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from sluice.loadplan import LoadPlan, Outcome
from sluice.model import Chunk, Counts, Mode, OnDuplicate, TableName
from sluice.route import ERRORS_SCHEMA, RejectedRow, Routed

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

#: The model's table: id is the key, amount must not be negative, code is unique besides.
COLUMNS = ("id", "amount", "code")
SCHEMA = pa.schema([("id", pa.int32()), ("amount", pa.int64()), ("code", pa.string())])
TABLE = TableName("public", "things")


def new_import(conn: Connection, table: TableName = TABLE) -> int:
    """A row in `sluice.imports`; its id."""
    row = conn.execute(
        "INSERT INTO sluice.imports (table_name, source, sha256, size, fingerprint)"
        " VALUES (%s, 'file.csv', 'x', 1, %s) RETURNING id",
        [str(table), uuid4().hex],
    ).fetchone()
    assert row is not None
    return int(row[0])


def chunk_of(table: pa.Table, lines: Sequence[int] | None = None) -> Routed:
    """`table` as a chunk whose rows all passed the rules; line 2 is the first unless told."""
    numbers = list(lines) if lines is not None else list(range(2, table.num_rows + 2))
    return Routed(
        chunk=Chunk(0, 0, 100, numbers[0] if numbers else 2, len(numbers)),
        records=table.num_rows,
        table=table,
        lines=np.array(numbers, np.int64),
        good=np.arange(table.num_rows),
        rejected=[],
        errors=ERRORS_SCHEMA.empty_table(),
        as_reject=lambda position: raw_of(numbers[position]),
    )


def raw_of(line: int) -> RejectedRow:
    return RejectedRow(line, line * 10, b"line %d" % line)


def rows_table(rows: Iterable[Row], schema: pa.Schema = SCHEMA) -> pa.Table:
    rows = list(rows)
    return pa.table(
        {name: pa.array([row[i] for row in rows], schema.field(name).type) for i, name in enumerate(schema.names)}
    )


def create_things(conn: Connection, *, lineage: bool, rows: Iterable[Row] = ()) -> None:
    marks = ", _import_id bigint, _line bigint" if lineage else ""
    conn.execute(
        sql.SQL(
            "CREATE TABLE public.things (id int CONSTRAINT things_key PRIMARY KEY,"
            " amount bigint CONSTRAINT things_amount CHECK (amount >= 0),"
            " code text CONSTRAINT things_code UNIQUE {})"
        ).format(sql.SQL(marks))
    )
    for row in rows:
        conn.execute("INSERT INTO public.things (id, amount, code) VALUES (%s, %s, %s)", row)


def things_plan(
    import_id: int,
    mode: Mode = Mode.INSERT,
    on_duplicate: OnDuplicate = OnDuplicate.SKIP,
    *,
    lineage: bool = True,
    binary: bool = True,
) -> LoadPlan:
    return LoadPlan(
        import_id=import_id,
        into=TABLE,
        columns=COLUMNS,
        key=() if mode is Mode.APPEND else ("id",),
        key_constraints=frozenset({"things_key"}),
        mode=mode,
        on_duplicate=on_duplicate,
        lineage=lineage,
        wire=("int4", "int8", "text") if binary else None,
    )


def things(conn: Connection) -> list[Row]:
    return conn.execute("SELECT id, amount, code FROM public.things ORDER BY id").fetchall()


def codes_of(outcome: Outcome) -> dict[int, str]:
    """line -> code."""
    return dict(zip(outcome.errors["line"].to_pylist(), outcome.errors["code"].to_pylist(), strict=True))


def counts_of(outcome: Outcome) -> Counts:
    done = outcome.loaded + outcome.updated + outcome.unchanged + outcome.skipped
    rejected = len(outcome.rejected)
    return Counts(done + rejected, outcome.loaded, outcome.updated, outcome.unchanged, outcome.skipped, rejected)


@dataclass
class Model:
    """The rules, one row after the other, on a dict."""

    plan: LoadPlan
    table: dict[int, Row]
    seen: set[int] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)
    codes: dict[int, str] = field(default_factory=dict)

    def load(self, rows: Mapping[int, Row]) -> None:
        for line, row in rows.items():
            kind = self._place(row)
            if "." in kind:
                self.codes[line] = kind
                kind = "rejected"
            else:
                self.seen.add(row[0])
            self.counts = replace(
                self.counts, records=self.counts.records + 1, **{kind: getattr(self.counts, kind) + 1}
            )

    def _place(self, row: Row) -> str:
        key = row[0]
        if key in self.seen:
            return "key.duplicate"
        there = self.table.get(key)
        if there is not None and self.plan.mode is Mode.INSERT:
            return "skipped" if self.plan.on_duplicate is OnDuplicate.SKIP else "key.duplicate"
        if there == row:
            return "unchanged"
        if row[1] is not None and row[1] < 0:
            return "db.check_violation"
        if any(other != key and theirs[2] is not None and theirs[2] == row[2] for other, theirs in self.table.items()):
            return "db.unique_violation"
        self.table[key] = row
        return "loaded" if there is None else "updated"
