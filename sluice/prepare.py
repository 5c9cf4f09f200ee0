"""Decide how a file is to be imported: its dataset, its dialect, where its columns go. Only a sample is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from sluice import dialect as dialects
from sluice.cast import cast_table
from sluice.catalog import TargetTable
from sluice.dataset import load_dataset, override, parse_table, table_dataset
from sluice.errors import HeaderError, UsageError
from sluice.formats import looks_like_json
from sluice.header import known_names, map_columns, read_header
from sluice.infer import Inference
from sluice.json_head import read_keys, settle_json
from sluice.location import locate
from sluice.model import Chunk, ColumnType, Dataset, Dialect, DialectOptions, Format, TypeName
from sluice.reading import parse
from sluice.recipe import Recipe
from sluice.request import Request
from sluice.rules import Suite
from sluice.settings import Settings
from sluice.source import Snapshot, sample
from sluice.target import type_for


def recipe_for(request: Request, settings: Settings) -> Recipe:
    """Settle everything a sample of the file can settle; nothing of the database is touched.

    Raises:
        UsageError, DatasetError, SuiteError, SourceError, HeaderError: what is wrong, and what to do.
    """
    dataset = load_dataset(request.dataset, settings.datasets) if request.dataset is not None else None
    if dataset is not None:
        dataset = _told(dataset, request)
    told = dataset.dialect if dataset is not None else request.dialect()
    seen = sample(request.source, encoding=told.encoding, json=True)
    if looks_like_json(seen.text):
        dialect = settle_json(seen.text, request.dialect(), encoding=seen.encoding)
    else:
        dialect = dialects.settle(
            seen.text,
            told,
            encoding=seen.encoding,
            known=known_names(dataset, request.map) if dataset is not None else (),
        )
    try:
        read = read_header if dialect.format is Format.CSV else read_keys
        header = read(seen.text, dialect, complete=seen.complete)
        if dataset is None:
            text = ColumnType(TypeName.TEXT)
            dataset = _told(_without_dataset(request, [(label, text) for label in header.labels]), request)
        columns = map_columns(header, dataset, request.map, request.set)
        if dialect.format is not Format.CSV and header.width and columns.missing:
            # A key may come late. Whether its column may be missing has just been decided.
            names = (*(header.names or ()), *columns.missing)
            header = replace(header, names=names, width=len(names))
            columns = map_columns(header, dataset, request.map, request.set)
        _check_set(dataset, columns.constants)
    except HeaderError as error:
        error.file = locate(request.source).shown
        raise
    return Recipe(
        dataset=dataset,
        dialect=dialect,
        columns=columns,
        names=header.labels,
        data_start=header.data_start,
        first_line=header.first_line,
        untyped=request.table is not None and not request.all_text,
        begins_with=seen.text,
        notes=_notes(dialect, told),
    )


def _check_set(dataset: Dataset, constants: Mapping[str, str]) -> None:
    """A value the run sets goes into every row, so a wrong one would reject them all."""
    columns = [column for column in dataset.columns if column.name in constants]
    for violation in cast_table(pa.table({"": [""]}), columns, constants).violations:
        value = violation.values[0]
        raise UsageError(f"Column {violation.column} of {dataset.name} cannot be {value!r}: {violation.message}.")


def _notes(dialect: Dialect, told: DialectOptions) -> tuple[str, ...]:
    if not dialect.skip_lines or told.skip_lines is not None:
        return ()
    lines = "first line was" if dialect.skip_lines == 1 else f"first {dialect.skip_lines} lines were"
    return (f"The file's {lines} taken for a preamble and not read as data (--skip-lines 0 reads all).",)


def with_types(
    recipe: Recipe, request: Request, snap: Snapshot, chunks: Sequence[Chunk], existing: TargetTable | None
) -> Recipe:
    """The recipe with column types that fit every value of the file; into a table that is there already, the types of
    its columns where those fit better."""
    inference = Inference(recipe.names)
    for chunk in chunks:
        inference.update(parse(chunk, snap.read, snap.text_size, recipe.dialect, recipe.names).text)
    dataset = _told(_without_dataset(request, inference.types()), request)
    if existing is not None:
        there = {column.name: column for column in existing.columns}
        columns = tuple(
            replace(column, type=type_for(column.type, there[column.name])) if column.name in there else column
            for column in dataset.columns
        )
        dataset = replace(dataset, columns=columns)
    return replace(recipe, dataset=dataset, untyped=False)


def _without_dataset(request: Request, columns: Sequence[tuple[str, ColumnType]]) -> Dataset:
    assert request.table is not None
    return table_dataset(parse_table(request.table), columns, dialect=request.dialect())


def _told(dataset: Dataset, request: Request) -> Dataset:
    return override(
        dataset,
        mode=request.mode,
        commit=request.commit,
        max_rejects=request.max_rejects,
        strict=request.strict,
        null=request.null,
        dialect=request.dialect(),
    )


def with_rules(recipe: Recipe, settings: Settings) -> Recipe:
    """The recipe with the dataset's suite read and checked.

    Raises:
        SuiteError: the suite is wrong; the message lists every problem.
    """
    return replace(recipe, suite=rules_of(recipe.dataset, settings))


def rules_of(dataset: Dataset, settings: Settings) -> Suite | None:
    """The dataset's suite, read and checked; errors as `with_rules`. Great Expectations is imported here, before the
    table is locked, if the suite was not loaded before, or if it has a rule that needs its code."""
    if dataset.suite is None:
        return None
    from sluice.rules import cached_suite

    return cached_suite(
        dataset.suite,
        columns={column.name: column.type for column in dataset.columns},
        key=dataset.key,
        file=f"{dataset.name}/suite.json",
        folder=settings.home / "rules",
    )
