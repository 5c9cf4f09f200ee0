"""Which column of a file fills which column of the dataset.

Names are compared without case, blanks, `_`, `-`, a byte order mark and quotes around them. Nothing is guessed:
a file whose columns do not fit is refused with what is missing, what is there instead, and how to say what is meant.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.errors import HeaderError, UsageError
from sluice.head import Header, read_header
from sluice.model import Column, Dataset, ExtraColumns, MissingColumns
from sluice.names import normalise_header

__all__ = ["EXTRA_COLUMN", "ColumnPlan", "Header", "extra_json", "known_names", "map_columns", "read_header"]

_NUMBER = re.compile(r"#(\d+)")


#: The column of the target that holds what `extra_columns: keep` keeps, a JSON object a row.
EXTRA_COLUMN = "_extra"


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Which column of the file fills which of the dataset. Positions count from 0.

    Attributes:
        positions: dataset column -> file column, in the dataset's order.
        constants: dataset column -> the text the run sets instead.
        missing: dataset columns that neither fills: NULL, or their default.
        extras: header -> file column, for those kept under `_extra`.
        ignored: headers of the other file columns.
    """

    positions: Mapping[str, int]
    constants: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    extras: Mapping[str, int] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for the ledger."""
        return {
            "positions": dict(self.positions),
            "constants": dict(self.constants),
            "missing": list(self.missing),
            "extras": dict(self.extras),
            "ignored": list(self.ignored),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ColumnPlan:
        """The plan that `to_dict` wrote."""
        return cls(
            positions=dict(values["positions"]),
            constants=dict(values["constants"]),
            missing=tuple(values["missing"]),
            extras=dict(values["extras"]),
            ignored=tuple(values["ignored"]),
        )


def known_names(dataset: Dataset, mapping: Mapping[str, str] | None = None) -> frozenset[str]:
    """Every name, normalised, that a header of this dataset may hold."""
    names = [name for column in dataset.columns if column.set_by is None for name in _aliases(column)]
    names += [_key(header) for header in (mapping or {}).values() if not _NUMBER.fullmatch(header)]
    return frozenset(names) - {""}


def map_columns(
    header: Header,
    dataset: Dataset,
    mapping: Mapping[str, str] | None = None,
    set_values: Mapping[str, str] | None = None,
) -> ColumnPlan:
    """Fit a file's columns to a dataset.

    A column takes its value from, in this order: what the run sets (`set_values`, by column name or by the
    column's `set_by`); the file column the run names (`mapping`: header or `#N`); its position, if dataset.yaml
    names nothing else; the header that matches its name or an alias. In a file without a header, positions count,
    and where no column has one, the dataset's order, if the number of columns is the same.

    Raises:
        UsageError: `mapping` or `set_values` name what the dataset does not have, or leave out a parameter it needs.
        HeaderError: the file's columns do not fit; the message names each that does not.
    """
    return _Mapper(header, dataset, mapping or {}, set_values or {}).run()


def _key(name: str) -> str:
    return normalise_header(name.strip("\ufeff\"' \t"))


def _aliases(column: Column) -> list[str]:
    return [_key(name) for name in (column.name, *column.sources) if not _NUMBER.fullmatch(name)]


def _position(source: str) -> int | None:
    match = _NUMBER.fullmatch(source)
    return int(match[1]) - 1 if match else None


class _Mapper:
    """One fitting of a file to a dataset, collecting every problem."""

    def __init__(
        self, header: Header, dataset: Dataset, mapping: Mapping[str, str], set_values: Mapping[str, str]
    ) -> None:
        self.header, self.dataset, self.mapping, self.set_values = header, dataset, mapping, set_values
        self.names = header.names or ()
        self.keys = [_key(name) for name in self.names]
        self.problems: list[str] = []

    def run(self) -> ColumnPlan:
        constants = self._constants()
        self._check_mapping(constants)
        if not self.header.width:  # no record, so nothing to fit
            names = (column.name for column in self.dataset.columns)
            return ColumnPlan({}, constants, missing=tuple(name for name in names if name not in constants))
        open_ = [column for column in self.dataset.columns if column.set_by is None and column.name not in constants]
        positions = self._told_positions()
        claimed = set(positions.values())
        rest = [column for column in open_ if column.name not in positions]
        if self.header.names is not None:
            positions |= self._by_header(rest, claimed)
        else:
            positions |= self._by_position(rest, told=bool(positions))
        missing = [column for column in open_ if column.name not in positions]
        self._check_missing(missing)
        overridden = {at for column in self.dataset.columns if column.name in self.set_values
                      for at in self._matching(column)}  # fmt: skip
        extras, ignored = self._extras({*positions.values()}, overridden)
        if self.problems:
            raise self._error()
        order = [column.name for column in self.dataset.columns]
        return ColumnPlan(
            positions={name: positions[name] for name in order if name in positions},
            constants=constants,
            missing=tuple(name for name in order if name not in positions and name not in constants),
            extras=extras,
            ignored=ignored,
        )

    def _constants(self) -> dict[str, str]:
        columns = self.dataset.columns
        accepted = {column.name for column in columns} | {column.set_by for column in columns if column.set_by}
        _refuse_unknown("--set", self.set_values, accepted, self.dataset)
        constants = {}
        for column in columns:
            for parameter in (column.name, column.set_by):
                if parameter is not None and parameter in self.set_values:
                    constants[column.name] = self.set_values[parameter]
            if column.set_by and column.name not in constants and column.default is None:
                raise UsageError(
                    f"Column {column.name} of {self.dataset.name} is set by the run.",
                    hint=f"Tell it with --set {column.set_by}=VALUE.",
                )
        return constants

    def _check_mapping(self, constants: Collection[str]) -> None:
        _refuse_unknown("--map", self.mapping, {column.name for column in self.dataset.columns}, self.dataset)
        if both := [name for name in self.mapping if name in constants]:
            raise UsageError(f"Column {both[0]} cannot be both mapped and set.", hint="Tell one of the two.")
        for column in self.dataset.columns:
            if column.set_by and column.name in self.mapping:
                raise UsageError(f"Column {column.name} is set by the run (--set {column.set_by}), not by the file.")

    def _told_positions(self) -> dict[str, int]:
        """What `--map` says, and dataset.yaml's positions where it gives no name besides."""
        positions: dict[str, int] = {}
        for column in self.dataset.columns:
            if column.name in self.mapping:
                source = self.mapping[column.name]
                at = _position(source)
                found = [at] if at is not None else self._named(_key(source))
                if at is None and not found:
                    self.problems.append(f"{column.name} is mapped to {source!r}, which {self._no_such(source)}")
            elif column.name in self.set_values or column.set_by or not column.sources:
                continue
            else:
                numbers = [_position(source) for source in column.sources]
                found = [at for at in numbers[:1] if at is not None and None not in numbers]
            if len(found) > 1:
                self.problems.append(self._ambiguous(column.name, found))
            elif found and not 0 <= found[0] < self.header.width:
                self.problems.append(f"{column.name} is column #{found[0] + 1}, but the file has {self.header.width}")
            if found:
                positions[column.name] = found[0]
        return positions

    def _by_header(self, columns: Sequence[Column], claimed: Collection[int]) -> dict[str, int]:
        positions: dict[str, int] = {}
        owner: dict[int, str] = {}
        for column in columns:
            found = [at for at in self._matching(column) if at not in claimed]
            if len(found) > 1:
                self.problems.append(self._ambiguous(column.name, found))
            if not found:
                continue
            if found[0] in owner:
                self.problems.append(
                    f"header {self.names[found[0]]!r} fits both {owner[found[0]]} and {column.name}; "
                    f"say which with --map {column.name}=#N"
                )
            positions[column.name] = found[0]
            owner[found[0]] = column.name
        return positions

    def _by_position(self, columns: Sequence[Column], *, told: bool) -> dict[str, int]:
        """Without a header: dataset.yaml's numbers, else its order."""
        numbered = {}
        for column in columns:
            for at in map(_position, column.sources):
                if at is not None and 0 <= at < self.header.width and column.name not in numbered:
                    numbered[column.name] = at
        if numbered or told:
            return numbered
        if len(columns) == self.header.width:
            return {column.name: at for at, column in enumerate(columns)}
        self.problems.append(
            f"the file has no header and {self.header.width} columns, {self.dataset.name} wants {len(columns)}; "
            "say which is which with --map FIELD=#N"
        )
        return {column.name: at for at, column in enumerate(columns)}

    def _named(self, key: str) -> list[int]:
        return [at for at, name in enumerate(self.keys) if name and name == key]

    def _matching(self, column: Column) -> list[int]:
        aliases = set(_aliases(column))
        return [at for at, name in enumerate(self.keys) if name and name in aliases]

    def _ambiguous(self, column: str, found: Iterable[int]) -> str:
        places = " and ".join(f"{self.names[at]!r} (#{at + 1})" for at in found)
        return f"{places} both fit {column}; say which with --map {column}=#N"

    def _no_such(self, source: str) -> str:
        if self.header.names is None:
            return "cannot be found: the file has no header (use #N)"
        close = difflib.get_close_matches(source, self.names, n=1)
        return "the file does not have" + (f" (it has {close[0]!r})" if close else "")

    def _check_missing(self, missing: Sequence[Column]) -> None:
        lenient = self.dataset.missing_columns is MissingColumns.NULL
        names = {_key(name): name for name in self.names}
        for column in missing:
            if column.default is not None or (lenient and not column.required) or column.name in self.mapping:
                continue
            close = difflib.get_close_matches(_key(column.name), names, n=1, cutoff=0.7)
            instead = (
                f" (did you mean its {names[close[0]]!r}? --map {column.name}={names[close[0]]!r})" if close else ""
            )
            self.problems.append(f"column {column.name} is missing{instead}")

    def _extras(self, used: Collection[int], overridden: Collection[int]) -> tuple[dict[str, int], tuple[str, ...]]:
        labels = self.header.labels
        extra = [at for at in range(self.header.width) if at not in used]
        if self.dataset.extra_columns is ExtraColumns.KEEP:
            kept = {labels[at]: at for at in extra if at not in overridden}
            return kept, tuple(labels[at] for at in extra if at in overridden)
        if self.dataset.extra_columns is ExtraColumns.REJECT_FILE:
            unwanted = [f"{labels[at]!r} (#{at + 1})" for at in extra if at not in overridden]
            if unwanted:
                more = f" and {len(unwanted) - 10} more" if len(unwanted) > 10 else ""
                self.problems.append(f"{self.dataset.name} does not know {', '.join(unwanted[:10])}{more}")
        return {}, tuple(labels[at] for at in extra)

    def _error(self) -> HeaderError:
        listed = ", ".join(repr(name) for name in self.names[:40]) + (", ..." if len(self.names) > 40 else "")
        has = f"The file has: {listed}." if self.names else "The file has no header."
        message = "; ".join(self.problems)
        return HeaderError(
            f"The file's columns do not fit {self.dataset.name}: {message}. {has}", line=self.header.line
        )


def _refuse_unknown(option: str, told: Iterable[str], accepted: Collection[str], dataset: Dataset) -> None:
    for name in told:
        if name not in accepted:
            close = difflib.get_close_matches(name, accepted, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"It has: {', '.join(sorted(accepted))}."
            raise UsageError(f"{option} names {name!r}, which {dataset.name} does not have.", hint=hint)


def extra_json(text: pa.Table, plan: ColumnPlan, names: Sequence[str]) -> pa.Array:
    """The kept columns of each row as a JSON object (string): header -> text, or null for an empty unquoted field.

    Args:
        text: a chunk's columns as text; `names` are their names in the file's order.
    """
    parts: list[Any] = []
    for at, (header, position) in enumerate(plan.extras.items()):
        parts += [f"{'{' if not at else ', '}{json.dumps(header, ensure_ascii=False)}: "]
        parts += [_json_texts(text.column(names[position]).combine_chunks())]
    return pc.binary_join_element_wise(*parts, "}", "")


def _json_texts(values: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(values, r"[\x00-\x1f]")).as_py():
        return pa.array([json.dumps(value, ensure_ascii=False) for value in values.to_pylist()], pa.string())
    escaped = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    return pc.coalesce(pc.binary_join_element_wise('"', escaped, '"', ""), pa.scalar("null"))
