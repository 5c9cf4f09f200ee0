"""Text from files inside Markdown: it is shown as it is, and can be neither markup, nor HTML, nor a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Characters of a value that are shown; the ledger keeps the whole record.
LIMIT = 200

#: Punctuation that means nothing inside a line of Markdown, with letters, digits and blanks around it.
_HARMLESS = frozenset(" .,;:%=/?'-")

#: Where GitHub's flavour makes a link of text that nothing marks as one. Prefect's UI (remark-gfm) looks for links
#: after it has decoded entities, so a character that is not seen stands there: a word joiner.
_BARE_LINK = re.compile(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)")
_JOINER = "\u2060"

#: What can stand in inline code in any place, a table's cell included, and be shown as it is.
_CODE = re.compile(r"(?!\s)[^`|\\]+(?<!\s)")


def plain(text: str | None, limit: int = LIMIT) -> str:
    """The text without control characters (nor such as turn the direction of writing), and not too long."""
    if text is None:
        return ""
    shown = "".join(char if char.isprintable() else ("⏎" if char == "\n" else "�") for char in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def escaped(text: str | None, limit: int = LIMIT) -> str:
    """The text for any place in a Markdown page, a table's cell included: what could be markup becomes entities,
    which Markdown reads as text in every place (CommonMark 0.31, section 2.5)."""
    return "".join(
        char if char.isalnum() or (index and char in _HARMLESS) else f"&#{ord(char)};"
        for index, char in enumerate(_BARE_LINK.sub(_JOINER, plain(text, limit)))
    )


def code(text: str | None, limit: int = LIMIT) -> str:
    """The text as inline code, where nothing is markup and nothing is added; text that could end it is escaped."""
    shown = plain(text, limit)
    return f"`{shown}`" if _CODE.fullmatch(shown) else escaped(text, limit)


def shortened(text: str, limit: int) -> str:
    """The text with its middle left out where it is longer: names differ at their ends."""
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[len(text) - (limit - 1) // 2 :]}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already. A header that ends with `:` makes its column align to the right."""
    lines = [_line(name.removesuffix(":") for name in header)]
    lines.append(_line("---:" if name.endswith(":") else "---" for name in header))
    lines += map(_line, rows)
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def bar(share: float, width: int = 20) -> str:
    """A bar as inline code, which is set in letters of one width: `████░░░░`. A share above 0 shows."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    if share > 0:
        filled = max(filled, 1)
    return f"`{'█' * filled}{'░' * (width - filled)}`"
