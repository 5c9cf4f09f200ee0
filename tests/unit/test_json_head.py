"""What a JSON text's beginning says: array or NDJSON, its layout, its keys."""

from __future__ import annotations

import json

import pytest

from sluice.errors import HeaderError, UsageError
from sluice.json_head import read_keys, settle_json
from sluice.model import DialectOptions, Format, StrayQuotes

NESTED = [{"a": 1, "b": [{"c": 2}, {"c": 3}]}, {"a": 4}]


@pytest.mark.parametrize(
    ("text", "form", "indent"),
    [
        (json.dumps(NESTED), Format.JSON, 0),
        (json.dumps(NESTED, indent=2), Format.JSON, 2),
        (json.dumps(NESTED, indent="\t"), Format.JSON, 1),
        (json.dumps(NESTED, indent=0), Format.JSON, None),
        ('\n[{\n  "a": [{\n    "b": 1\n  }, {\n    "b": 2\n  }]\n}, {\n  "a": 1\n}]', Format.JSON, 0),
        ('{"a": 1}\n{"a": 2}\n', Format.NDJSON, None),
    ],
)
def test_the_layout_is_found(text: str, form: Format, indent: int | None) -> None:
    dialect = settle_json(text.encode(), DialectOptions())
    assert (dialect.format, dialect.indent) == (form, indent)


def test_keys_are_collected_once_in_their_order() -> None:
    text = b'\n [\n{"B b": 1, "a": 2}, 5, {"x": NaN},\n{"b_B": 1, "c": null, "": 1}]'
    header = read_keys(text, settle_json(text, DialectOptions()), complete=True)
    assert header.names == header.labels == ("B b", "a", "c")
    assert (header.data_start, header.first_line) == (3, 2)


def test_an_empty_array_has_no_columns() -> None:
    assert read_keys(b"[ ]", settle_json(b"[ ]", DialectOptions()), complete=True).width == 0


@pytest.mark.parametrize("text", [b"[1, 2]", b'{\n"a": 1\n}\n', b'[\n"a"\n]'])
def test_a_text_without_objects_is_refused(text: bytes) -> None:
    with pytest.raises(HeaderError, match="no object can be read"):
        read_keys(text, settle_json(text, DialectOptions()), complete=True)


@pytest.mark.parametrize(
    ("told", "option"),
    [
        (DialectOptions(delimiter=";"), "--delimiter"),
        (DialectOptions(header=False), "--no-header"),
        (DialectOptions(skip_lines=0), "--skip-lines"),
        (DialectOptions(stray_quotes=StrayQuotes.LITERAL), "--stray-quotes"),
    ],
)
def test_what_only_csv_has_cannot_be_told(told: DialectOptions, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        settle_json(b"[]", told)
    assert settle_json(b"[]", DialectOptions(encoding="cp1252"), encoding="cp1252").encoding == "cp1252"
