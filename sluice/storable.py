"""Values as PostgreSQL can hold them: text from a file is hostile, and may hold what text and jsonb refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates replaced by U+FFFD and `?`."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def storable_json(value: object) -> Jsonb:
    """`value` as a parameter for a jsonb column."""
    return Jsonb(_plain(value))


def optional_json(value: object) -> Jsonb | None:
    """The same for a column that may be NULL, which stands for None."""
    return None if value is None else storable_json(value)


def _plain(value: object) -> Any:
    """As jsonb can hold it: no NUL, no lone surrogate, no NaN or infinity (null), numbers of numpy as numbers."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return _plain(value.item())
    return storable(str(value))
