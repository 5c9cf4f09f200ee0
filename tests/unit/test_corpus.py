"""Odd CSV, each file with what it holds written beside it: tests/corpus, whose README says how to add a case."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sluice import errors
from sluice.cast import cast_table
from sluice.chunks import CHUNK_BYTES, Cutter
from sluice.model import Chunk, Format
from sluice.parse import Parsed
from sluice.prepare import recipe_for
from sluice.reading import parse
from sluice.recipe import Recipe
from sluice.request import request_of
from sluice.settings import Settings
from sluice.source import Snapshot, snapshot

CORPUS = Path(__file__).parents[1] / "corpus"
#: Every case must say the same however its text is cut: as usual, at every record, in the midst of most of them.
CHUNK_SIZES = (CHUNK_BYTES, 1, 7, 64)
FIELDS = {
    "about", "options", "dialect", "header", "rows", "rejects", "blank_lines", "error", "repeat", "known_bug",
}  # fmt: skip

Answer = dict[str, Any]


def cases() -> list[Any]:
    """One parameter a case; one that shows a known bug must fail."""
    found = []
    for path in sorted(CORPUS.glob("*.json")):
        case = json.loads(path.read_text("utf-8"))
        marks = [pytest.mark.xfail(strict=True, reason=case["known_bug"])] if "known_bug" in case else []
        found.append(pytest.param(path, case, id=path.stem, marks=marks))
    return found


def source_of(path: Path) -> Path:
    """The file a case is about: `<name>.csv`, or `<name>.csv.gz` and the like."""
    found = [file for file in path.parent.glob(f"{path.stem}.csv*") if file.suffix != ".json"]
    assert len(found) == 1, f"{path.name} needs exactly one file beside it, not {found}"
    return found[0]


def grown(value: Any, repeat: dict[str, Any] | None) -> Any:
    """The value with a marker in its texts replaced by a long text that is not worth storing."""
    if repeat is None:
        return value
    if isinstance(value, str):
        return value.replace(repeat["marker"], repeat["text"] * repeat["times"])
    return [grown(item, repeat) for item in value] if isinstance(value, list) else value


def raw_bytes(told: str | dict[str, str]) -> bytes:
    return told.encode() if isinstance(told, str) else bytes.fromhex(told["hex"])


def read_by(recipe: Recipe, snap: Snapshot, chunks: list[Chunk]) -> Answer:
    """What an import with `--all-text` would load and reject, in the form the cases have."""
    rows, rejects, blank_lines, records = [], [], 0, 0
    for chunk in chunks:
        parsed = parse(chunk, snap.read, snap.text_size, recipe.dialect, recipe.names)
        rows += rows_of(recipe, parsed)
        rejects += [[bad.line, bad.byte_offset, bad.code, recipe.source_bytes(bad.raw)] for bad in parsed.bad]
        blank_lines += parsed.blank_lines
        records += parsed.records
        nothing = b"\r\n" if recipe.dialect.format is Format.CSV else b" \t\r\n,]"
        assert not between(parsed, snap.read(chunk.byte_start, chunk.byte_end)).strip(nothing)
    assert records == len(rows) + len(rejects)
    return {"rows": rows, "rejects": rejects, "blank_lines": blank_lines}


def between(parsed: Parsed, text: bytes) -> bytes:
    """What of a chunk's text is in no row and no reject."""
    spans = [(int(start), int(end)) for start, end in zip(parsed.starts, parsed.ends, strict=True)]
    for bad in parsed.bad:
        end = bad.byte_offset + len(bad.raw)
        if bad.code == "csv.too_long":
            line_end = re.search(rb"[\r\n]|\Z", text[end - parsed.chunk.byte_start :])
            end += line_end.start() if line_end else 0
        spans.append((bad.byte_offset, end))
    borders = [parsed.chunk.byte_start, *(border for span in sorted(spans) for border in span), parsed.chunk.byte_end]
    assert borders == sorted(borders)
    return b"".join(
        text[start - parsed.chunk.byte_start : end - parsed.chunk.byte_start]
        for start, end in zip(borders[::2], borders[1::2], strict=True)
    )


def rows_of(recipe: Recipe, parsed: Parsed) -> list[list[Any]]:
    positions = recipe.columns.positions
    assert list(positions.values()) == list(range(len(recipe.names)))
    table = cast_table(parsed.text.rename_columns(list(positions)), recipe.dataset.columns).table
    columns = [column.to_pylist() for column in table.columns]
    return [[int(line), list(values)] for line, *values in zip(parsed.lines, *columns, strict=True)]


def cut_whole(chunks: list[Chunk], recipe: Recipe, snap: Snapshot) -> None:
    """Nothing lies between the chunks or behind the last."""
    borders = [recipe.data_start, *(chunk.byte_end for chunk in chunks)]
    assert [chunk.byte_start for chunk in chunks] == borders[:-1]
    assert borders[-1] == snap.text_size
    lines = [recipe.first_line]
    for chunk in chunks:
        assert chunk.first_line == lines[-1]
        lines.append(chunk.first_line + chunk.lines)


@pytest.mark.parametrize(("path", "case"), cases())
def test_a_case_is_read_as_it_says(path: Path, case: dict[str, Any], tmp_path: Path) -> None:
    assert set(case) <= FIELDS
    source, repeat = source_of(path), case.get("repeat")
    if repeat is not None:
        marker, text = repeat["marker"].encode(), repeat["text"].encode()
        (tmp_path / source.name).write_bytes(source.read_bytes().replace(marker, text * repeat["times"]))
        source = tmp_path / source.name
    settings = Settings(home=tmp_path, inbox=tmp_path, datasets=tmp_path)

    def recipe_of() -> Recipe:
        return recipe_for(request_of(str(source), table="t", all_text=True, **case.get("options", {})), settings)

    if "error" in case:
        with pytest.raises(getattr(errors, case["error"]["class"])) as raised:
            recipe_of()
        assert case["error"]["says"] in str(raised.value)
        return
    recipe = recipe_of()
    settled = asdict(recipe.dialect)
    assert {name: settled[name] for name in case.get("dialect", {})} == case.get("dialect", {})
    assert list(recipe.names) == case["header"]
    expected = {
        "rows": grown(case.get("rows", []), repeat),
        "rejects": [
            [line, offset, code, raw_bytes(grown(raw, repeat))] for line, offset, code, raw in case.get("rejects", [])
        ],
        "blank_lines": case.get("blank_lines", 0),
    }
    cutters: list[tuple[int, Cutter, list[Chunk]]] = [
        (size, Cutter(recipe.dialect, start=recipe.data_start, first_line=recipe.first_line, chunk_bytes=size), [])
        for size in CHUNK_SIZES
    ]

    def cut(block: bytes) -> None:
        for _, cutter, chunks in cutters:
            chunks.extend(cutter.feed(block))

    with snapshot(
        source, recipe.dialect.encoding, tmp_path / "spool", on_block=cut, begins_with=recipe.begins_with
    ) as snap:
        for size, cutter, chunks in cutters:
            chunks += cutter.finish()
            cut_whole(chunks, recipe, snap)
            assert read_by(recipe, snap, chunks) == expected, f"in chunks of {size:,} bytes"


def test_every_file_belongs_to_a_case() -> None:
    cases_ = {path.stem for path in CORPUS.glob("*.json")}
    files = {path.name.split(".csv")[0] for path in CORPUS.glob("*.csv*")}
    assert files == cases_
    assert len(cases_) >= 75


def test_line_ends_are_out_of_gits_reach() -> None:
    """A checkout that turned LF into CRLF would test other files than these."""
    assert "tests/corpus/* -text" in (CORPUS.parents[1] / ".gitattributes").read_text().splitlines()
    assert b"\r\n" not in (CORPUS / "lf.csv").read_bytes()
    assert (CORPUS / "utf8_bom.csv").read_bytes().startswith(codecs.BOM_UTF8)
