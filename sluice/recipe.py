"""How the text of one file becomes rows of its dataset: everything that is settled before the first row is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sluice.encoding import to_source_bytes
from sluice.header import ColumnPlan
from sluice.model import Dataset, Dialect, Format, ShortRows, StrayQuotes
from sluice.rules import Suite

#: What changes nothing about the rows an import leaves behind, so that a later attempt may set it otherwise.
_WITHOUT_EFFECT = {"name", "max_rejects", "commit", "dialect"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Small and picklable.

    Attributes:
        columns: which file column fills which column of the dataset.
        names: unique labels of the file's columns, in its order.
        data_start: byte of the text where the data begins, after preamble and header; first_line: its physical
            line (1-based).
        suite: the dataset's rules, checked; None where it has none.
        untyped: the columns are still all text, and wait for the whole file to be looked at (`--infer`).
        begins_with: the sample's text, so that a file that was exchanged in between is noticed.
        notes: what the operator should know of what was found out, for the report.
    """

    dataset: Dataset
    dialect: Dialect
    columns: ColumnPlan
    names: tuple[str, ...]
    data_start: int
    first_line: int
    suite: Suite | None = None
    untyped: bool = False
    begins_with: bytes = field(default=b"", repr=False)
    notes: tuple[str, ...] = ()

    def source_bytes(self, text: bytes) -> bytes:
        """A record's UTF-8 text -> its bytes in the source's own encoding."""
        return text if self.dialect.encoding == "utf-8" else to_source_bytes(text, self.dialect.encoding)

    def plan_dict(self) -> dict[str, Any]:
        """For the ledger: what was decided about the file's columns."""
        return {
            "names": list(self.names),
            "columns": self.columns.to_dict(),
            "data_start": self.data_start,
            "first_line": self.first_line,
        }

    def fingerprint(self, sha256: str) -> str:
        """One text for content, target and everything that changes which rows an import leaves behind."""
        dataset = {name: value for name, value in asdict(self.dataset).items() if name not in _WITHOUT_EFFECT}
        whole = {
            "sha256": sha256,
            "dataset": dataset,
            "dialect": asdict(self.dialect),
            "columns": self.columns.to_dict(),
            "data_start": self.data_start,
        }
        text = json.dumps(whole, sort_keys=True, default=str, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def dialect_from(stored: Mapping[str, Any]) -> Dialect:
    """The dialect an import's ledger row holds."""
    values = {name.name: stored[name.name] for name in fields(Dialect) if name.name in stored}
    values["stray_quotes"] = StrayQuotes(values["stray_quotes"])
    values["short_rows"] = ShortRows(values["short_rows"])
    values["format"] = Format(values.get("format", Format.CSV))
    return Dialect(**values)
