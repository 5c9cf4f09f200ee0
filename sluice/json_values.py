"""One JSON object's text -> its members as the texts a row is made of. Numbers keep their digits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

#: Key and value of each member, in the object's order. None is JSON's null.
Members: TypeAlias = Sequence[tuple[str, str | None]]


class Unfit(ValueError):
    """Not one JSON object that PostgreSQL can hold; the message says why."""


class _Number(str):
    """A number's own digits: no float ever stands between the file and a numeric column."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """An object's members, repeated keys included."""

    __slots__ = ()


def _refuse(constant: str) -> Any:
    raise Unfit(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_float=_Number, parse_int=_Number, parse_constant=_refuse)
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def members_of(text: str) -> Members:
    """The members of the object that `text` is, without blanks around it.

    true and false become those words, a nested object or array compact JSON text.

    Raises:
        Unfit: a syntax error (RFC 8259; NaN and Infinity are none of it), anything but an object, a key twice in
            an object, or an escape for NUL or for half of a surrogate pair, which PostgreSQL cannot hold.
    """
    value = _decoded(text)
    if not isinstance(value, _Object):
        raise Unfit("it is not an object")
    if "\\u" in text:
        _check_characters(value)
    _check_keys(value)
    return [(key, item if item is None or isinstance(item, str) else _text(item)) for key, item in value]


def is_json(text: str) -> bool:
    """Whether the text is one JSON value."""
    try:
        _decoded(text)
    except Unfit:
        return False
    return True


def _decoded(text: str) -> Any:
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise Unfit(f"{error.msg} at character {error.pos + 1:,}") from None
    except RecursionError:
        raise Unfit("it is nested too deeply") from None
    if end != len(text):
        raise Unfit(f"there is more after its end at character {end + 1:,}")
    return value


def _check_keys(members: _Object) -> None:
    if len(dict(members)) != len(members):
        keys = [key for key, _ in members]
        raise Unfit(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")


def _text(value: Any) -> str:
    """A value as compact JSON; text inside keeps its characters."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, _Number):
        return value
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, _Object):
        _check_keys(value)
        return "{" + ",".join(f"{_quoted(key)}:{_text(item)}" for key, item in value) + "}"
    return "[" + ",".join(map(_text, value)) + "]"


def _check_characters(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise Unfit("it holds the character \\u0000")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("it holds half of a surrogate pair") from None
    elif isinstance(value, list):
        for item in value:
            _check_characters(item)
    elif isinstance(value, tuple):
        _check_characters(value[0])
        _check_characters(value[1])
