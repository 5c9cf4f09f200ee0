"""The values of loading: what is loaded how (`LoadPlan`), and what became of the rows (`Outcome`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
from psycopg import sql

from sluice.model import Mode, OnDuplicate, TableName
from sluice.route import ERRORS_SCHEMA, RejectedRow


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How one import's rows go into one table.

    Attributes:
        into: the table that is loaded: the target, or the staging table of an atomic import.
        columns: the columns of `into` that the file (or the run) fills, in the order of `Routed.table`.
        key: the dataset's key, empty in mode append.
        key_constraints: names of the unique indexes of `into` on exactly the key; what tells `key.duplicate`
            from the violation of another unique constraint.
        lineage: whether `into` has `_import_id` and `_line`.
        wire: the type each of `columns` is sent as in COPY's binary format; None where COPY gets CSV.
        order: the columns by which rows are sorted before they go in together; empty for the file's order.
    """

    import_id: int
    into: TableName
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    key_constraints: frozenset[str] = frozenset()
    mode: Mode = Mode.INSERT
    on_duplicate: OnDuplicate = OnDuplicate.SKIP
    lineage: bool = True
    wire: tuple[str, ...] | None = None
    order: tuple[str, ...] = ()

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.into.schema, self.into.name)

    @property
    def keyed(self) -> bool:
        """Whether a row's key decides what becomes of it."""
        return bool(self.key) and self.mode is not Mode.APPEND

    @property
    def remembers(self) -> bool:
        """Whether every loaded key must be written down, because the table cannot say which import a row is from."""
        return self.keyed and not self.lineage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of good rows: they are `loaded + updated + unchanged + skipped + len(rejected)`.

    Attributes:
        rejected: ascending by line.
        errors: `ERRORS_SCHEMA`, one row a rejected row, ascending by line.
        collided: some row did not go straight in, so that COPY into the table failed, or would have.
    """

    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    errors: pa.Table = field(default_factory=ERRORS_SCHEMA.empty_table)
    collided: bool = False
