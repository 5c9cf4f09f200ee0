"""What a chunk contributes to the rules no chunk can judge: each row's value under a uniqueness rule."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice.rules.text import text_of
from sluice.rules.values import Suite, UniqueRule

FailedCells = Mapping[str, npt.NDArray[np.int64]]


def unique_values(
    suite: Suite, table: pa.Table, failed_cells: FailedCells | None = None
) -> list[tuple[int, npt.NDArray[np.int64], pa.StringArray]]:
    """The values to compare, for each of `suite.unique_rules`.

    Equal values have equal texts. Rows that Great Expectations leaves out because of NULLs are left out, and so
    are, as in the metrics, rows with a cell that did not cast.

    Args:
        suite: the suite.
        table: the chunk's rows.
        failed_cells: column -> positions of the rows whose cell did not cast.

    Returns:
        Of each rule its position in `suite.unique_rules`, row positions (ascending) and values; the value of a
        rule about several columns is the JSON array of the columns' texts.
    """
    result = []
    for position, rule in enumerate(suite.unique_rules):
        rows = np.flatnonzero(_takes_part(rule, table, failed_cells or {}))
        result.append((position, rows, _values(rule, table.select(list(rule.columns)).take(pa.array(rows)))))
    return result


def takes_part(rule: UniqueRule, table: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows the rule looks at, given their NULLs."""
    present = [np.asarray(table.column(name).is_valid()) for name in rule.columns]
    if rule.ignore_row_if == "never":
        return np.ones(table.num_rows, dtype=np.bool_)
    combine = np.logical_and if rule.ignore_row_if == "any_value_is_missing" else np.logical_or
    result: npt.NDArray[np.bool_] = combine.reduce(present)
    return result


def _takes_part(rule: UniqueRule, table: pa.Table, failed_cells: FailedCells) -> npt.NDArray[np.bool_]:
    taken = takes_part(rule, table)
    for rows in failed_cells.values():
        taken[rows] = False
    return taken


def _values(rule: UniqueRule, rows: pa.Table) -> pa.StringArray:
    if len(rule.columns) == 1:
        return _one(text_of(rows.column(0)))
    items = [_json_items(_one(text_of(column))) for column in rows.columns]
    joined = pc.binary_join_element_wise(*items, ", ")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _one(values: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return array.cast(pa.string())


def _json_items(texts: pa.StringArray) -> pa.StringArray:
    """Each text as `json.dumps` writes it; NULL as null."""
    plain = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
    quoted = pc.fill_null(pc.binary_join_element_wise('"', plain, '"', ""), "null")
    control = pc.fill_null(pc.match_substring_regex(texts, r"[\x00-\x1f]"), False)
    if not pc.any(control, min_count=0).as_py():
        return quoted
    written = [json.dumps(text, ensure_ascii=False) for text in texts.filter(control).to_pylist()]
    return pc.replace_with_mask(quoted, control, pa.array(written, pa.string()))
