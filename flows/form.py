"""The run form of `import-file`: title, description, choices and limits of every parameter.

Prefect takes titles and descriptions of parameters from nowhere but here: `Field(title=...)` is overwritten by the
parameter's name (prefect 3.8, `_internal/pydantic/v2_schema.py`), what stands in `json_schema_extra` is not. The
server holds a run's parameters against this schema before it creates the run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from sluice.request import MOST_WORKERS
from sluice.settings import Settings


def _asked(title: str, description: str, *, choices: list[str] | None = None, **limits: Any) -> FieldInfo:
    extra: dict[str, Any] = {"title": title, "description": description}
    if choices is not None:
        extra["enum"] = choices
    field: FieldInfo = Field(title=title, description=description, json_schema_extra=extra, **limits)
    return field


def datasets() -> list[str] | None:
    """The datasets there are, after an empty choice for a table without one; None where the folder is not there.

    They are a choice for the form only (in the engine, an unknown name has an error of its own that says what there
    is), and as they were when the flow was deployed: deploy again after adding one.
    """
    folder = Settings.from_environment().datasets
    names = sorted(path.parent.name for path in folder.glob("*/dataset.yaml"))
    return ["", *names] if names else None


#: One character; or a word, \\t or \\x1f for one (`sluice.dialect`).
_CHARACTER = r"^(.|[A-Za-z]+|\\(t|x[0-7][0-9A-Fa-f]))?$"

Source = Annotated[
    str,
    _asked(
        "File",
        "Path on the worker's machine, or a URI: s3://bucket/key, gs://, az://, https://. Compressed files "
        "(gzip, zstd, bzip2, xz, zip) are read as they are.",
        pattern=r"\S",
    ),
]
Dataset = Annotated[
    str,
    _asked(
        "Dataset",
        "What good data is: table, columns, types and rules. Empty only with a table below.",
        choices=datasets(),
    ),
]
ModeChoice = Annotated[
    Literal["", "insert", "overwrite", "append", "replace"],
    _asked(
        "Mode",
        "What becomes of rows whose key is in the table already. Empty: as the dataset says.",
    ),
]
CommitChoice = Annotated[
    Literal["", "progressive", "atomic"],
    _asked("Commit", "Rows become visible chunk by chunk, or all at the end. Empty: as the dataset says."),
]
MaxRejects = Annotated[
    str,
    _asked(
        "Most rejected rows",
        "The import fails when more rows are rejected: a number (100) or a percentage (2.5%). "
        "Empty: as the dataset says.",
        pattern=r"^\s*([0-9]{1,18}|[0-9]{1,3}(\.[0-9]+)?\s*%)?\s*$",
    ),
]
Strict = Annotated[bool, _asked("Strict", "Fail at the first rejected row: the same as 0 rejected rows.")]
DryRun = Annotated[bool, _asked("Dry run", "Everything but the load; every error is reported.")]
Force = Annotated[bool, _asked("Force", "Import the file again although it was imported already.")]
Wait = Annotated[
    bool, _asked("Wait", "When another import is writing to the table, wait for its end instead of failing.")
]
Workers = Annotated[
    int,
    _asked(
        "Workers",
        "Processes that load the file together, each with a connection of its own; leave cores to PostgreSQL. "
        "0: one, or on a cluster two.",
        ge=0,
        le=MOST_WORKERS,
    ),
]
Rate = Annotated[int, _asked("Most rows a second", "Load no faster than this; 0: as fast as it goes.", ge=0)]
Resume = Annotated[
    int, _asked("Continue import", "Number of a failed or cancelled import of this file to go on with; 0: none.", ge=0)
]
Sets = Annotated[
    dict[str, str], _asked("Set columns", 'Columns that the run fills instead of the file: {"user_id": "7"}.')
]
Maps = Annotated[
    dict[str, str],
    _asked("Map columns", 'Where a column is found, by header or position: {"email": "E-Mail", "name": "#3"}.'),
]
Table = Annotated[
    str,
    _asked(
        "Table",
        "Without a dataset: schema.name of the table. Its columns are taken from the file's header.",
    ),
]
Infer = Annotated[
    bool, _asked("Infer types", "With a table: types that fit every value of the file (this is the default).")
]
AllText = Annotated[bool, _asked("All text", "With a table: every column is text.")]
Delimiter = Annotated[
    str,
    _asked("Delimiter", "One character, or a word: tab, semicolon, pipe. Empty: found out.", pattern=_CHARACTER),
]
Quote = Annotated[
    str, _asked("Quote", "One character, or the word none for no quoting. Empty: found out.", pattern=_CHARACTER)
]
Escape = Annotated[
    str,
    _asked(
        "Escape",
        "One character that escapes a quote inside a quoted field. Empty: quotes are doubled.",
        pattern=_CHARACTER,
    ),
]
Encoding = Annotated[
    str,
    _asked(
        "Encoding", "utf-8, windows-1252, iso-8859-1, utf-16 ... Empty: found out.", pattern="^[A-Za-z0-9._: -]{0,40}$"
    ),
]
NoHeader = Annotated[bool, _asked("No header", "The first record is data; columns are found by position.")]
SkipLines = Annotated[int, _asked("Lines to skip", "Lines before the header; -1: found out.", ge=-1)]
Nulls = Annotated[list[str], _asked("Texts for NULL", "Texts that are read as NULL in every column, besides nothing.")]
StrayQuotes = Annotated[
    Literal["", "reject", "literal"],
    _asked(
        "Stray quotes",
        "A quote inside a field without quotes: reject the row, or keep it as text. Empty: as the dataset says.",
    ),
]
ShortRows = Annotated[
    Literal["", "reject", "pad"],
    _asked("Short rows", "A row with too few fields: reject it, or fill it up with NULL. Empty: as the dataset says."),
]
