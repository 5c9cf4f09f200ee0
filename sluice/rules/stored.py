"""A checked suite as text, and back: the same value, of plain JSON, so that reading a file can never run anything.

JSON's own scalars and objects stand for themselves; every array is `[what, value]`, where `what` names one of the
few types below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sluice.model import ColumnType, Severity, TypeName
from sluice.rules.values import Judgement, RowRule, Suite, TableMetric, TableRule, UniqueRule

_CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (ColumnType, Judgement, RowRule, Suite, TableMetric, TableRule, UniqueRule)
}
_SCALARS: dict[str, Callable[[str], Any]] = {
    "Severity": Severity,
    "TypeName": TypeName,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "Decimal": Decimal,
}


def write_suite(suite: Suite) -> str:
    """The suite as text.

    Raises:
        ValueError: it holds something that cannot be written down.
    """
    encoded = _encode(suite)
    return _dump({"sha256": _checksum(encoded), "suite": encoded})


def read_suite(text: str, digest: str) -> Suite:
    """The suite that was written down.

    Raises:
        ValueError: this is not the text of a suite with that digest, or not all of it.
    """
    try:
        whole = json.loads(text)
        if _checksum(whole["suite"]) != whole["sha256"]:
            raise ValueError("it was changed")
        suite = _decode(whole["suite"])
    except (KeyError, TypeError, ArithmeticError, RecursionError) as problem:
        raise ValueError(f"not a suite: {problem!r}") from problem
    if not isinstance(suite, Suite) or suite.digest != digest:
        raise ValueError("not the suite looked for")
    return suite


def _checksum(encoded: Any) -> str:
    return hashlib.sha256(_dump(encoded).encode()).hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _encode(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return [type(value).__name__, str(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, Decimal):
        return ["Decimal", str(value)]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_encode(item) for item in value]]
    if isinstance(value, Mapping):
        return {_name(key): _encode(item) for key, item in value.items()}
    if is_dataclass(value) and type(value).__name__ in _CLASSES:
        return [type(value).__name__, {field.name: _encode(getattr(value, field.name)) for field in fields(value)}]
    raise ValueError(f"{type(value).__name__} cannot be written down")


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{key!r} is no name")
    return key


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _decode(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    what, content = value
    if what in ("list", "tuple"):
        items = [_decode(item) for item in content]
        return items if what == "list" else tuple(items)
    if what in _SCALARS:
        return _SCALARS[what](content)
    return _CLASSES[what](**_decode(content))
