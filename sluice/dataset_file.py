"""dataset.yaml: read with its line numbers, and checked so that every problem is reported at once."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from sluice.cast import casts, describe
from sluice.cast.numeric import MAX_PRECISION
from sluice.cast.temporal import format_problem
from sluice.errors import DatasetError, UsageError
from sluice.model import (
    Column,
    ColumnType,
    Commit,
    DialectOptions,
    ExtraColumns,
    MaxRejects,
    MissingColumns,
    Mode,
    OnDuplicate,
    ShortRows,
    StrayQuotes,
    TableName,
    TypeName,
)
from sluice.names import column_problem, normalise_header, parse_table
from sluice.yaml_lines import Path, read_yaml

#: PostgreSQL's 1,600 less `_import_id`, `_line` and `_extra`.
MAX_COLUMNS = 1597

_TYPE = re.compile(r"([A-Za-z]+)(?:\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
#: What people write for our types.
_OTHER_NAMES = {
    "string": "text", "str": "text", "varchar": "text", "char": "text", "int": "integer", "int4": "integer",
    "int8": "bigint", "long": "bigint", "decimal": "numeric(p,s)", "float": "double", "real": "double",
    "bool": "boolean", "datetime": "timestamp", "timestamptz": "timestamp with %z in its format", "jsonb": "json",
}  # fmt: skip
_TYPE_LIST = ", ".join("numeric(p,s)" if name is TypeName.NUMERIC else str(name) for name in TypeName)


def parse_max_rejects(text: str) -> MaxRejects:
    """`100` rows or `2.5%` of the file's records.

    Raises:
        UsageError: neither.
    """
    found = re.fullmatch(r"([0-9]{1,18})|([0-9]{1,3}(?:\.[0-9]+)?)\s*%", text.strip(), re.ASCII)
    if found is None or (found[2] and float(found[2]) > 100):
        raise UsageError(f"{text!r} is neither a number of rows nor a percentage.", hint="Write 100 or 2.5%.")
    return MaxRejects(percent=float(found[2])) if found[2] else MaxRejects(count=int(found[1]))


def parse_type(text: str, format: str | None = None) -> ColumnType:
    """A column type as dataset.yaml writes it. Raises ValueError."""
    found = _TYPE.fullmatch(text.strip())
    name = found[1].lower() if found else ""
    if found is None or name not in list(TypeName):
        meant = _OTHER_NAMES.get(name) or next(iter(difflib.get_close_matches(name, list(TypeName), 1)), None)
        raise ValueError(f"{text!r} is no type{f' (did you mean {meant}?)' if meant else ''}; types: {_TYPE_LIST}")
    precision, scale = found[2], found[3]
    if name != TypeName.NUMERIC:
        if precision:
            raise ValueError(f"{name} takes no length; only numeric(p,s) does")
        return ColumnType(TypeName(name), format=format)
    if precision is None:
        raise ValueError("numeric needs its digits: numeric(p,s), for example numeric(12,2)")
    digits, after_point = int(precision), int(scale or 0)
    if not (1 <= digits <= MAX_PRECISION and after_point <= digits):
        raise ValueError(f"numeric(p,s) needs 1 <= p <= {MAX_PRECISION} and 0 <= s <= p")
    return ColumnType(TypeName.NUMERIC, digits, after_point, format)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ColumnSpec(_Strict):
    name: str
    type: str
    format: str | None = None
    sources: Texts = Field(default=(), alias="from")
    required: bool = False
    default: str | None = None
    trim: bool = False
    null: Texts = ()
    set_by: str | None = None

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if problem := column_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("type")
    @classmethod
    def _type(cls, text: str) -> str:
        parse_type(text)
        return text

    @field_validator("sources")
    @classmethod
    def _sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if source.startswith("#") and not re.fullmatch("#[1-9][0-9]{0,3}", source):
                raise ValueError(f"{source!r} is no position; write '#1' for the first column of the file")
            if not normalise_header(source):
                raise ValueError(f"{source!r} names no header")
        return sources

    @field_validator("set_by")
    @classmethod
    def _set_by(cls, name: str) -> str:
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no parameter name: letters, digits and _ only")
        return name

    @model_validator(mode="after")
    def _fits(self) -> ColumnSpec:
        type_ = parse_type(self.type, self.format)
        if self.format is not None:
            if type_.name not in (TypeName.DATE, TypeName.TIMESTAMP):
                raise ValueError(f"format is for date and timestamp; {self.name} is {type_.name}")
            if problem := format_problem(self.format, is_date=type_.name is TypeName.DATE):
                raise ValueError(problem)
        if self.default is not None and not casts(self.default, type_):
            raise ValueError(f"default {self.default!r} is not a value of type {describe(type_)}")
        if self.set_by is not None and self.sources:
            raise ValueError("a column with set_by is filled by the run, so it takes no from")
        return self

    def column(self, *, in_key: bool) -> Column:
        return Column(
            name=self.name,
            type=parse_type(self.type, self.format),
            sources=self.sources,
            required=self.required or in_key,
            default=self.default,
            trim=self.trim,
            null=self.null,
            set_by=self.set_by,
        )


class DialectSpec(_Strict):
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_lines: int | None = Field(default=None, ge=0)
    stray_quotes: StrayQuotes | None = None
    short_rows: ShortRows | None = None

    @field_validator("quote")
    @classmethod
    def _quote(cls, char: str) -> str:
        return "none" if char in ("", "none") else cls._character(char)

    @field_validator("delimiter", "escape")
    @classmethod
    def _character(cls, char: str) -> str:
        char = {r"\t": "\t", "tab": "\t"}.get(char, char)
        if len(char) != 1 or not char.isascii() or char in "\r\n\x00":
            raise ValueError(f"{char!r} is not a single ASCII character (a tab may be written tab)")
        return char

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, name: str) -> str:
        try:
            known = codecs.lookup(name)._is_text_encoding
        except LookupError:
            known = False
        if not known:
            raise ValueError(f"{name!r} is no text encoding; utf-8, cp1252 and utf-16 are some")
        return name

    @model_validator(mode="after")
    def _distinct(self) -> DialectSpec:
        if self.delimiter is not None and self.delimiter in (self.quote, self.escape):
            raise ValueError("the delimiter must differ from quote and escape")
        return self

    def options(self) -> DialectOptions:
        return DialectOptions(**dict(self))


class DatasetSpec(_Strict):
    table: Annotated[TableName, BeforeValidator(lambda text: _usage(parse_table, text))]
    columns: tuple[ColumnSpec, ...] = Field(max_length=MAX_COLUMNS)
    key: Texts = ()
    on_duplicate: OnDuplicate = OnDuplicate.SKIP
    extra_columns: ExtraColumns = ExtraColumns.REJECT_FILE
    missing_columns: MissingColumns = MissingColumns.REJECT_FILE
    mode: Mode = Mode.INSERT
    commit: Commit | None = None
    max_rejects: Annotated[MaxRejects | None, BeforeValidator(lambda text: _usage(parse_max_rejects, text))] = None
    dialect: DialectSpec = DialectSpec()
    lineage: bool = True


def _usage(parse: Any, text: Any) -> Any:
    if not isinstance(text, str):
        raise ValueError("Input should be a single text")
    try:
        return parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=64)  # reading YAML takes 10 ms, a third of what a small file's import takes in a warm process
def read_dataset(text: str, file: str) -> DatasetSpec:
    """Check dataset.yaml.

    Raises:
        DatasetError: with every problem, its line and the keys that lead to it.
    """
    tree, lines, problems = read_yaml(text, file)
    spec = None
    try:
        spec = DatasetSpec.model_validate(tree)
    except ValidationError as error:
        problems += [(tuple(found["loc"]), _explain(found)) for found in error.errors()]
    problems += _cross_checks(tree)
    if problems or spec is None:
        raise _as_error(problems, lines, file)
    return spec


def _as_error(problems: list[tuple[Path, str]], lines: Mapping[Path, int], file: str) -> DatasetError:
    placed = sorted((_line_of(path, lines), _dotted(path), message) for path, message in problems)
    hint = "docs/datasets.md explains every key."
    if len(placed) == 1:
        line, key, message = placed[0]
        return DatasetError(f"{key}: {message}." if key else f"{message}.", hint=hint, file=file, line=line)
    listed = "".join(f"\n  line {line}, {key}: {message}" for line, key, message in placed)
    return DatasetError(f"{len(placed)} problems:{listed}\n", hint=hint, file=file)


def _line_of(path: Path, lines: Mapping[Path, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _dotted(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _explain(found: Any) -> str:
    """Pydantic's message, with what is allowed."""
    kind, loc = found["type"], tuple(found["loc"])
    if kind == "extra_forbidden":
        known = _known_keys(loc)
        close = difflib.get_close_matches(str(loc[-1]), known, 1, cutoff=0.7)
        return f"unknown key{f' (did you mean {close[0]}?)' if close else ''}; known keys: {', '.join(known)}"
    if kind == "missing":
        return "this key is required"
    if kind in ("model_type", "dict_type"):
        return "this should be keys and values"
    message = str(found["msg"]).removeprefix("Value error, ").rstrip(".")
    given = found.get("input")
    return f"{message}, not {given!r}" if kind != "value_error" and isinstance(given, str) else message


def _known_keys(loc: Path) -> list[str]:
    nested: dict[str | int, type[BaseModel]] = {"columns": ColumnSpec, "dialect": DialectSpec}
    model: type[BaseModel] = nested.get(loc[0], DatasetSpec) if len(loc) > 1 else DatasetSpec
    return [field.alias or name for name, field in model.model_fields.items()]


def _cross_checks(tree: Any) -> list[tuple[Path, str]]:
    """What holds between keys. Works on the raw tree, so that it is told along with everything else."""
    if not isinstance(tree, dict):
        return []
    listed = tree.get("columns")
    columns = [
        (place, column)
        for place, column in enumerate(listed if isinstance(listed, list) else [])
        if isinstance(column, dict) and isinstance(column.get("name"), str)
    ]
    problems = [*_repeated_names(columns), *_claimed_twice(columns), *_key_problems(tree, columns)]
    if isinstance(listed, list) and all("set_by" in column for _, column in columns):
        problems.append((("columns",), "at least one column must come from the file"))
    if tree.get("mode") == Mode.REPLACE and tree.get("commit") == Commit.PROGRESSIVE:
        problems.append((("commit",), "mode replace swaps the whole content at once: commit must be atomic"))
    return problems


_Columns = Sequence[tuple[int, Mapping[str, Any]]]


def _repeated_names(columns: _Columns) -> Iterator[tuple[Path, str]]:
    first: dict[str, int] = {}
    for place, column in columns:
        if column["name"] in first:
            yield ("columns", place, "name"), f"{column['name']!r} is columns[{first[column['name']]}] already"
        first.setdefault(column["name"], place)


def _claimed_twice(columns: _Columns) -> Iterator[tuple[Path, str]]:
    claims: dict[str, str] = {}
    for place, column in columns:
        if "set_by" in column:
            continue
        sources = _as_list(column.get("from")) or []
        for source in [column["name"], *(source for source in sources if isinstance(source, str))]:
            claimed = source if source.startswith("#") else normalise_header(source)
            owner = claims.setdefault(claimed, column["name"])
            if owner != column["name"]:
                yield ("columns", place, "from"), f"header {source!r} belongs to column {owner!r} already"


def _key_problems(tree: Mapping[str, Any], columns: _Columns) -> Iterator[tuple[Path, str]]:
    key = _as_list(tree.get("key", []))
    names = [column["name"] for _, column in columns]
    if not isinstance(key, list):
        return
    if not key and tree.get("mode", Mode.INSERT) in (Mode.INSERT, Mode.OVERWRITE):
        yield ("key",), "modes insert and overwrite need a key; append and replace do without"
    for place, name in enumerate(key):
        if name not in names:
            yield ("key", place), f"{name!r} is not a column; columns: {', '.join(dict.fromkeys(names))}"
        elif name in key[:place]:
            yield ("key", place), f"{name!r} stands in the key twice"
