"""The ledger's tables (schema `sluice`), as SQLAlchemy metadata. Migrations create them: `sluice/migrations/`.

The ledger lives in the target's own database, so that a chunk's rows, its rejects and its ledger row commit in
one transaction. `docs/ledger.md` describes each table for the people who query it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from sluice.model import Status
from sluice.names import SCHEMA

metadata = MetaData(schema=SCHEMA)


def _counts() -> list[Column[int]]:
    names = ("records", "loaded", "updated", "unchanged", "skipped", "rejected", "blank_lines")
    return [Column(name, BigInteger, nullable=False, server_default=text("0")) for name in names]


def _import_id(*, primary_key: bool = True) -> Column[int]:
    """Without a foreign key: its check cost half of writing a reject (22 us a row with it, 10 without), and the
    fence that begins every transaction holds the import's row already. Who deletes imports deletes these, too."""
    return Column("import_id", BigInteger, primary_key=primary_key, nullable=False)


def _json(name: str, default: str = "{}") -> Column[object]:
    return Column(name, JSONB, nullable=False, server_default=text(f"'{default}'::jsonb"))


imports = Table(
    "imports",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("dataset", Text),
    Column("table_name", Text, nullable=False, comment="schema.name of the target"),
    Column("source", Text, nullable=False, comment="URI without credentials"),
    Column("sha256", Text, nullable=False, comment="of the source's bytes as stored"),
    Column("size", BigInteger, nullable=False, comment="bytes of the source as stored"),
    Column("fingerprint", Text, nullable=False, comment="content + target + every option that changes the outcome"),
    Column("force_no", Integer, nullable=False, server_default=text("0"), comment="above 0: imported again with --force"),
    _json("options"),
    _json("dialect"),
    _json("plan"),
    Column("status", Text, nullable=False, server_default=text("'running'")),
    Column("attempt", Integer, nullable=False, server_default=text("1"), comment="fencing number: one more at every resume, cancel and undo"),
    *_counts(),
    Column("bytes_total", BigInteger, nullable=False, server_default=text("0"), comment="of the decompressed text in UTF-8"),
    Column("bytes_done", BigInteger, nullable=False, server_default=text("0")),
    _json("errors_by_category"),
    _json("errors_by_rule"),
    _json("warnings_by_rule"),
    Column("suite_result", JSONB, comment="Great Expectations' result for the whole file"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("finished_at", DateTime(timezone=True)),
    Column("seconds", Double, nullable=False, server_default=text("0"), comment="spent by all attempts together"),
    Column("flow_run_id", Text),
    Column("started_by", Text),
    Column("message", Text, nullable=False, server_default=text("''")),
    Column("first_pass", JSONB, comment="of a large file whose import is not complete: its stamp and its chunks"),
    CheckConstraint("status IN ({})".format(", ".join(f"'{s}'" for s in Status)), name="imports_status_known"),
    # What makes a second claim of the same content fail, however many processes try at once.
    Index(
        "imports_content_once",
        "fingerprint",
        "force_no",
        unique=True,
        postgresql_where=text("status <> 'undone'"),
    ),
    Index("imports_dataset", "dataset", "id"),
)  # fmt: skip

chunks = Table(
    "chunks",
    metadata,
    Column("import_id", ForeignKey(f"{SCHEMA}.imports.id", ondelete="CASCADE"), primary_key=True),
    Column("byte_start", BigInteger, primary_key=True),
    Column("byte_end", BigInteger, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    *_counts(),
    _json("errors"),
    _json("warnings"),
    Column("metrics", JSONB, comment="partial results of the suite, summed over the chunks at the end"),
    Column("seconds", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("committed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)

rejected_rows = Table(
    "rejected_rows",
    metadata,
    _import_id(),
    Column("line", BigInteger, primary_key=True, comment="physical line of the record's first byte, as an editor counts"),
    Column("byte_offset", BigInteger, nullable=False, comment="in the decompressed text in UTF-8"),
    Column("raw", LargeBinary, nullable=False, comment="the source's bytes, without the line end"),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    CheckConstraint("state IN ('open', 'replayed', 'discarded')", name="rejected_rows_state_known"),
)  # fmt: skip

row_errors = Table(
    "row_errors",
    metadata,
    _import_id(primary_key=False),
    Column("line", BigInteger, nullable=False),
    Column("column", Text),
    Column("code", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("value", Text),
    Index("row_errors_line", "import_id", "line"),
)

before_images = Table(
    "before_images",
    metadata,
    _import_id(primary_key=False),
    Column("line", BigInteger, comment="the line of the file that overwrote it; NULL for a replaced table"),
    Column("op", Text, nullable=False),
    Column("key", JSONB, comment="array of the key's values, in the order of the dataset's key"),
    Column("image", JSONB, nullable=False, comment="the row as it was"),
    CheckConstraint("op IN ('update', 'delete')", name="before_images_op_known"),
    Index("before_images_line", "import_id", "line"),
)

#: Keys this import has met but left no lineage mark on (skipped, unchanged, or a table without lineage):
#: without them, whether a later row of the file repeats a key could not be told. Emptied when the import ends.
touched_keys = Table(
    "touched_keys",
    metadata,
    _import_id(),
    Column("key", Text, primary_key=True, comment="jsonb_build_array(key columns)::text"),
    Column("line", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, comment="skipped, unchanged, loaded or updated"),
)

#: Values under a uniqueness rule that is not the key, judged over the whole file at the end. Emptied then.
unique_values = Table(
    "unique_values",
    metadata,
    _import_id(primary_key=False),
    Column("rule", Integer, nullable=False, comment="position in the suite's uniqueness rules"),
    Column("line", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("byte_length", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Index("unique_values_import", "import_id", "rule"),
)
