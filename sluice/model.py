"""The values an import is made of. All frozen; nothing here touches a file, a database or Great Expectations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from sluice.codes import Category


class Mode(StrEnum):
    """What happens to rows whose key is in the table already, and to the rows that are there."""

    INSERT = "insert"
    OVERWRITE = "overwrite"
    APPEND = "append"
    REPLACE = "replace"


class Commit(StrEnum):
    """When rows become visible: chunk by chunk, or all at once at the end."""

    PROGRESSIVE = "progressive"
    ATOMIC = "atomic"


class OnDuplicate(StrEnum):
    """Mode `insert`: what becomes of a row whose key was in the table before this import."""

    SKIP = "skip"
    REJECT = "reject"


class ExtraColumns(StrEnum):
    REJECT_FILE = "reject_file"
    IGNORE = "ignore"
    KEEP = "keep"


class MissingColumns(StrEnum):
    REJECT_FILE = "reject_file"
    NULL = "null"


class StrayQuotes(StrEnum):
    REJECT = "reject"
    LITERAL = "literal"


class ShortRows(StrEnum):
    REJECT = "reject"
    PAD = "pad"


class Format(StrEnum):
    """What a text is: CSV, one JSON array of objects, or a JSON object on every line."""

    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"


class Status(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_REJECTS = "completed_with_rejects"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDONE = "undone"


class Severity(StrEnum):
    """Great Expectations' own three. Critical routes a row to the error table; the others load and count it."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class TypeName(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    BIGINT = "bigint"
    NUMERIC = "numeric"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    UUID = "uuid"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A dataset's column type. `format` is a strptime format (date, timestamp); None means ISO 8601.

    `precision` and `scale` are numeric's. A timestamp whose format holds %z is PostgreSQL's timestamptz.
    """

    name: TypeName
    precision: int | None = None
    scale: int | None = None
    format: str | None = None

    @property
    def code(self) -> str:
        """The code of a value that does not cast."""
        return f"type.{self.name}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the target table and where its value comes from.

    `sources` are header aliases (compared without case, blanks, `_` and `-`) or `#N` (1-based position);
    the column's own name always counts as one. `null` are texts read as NULL besides the empty unquoted field.
    `set_by` names the run parameter (`--set NAME=VALUE`) that fills the column instead of the file.
    """

    name: str
    type: ColumnType
    sources: tuple[str, ...] = ()
    required: bool = False
    default: str | None = None
    trim: bool = False
    null: tuple[str, ...] = ()
    set_by: str | None = None


@dataclass(frozen=True, slots=True)
class TableName:
    """`schema.name`, each part as PostgreSQL stores it (no quotes)."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class MaxRejects:
    """The most rejected rows an import may have: a count, or a percentage of the file's records."""

    count: int | None = None
    percent: float | None = None

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else str(self.count)


@dataclass(frozen=True, slots=True)
class DialectOptions:
    """What was told about the file's form; None means: find out."""

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_lines: int | None = None
    stray_quotes: StrayQuotes | None = None
    short_rows: ShortRows | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the file is written: settled before the first row is read, and stored with the import.

    `delimiter`, `quote` and `escape` are single ASCII characters; `quote` is None where quoting is off and
    `escape` is None where a quote is escaped by doubling it. `skip_lines` physical lines precede the header.
    Of JSON only `format`, `encoding` and, for an array, `indent` count: most blanks before an element that begins
    a line; None where lines do not tell elements from what is nested in them.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    header: bool = True
    skip_lines: int = 0
    stray_quotes: StrayQuotes = StrayQuotes.REJECT
    short_rows: ShortRows = ShortRows.REJECT
    format: Format = Format.CSV
    indent: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """What dataset.yaml says, checked. `suite` is the parsed suite.json, or None where there is none."""

    name: str
    table: TableName
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    on_duplicate: OnDuplicate = OnDuplicate.SKIP
    extra_columns: ExtraColumns = ExtraColumns.REJECT_FILE
    missing_columns: MissingColumns = MissingColumns.REJECT_FILE
    mode: Mode = Mode.INSERT
    commit: Commit = Commit.PROGRESSIVE
    max_rejects: MaxRejects | None = None
    dialect: DialectOptions = DialectOptions()
    lineage: bool = True
    suite: Mapping[str, Any] | None = None

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole records of the file's text, independent of every other chunk.

    `byte_start` and `byte_end` count in the decompressed text in UTF-8, from its first byte after any BOM;
    `first_line` is the physical line (1-based, preamble and header included) at `byte_start`; `lines` is how
    many physical lines it holds. `oversize` marks a chunk that is one physical line longer than a record may
    be: it is rejected unread.
    """

    index: int
    byte_start: int
    byte_end: int
    first_line: int
    lines: int
    oversize: bool = False

    @property
    def size(self) -> int:
        return self.byte_end - self.byte_start


@dataclass(frozen=True, slots=True)
class BadLine:
    """One physical line (or one record) that the strict reader refuses; `raw` is its bytes without the line end."""

    line: int
    byte_offset: int
    raw: bytes
    code: str
    message: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule broken by some rows of a chunk: an object a rule, not a row, so that 20 % bad rows stay cheap.

    `rows` are positions in the chunk's table, ascending; `values` the offending values as text, one a row.
    """

    code: str
    column: str | None
    message: str
    rows: npt.NDArray[np.int64]
    values: list[str | None]
    severity: Severity = Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Counts:
    """Where the records of a chunk, or of a whole import, ended. `blank_lines` are no records."""

    records: int = 0
    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0
    blank_lines: int = 0

    @property
    def balanced(self) -> bool:
        """The identity every import must satisfy."""
        return self.records == self.loaded + self.updated + self.unchanged + self.skipped + self.rejected

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an import; the fields are the keys of `--json`. Times are ISO 8601 in UTC, `seconds` run
    from the claim to the last commit, `bytes` is the size of the source as stored."""

    import_id: int | None
    status: Status
    dataset: str | None
    table: str
    source: str
    sha256: str
    bytes: int
    records: int
    loaded: int
    updated: int
    unchanged: int
    skipped: int
    rejected: int
    errors_by_category: dict[Category, int]
    errors_by_rule: dict[str, int]
    warnings_by_rule: dict[str, int]
    seconds: float
    rows_per_second: float
    started_at: str
    finished_at: str
    flow_run_id: str | None = None
    message: str = ""
    samples: tuple[SampleError, ...] = field(default=(), metadata={"json": False})

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, with exactly the keys of the interface."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__ if name != "samples"}


@dataclass(frozen=True, slots=True)
class SampleError:
    """An example of a rejected row, for people."""

    line: int
    column: str | None
    code: str
    message: str
    value: str | None


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    return value
