"""The run forms: title, description, choices and limits of every parameter, those of `import-file` in its order.

A title is the option's name in words, so that a message about `--max-rejects` leads to "Max rejects". Prefect takes
titles and descriptions of parameters from nowhere but here: `Field(title=...)` is overwritten by the parameter's name
(prefect 3.8, `_internal/pydantic/v2_schema.py`), what stands in `json_schema_extra` is not. The server holds a run's
parameters against this schema before it creates the run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from sluice.request import MOST_WORKERS
from sluice.settings import Settings


def asked(title: str, description: str, *, choices: list[str] | None = None, **limits: Any) -> FieldInfo:
    """A field of a form. Its limits are those of pydantic's `Field`."""
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
    asked(
        "File",
        "A path on the worker's machine, or an address: https://, s3://bucket/key, gs://, az://. Compressed files "
        "(gzip, zstd, bzip2, xz, zip) are read as they are.",
        pattern=r"\S",
    ),
]
Dataset = Annotated[
    str,
    asked(
        "Dataset",
        "What good data is: table, columns, types and rules. Choose one, or name a table below.",
        choices=datasets(),
    ),
]
Table = Annotated[
    str,
    asked(
        "Table",
        "Only without a dataset: the table as schema.name. It is made from the file's header if it is not there.",
    ),
]
ModeChoice = Annotated[
    Literal["", "insert", "overwrite", "append", "replace"],
    asked(
        "Mode",
        "A row whose key is in the table: insert leaves the table's row, overwrite updates it, append does not look. "
        "Replace: the file becomes the whole content. Empty: as the dataset says.",
    ),
]
CommitChoice = Annotated[
    Literal["", "progressive", "atomic"],
    asked(
        "Commit",
        "Progressive: rows can be seen chunk by chunk. Atomic: all at the end, or none. Empty: as the dataset says.",
    ),
]
MaxRejects = Annotated[
    str,
    asked(
        "Max rejects",
        "The import fails when more rows are rejected: a number (100) or a percentage (2.5%). "
        "Empty: as the dataset says.",
        pattern=r"^\s*([0-9]{1,18}|[0-9]{1,3}(\.[0-9]+)?\s*%)?\s*$",
    ),
]
Strict = Annotated[bool, asked("Strict", "Fail if any row is rejected: the same as 0 for max rejects.")]
DryRun = Annotated[bool, asked("Dry run", "Do everything but the load, and report every error.")]
Force = Annotated[bool, asked("Force", "Import the file again although it was imported already.")]
Wait = Annotated[
    bool, asked("Wait", "When another import is writing to the table, wait for its end instead of failing.")
]
Workers = Annotated[
    int,
    asked(
        "Workers",
        "Processes that load the file together, each with a connection of its own; leave cores to PostgreSQL. "
        "0: one, or on a cluster two.",
        ge=0,
        le=MOST_WORKERS,
    ),
]
Rate = Annotated[int, asked("Max rows per second", "Load no faster than this. 0: as fast as it goes.", ge=0)]
Resume = Annotated[
    int, asked("Resume", "The number of a failed or cancelled import of this file to go on with. 0: none.", ge=0)
]
Sets = Annotated[
    dict[str, str], asked("Set columns", 'Columns that the run fills instead of the file: {"user_id": "7"}.')
]
Maps = Annotated[
    dict[str, str],
    asked("Map columns", 'Where a column is found, by header or position: {"email": "E-Mail", "name": "#3"}.'),
]
Infer = Annotated[bool, asked("Infer types", "With a table: types that fit every value of the file. Done anyway.")]
AllText = Annotated[bool, asked("All text", "With a table: every column is text, instead of types that fit.")]
Delimiter = Annotated[
    str,
    asked("Delimiter", "One character, or a word: tab, semicolon, pipe. Empty: as the file shows.", pattern=_CHARACTER),
]
Quote = Annotated[
    str, asked("Quote", "One character, or the word none for no quoting. Empty: as the file shows.", pattern=_CHARACTER)
]
Escape = Annotated[
    str,
    asked(
        "Escape",
        "One character that escapes a quote inside a quoted field. Empty: quotes are doubled.",
        pattern=_CHARACTER,
    ),
]
Encoding = Annotated[
    str,
    asked(
        "Encoding",
        "Such as utf-8, utf-16, windows-1252, iso-8859-1. Empty: as the file shows.",
        pattern="^[A-Za-z0-9._: -]{0,40}$",
    ),
]
NoHeader = Annotated[bool, asked("No header", "The first record is data; columns are found by position.")]
SkipLines = Annotated[int, asked("Skip lines", "How many lines stand before the header. -1: as the file shows.", ge=-1)]
Nulls = Annotated[
    list[str], asked("Null texts", "Texts that are read as NULL in every column, besides the empty field.")
]
StrayQuotes = Annotated[
    Literal["", "reject", "literal"],
    asked(
        "Stray quotes",
        "A quote inside a field without quotes: reject the row, or keep it literally. Empty: as the dataset says.",
    ),
]
ShortRows = Annotated[
    Literal["", "reject", "pad"],
    asked(
        "Short rows",
        "A row with too few fields: reject it, or pad it with NULL. Empty: as the dataset says.",
    ),
]
