"""How a file is written: what was told about it, and for the rest what a sample says. Settled once, then stored."""

from __future__ import annotations

import re
from collections.abc import Collection

from sluice.errors import UsageError
from sluice.head import skipped
from sluice.model import Dialect, DialectOptions, ShortRows, StrayQuotes
from sluice.sniff import best_reading, has_header

_WORDS = {
    "tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ", "colon": ":",
    "backslash": "\\",
}  # fmt: skip
_HEXADECIMAL = re.compile(r"\\x([0-7][0-9a-fA-F])")

#: Excel's hint in a file's first line, which it obeys and does not show: https://en.wikipedia.org/wiki/Delimiter-separated_values
_EXCEL_HINT = re.compile(rb'(?:"sep=([^"\r\n])"|sep=([^\r\n]))[,;\t|]*(?:\r\n|\n|\r|\Z)', re.IGNORECASE)


def settle(sample: bytes, told: DialectOptions, *, encoding: str = "utf-8", known: Collection[str] = ()) -> Dialect:
    """Every field of the dialect: as told, else as the sample (UTF-8, without a BOM) says.

    Args:
        encoding: the settled one of the sample.
        known: names a header may hold, normalised (`sluice.header.known_names`).

    Raises:
        UsageError: a value told is impossible, or two exclude each other.
    """
    values = _checked(told)
    fixed = {name for name, value in values.items() if value is not None}
    fixed |= {name for name in ("quote", "escape") if getattr(told, name) is not None}
    skip = told.skip_lines
    if skip is None and (hint := _EXCEL_HINT.match(sample)) is not None:
        skip = 1
        mark = (hint[1] or hint[2]).decode("ascii", "replace")
        if "delimiter" not in fixed and mark.isascii() and mark != values["quote"]:
            values["delimiter"] = mark
            fixed.add("delimiter")
    base = Dialect(
        delimiter=values["delimiter"] or ",",
        quote=values["quote"] if "quote" in fixed else '"',
        escape=values["escape"],
        encoding=encoding,
        stray_quotes=told.stray_quotes or StrayQuotes.REJECT,
        short_rows=told.short_rows or ShortRows.REJECT,
    )
    body = sample[skipped(sample, skip or 0) :]
    if told.skip_lines is not None:
        fixed.add("skip_lines")
    reading = best_reading(body, base, fixed, known)
    header = told.header if told.header is not None else has_header(reading)
    if reading.head and not header:
        reading = best_reading(body, base, fixed | {"skip_lines"}, known)
        header = told.header if told.header is not None else has_header(reading)
    preamble = reading.rows[reading.head].line if reading.head else 0
    return Dialect(
        delimiter=reading.dialect.delimiter,
        quote=reading.dialect.quote,
        escape=reading.dialect.escape,
        encoding=encoding,
        header=header,
        skip_lines=(skip or 0) + preamble,
        stray_quotes=base.stray_quotes,
        short_rows=base.short_rows,
    )


def _checked(told: DialectOptions) -> dict[str, str | None]:
    """The three characters; quote and escape are None where they are switched off as well as where nothing is told."""
    delimiter = _character("delimiter", told.delimiter) if told.delimiter is not None else None
    quote = _character("quote", told.quote) if told.quote not in (None, "", "none") else None
    escape = _character("escape", told.escape) if told.escape not in (None, "", "none") else None
    if escape is not None and escape == (quote or '"'):
        escape = None  # a doubled quote: the usual way
    used = quote if told.quote is not None else '"'
    if delimiter is not None and delimiter in (used, escape):
        what = "quote" if delimiter == used else "escape"
        raise UsageError(f"{delimiter!r} cannot be the delimiter and the {what}.", hint="Tell another, or none.")
    if told.skip_lines is not None and told.skip_lines < 0:
        raise UsageError("The number of lines to skip cannot be negative.")
    return {"delimiter": delimiter, "quote": quote, "escape": escape}


def _character(what: str, told: str | None) -> str:
    told = told or ""
    if hexadecimal := _HEXADECIMAL.fullmatch(told):
        told = chr(int(hexadecimal[1], 16))
    character = _WORDS.get(told.lower(), told)
    if len(character) != 1 or not character.isascii() or character in "\r\n\0":
        hint = "Write tab or \\t for a tab." if what == "delimiter" else "Write none to switch it off."
        raise UsageError(f"The {what} must be a single ASCII character that ends no line, not {told!r}.", hint=hint)
    return character
