"""Names: of tables and columns in PostgreSQL, and of columns in a file's header."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sluice.errors import UsageError
from sluice.model import TableName

#: The ledger's schema.
SCHEMA = "sluice"
#: NAMEDATALEN - 1: PostgreSQL cuts longer names off, with a notice only.
MAX_NAME_BYTES = 63
#: Column names that Sluice adds to a loaded table.
OWN_COLUMNS = frozenset({"_import_id", "_line", "_extra"})
#: https://www.postgresql.org/docs/current/ddl-system-columns.html
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

_PART = r'"((?:[^"\x00]|"")+)"|([^\s".\x00]+)'
_TABLE = re.compile(rf"(?:(?:{_PART})\.)?(?:{_PART})")


def name_problem(name: str) -> str | None:
    """Why PostgreSQL would not keep this name as it is, or None."""
    if not name:
        return "a name may not be empty"
    if "\x00" in name:
        return "a name may not hold a NUL character"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"{name!r} is longer than the {MAX_NAME_BYTES} bytes PostgreSQL keeps of a name"
    return None


def column_problem(name: str) -> str | None:
    """Why a table cannot have a column of this name, or None."""
    if name in OWN_COLUMNS:
        return f"{name!r} is a column Sluice adds itself; choose another name"
    if name in SYSTEM_COLUMNS:
        return f"{name!r} is a system column of every PostgreSQL table; choose another name"
    return name_problem(name)


def parse_table(text: str) -> TableName:
    """`name` or `schema.name`, written as in SQL: without double quotes, A to Z mean a to z.

    Raises:
        UsageError: not a table's name, or one of PostgreSQL's or Sluice's own schemas.
    """
    found = _TABLE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a table's name.", hint='Write name, schema.name or "Any Schema"."Any Name".')
    schema = _stored(found[1], found[2]) or "public"
    name = _stored(found[3], found[4])
    for part in (schema, name):
        if problem := name_problem(part):
            raise UsageError(f"{text!r} is not a table's name: {problem}.")
    if schema in ("sluice", "information_schema") or schema.startswith("pg_"):
        raise UsageError(f"Schema {schema!r} is not for imported data.", hint="Choose another schema.")
    return TableName(schema, name)


def _stored(quoted: str | None, bare: str | None) -> str:
    if quoted is not None:
        return quoted.replace('""', '"')
    return re.sub("[A-Z]+", lambda found: found[0].lower(), bare or "")


def normalise_header(text: str) -> str:
    """What two headers are compared by: without case, blanks, `_` and `-`."""
    return "".join(char for char in text.casefold() if char not in "_-" and not char.isspace())


def column_names(headers: Iterable[str]) -> list[str]:
    """A column name for each header, for a table made from a file: small letters, digits and `_`, none twice.

    `First Name` becomes `first_name`; a header without a letter or digit becomes `column_N` (N from 1).
    """
    taken: set[str] = set()
    names = []
    for position, header in enumerate(headers, start=1):
        plain = re.sub(r"[\W_]+", "_", header.lower()).strip("_") or f"column_{position}"
        if plain[0].isdigit():  # SELECT 2021 FROM t is a number
            plain = f"_{plain}"
        if plain in SYSTEM_COLUMNS:
            plain = f"{plain}_"
        name, count = _cut(plain, ""), 1
        while name in taken:
            count += 1
            name = _cut(plain, f"_{count}")
        taken.add(name)
        names.append(name)
    return names


def _cut(name: str, suffix: str) -> str:
    room = MAX_NAME_BYTES - len(suffix)
    return name.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + suffix
