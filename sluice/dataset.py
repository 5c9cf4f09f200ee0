"""Datasets: what dataset.yaml and suite.json under one folder say, and datasets made up for `--table`."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sluice.dataset_file import parse_max_rejects, read_dataset
from sluice.errors import DatasetError, SuiteError, UsageError
from sluice.model import Column, ColumnType, Commit, Dataset, DialectOptions, MaxRejects, Mode, TableName
from sluice.names import column_names, normalise_header, parse_table

__all__ = [
    "column_names",
    "dataset_names",
    "load_dataset",
    "normalise_header",
    "override",
    "parse_max_rejects",
    "parse_table",
    "table_dataset",
]

#: A dataset's name is a folder's: nothing in it may lead out of the datasets folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

_Choice = TypeVar("_Choice", Mode, Commit)


def dataset_names(root: Path) -> list[str]:
    """The datasets under a folder, sorted; none where there is no such folder."""
    return sorted(path.parent.name for path in root.glob("*/dataset.yaml") if _NAME.fullmatch(path.parent.name))


def load_dataset(name: str, root: Path) -> Dataset:
    """Read and check `root/name/dataset.yaml`; `suite.json` beside it is parsed, not interpreted.

    Raises:
        UsageError: there is no such dataset.
        DatasetError: dataset.yaml is wrong; the message lists every problem.
        SuiteError: suite.json is not JSON.
    """
    names = dataset_names(root)
    if name not in names:
        raise _unknown(name, names, root)
    path = root / name / "dataset.yaml"
    spec = read_dataset(_read(path, DatasetError), str(path))
    return Dataset(
        name=name,
        table=spec.table,
        columns=tuple(column.column(in_key=column.name in spec.key) for column in spec.columns),
        key=spec.key,
        on_duplicate=spec.on_duplicate,
        extra_columns=spec.extra_columns,
        missing_columns=spec.missing_columns,
        mode=spec.mode,
        commit=spec.commit or _usual_commit(spec.mode),
        max_rejects=spec.max_rejects,
        dialect=spec.dialect.options(),
        lineage=spec.lineage,
        suite=_load_suite(path.with_name("suite.json")),
    )


def table_dataset(
    table: TableName,
    columns: Sequence[tuple[str, ColumnType]],
    *,
    key: Sequence[str] = (),
    mode: Mode | None = None,
    dialect: DialectOptions | None = None,
) -> Dataset:
    """The dataset of `--table`: one column for each of the file's, in its order, by position.

    Args:
        columns: the file's headers and their types; `column_names` makes the columns' names of them.
        key: names of columns (not headers).
        mode: append where there is no key, else insert.

    Raises:
        UsageError: a key column that is none, or a mode that needs a key.
    """
    names = column_names(header for header, _ in columns)
    if unknown := [name for name in key if name not in names]:
        raise UsageError(f"Key column {unknown[0]!r} is not in the file.", hint=f"Columns: {', '.join(names)}.")
    mode = mode or (Mode.INSERT if key else Mode.APPEND)
    _check_key(mode, key, str(table))
    return Dataset(
        name=str(table),
        table=table,
        columns=tuple(
            Column(name, type_, sources=(f"#{position}",), required=name in key)
            for position, (name, (_, type_)) in enumerate(zip(names, columns, strict=True), start=1)
        ),
        key=tuple(key),
        mode=mode,
        commit=_usual_commit(mode),
        dialect=dialect or DialectOptions(),
    )


def override(
    dataset: Dataset,
    *,
    mode: Mode | str | None = None,
    commit: Commit | str | None = None,
    max_rejects: MaxRejects | str | int | None = None,
    strict: bool = False,
    null: Sequence[str] = (),
    dialect: DialectOptions | None = None,
) -> Dataset:
    """The dataset with what one import was told otherwise; None, False and () leave it as it is.

    Args:
        strict: no rejected row at all; the same as `max_rejects` 0.
        null: texts read as NULL in every column, besides each column's own.
        dialect: what it settles goes before what the dataset settles.

    Raises:
        UsageError: a value that is none, or values that exclude each other.
    """
    if strict and max_rejects is not None and str(max_rejects) not in ("0", "0%"):
        raise UsageError("strict allows no rejected row, so max_rejects cannot be given too.", hint="Drop one.")
    chosen = _choice(Mode, mode, "mode") or dataset.mode
    told = _choice(Commit, commit, "commit")
    if chosen is Mode.REPLACE and told is Commit.PROGRESSIVE:
        raise UsageError("Mode replace swaps the whole content at once.", hint="Use commit atomic.")
    _check_key(chosen, dataset.key, dataset.name)
    limit = dataset.max_rejects
    if strict:
        limit = MaxRejects(count=0)
    elif max_rejects is not None:
        limit = max_rejects if isinstance(max_rejects, MaxRejects) else parse_max_rejects(str(max_rejects))
    return replace(
        dataset,
        mode=chosen,
        commit=told or (Commit.ATOMIC if chosen is Mode.REPLACE else dataset.commit),
        max_rejects=limit,
        columns=tuple(
            replace(column, null=tuple(dict.fromkeys((*column.null, *null)))) if null else column
            for column in dataset.columns
        ),
        dialect=_merged(dataset.dialect, dialect) if dialect else dataset.dialect,
    )


def _merged(base: DialectOptions, told: DialectOptions) -> DialectOptions:
    settled = {name: getattr(told, name) for name in told.__slots__ if getattr(told, name) is not None}
    return replace(base, **settled)


def _usual_commit(mode: Mode) -> Commit:
    return Commit.ATOMIC if mode is Mode.REPLACE else Commit.PROGRESSIVE


def _check_key(mode: Mode, key: Sequence[str], name: str) -> None:
    if mode in (Mode.INSERT, Mode.OVERWRITE) and not key:
        raise UsageError(f"Mode {mode} needs a key, and {name} has none.", hint="Use append or replace.")


def _choice(enum: type[_Choice], value: _Choice | str | None, option: str) -> _Choice | None:
    if value is None:
        return None
    try:
        return enum(value)
    except ValueError:
        raise UsageError(f"{value!r} is no {option}.", hint=f"Choose from {', '.join(enum)}.") from None


def _unknown(name: str, names: list[str], root: Path) -> UsageError:
    if not names:
        return UsageError(f"There is no dataset {name!r}: no folder under {root} holds a dataset.yaml.")
    close = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return UsageError(f"There is no dataset {name!r} under {root}.", hint=f"{hint}Datasets: {', '.join(names)}.")


def _read(path: Path, error: type[DatasetError] | type[SuiteError]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            f"Not UTF-8: byte {problem.start} is {problem.object[problem.start]:#04x}.", file=str(path)
        ) from None
    except OSError as problem:
        raise error(f"Cannot be read: {problem.strerror}.", file=str(path)) from None


def _load_suite(path: Path) -> Mapping[str, Any] | None:
    if not path.exists():
        return None
    try:
        suite = json.loads(_read(path, SuiteError), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as problem:
        raise SuiteError(f"Not JSON: {problem.msg}.", file=str(path), line=problem.lineno) from None
    except ValueError as problem:
        raise SuiteError(f"Not JSON: {problem}.", file=str(path)) from None
    if not isinstance(suite, dict):
        raise SuiteError("Not an expectation suite: the top level must be an object.", file=str(path))
    return suite


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON value")
