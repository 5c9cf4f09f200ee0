"""Text from files inside Markdown: it is shown as it is, and can be neither markup, nor HTML, nor a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Characters of a value that are shown; the ledger keeps the whole record.
LIMIT = 200

#: Punctuation that means nothing inside a line of Markdown, with letters, digits and blanks around it.
_HARMLESS = frozenset(" .,;:%=/?'-")

#: What GitHub's flavour makes a link of although nothing marks it (an `@` is encoded anyway).
_BARE_LINK = re.compile(r"(?i)(?<=www)\.|:(?=//)")

_NAME = re.compile(r"[\w.]+", re.ASCII)


def plain(text: str | None, limit: int = LIMIT) -> str:
    """The text without control characters (nor such as turn the direction of writing), and not too long."""
    if text is None:
        return ""
    shown = "".join(char if char.isprintable() else ("⏎" if char == "\n" else "�") for char in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def escaped(text: str | None, limit: int = LIMIT) -> str:
    """The text for any place in a Markdown page, a table's cell included: what could be markup becomes entities,
    which Markdown reads as text in every place (CommonMark 0.31, section 2.5)."""
    shown = "".join(
        char if char.isalnum() or (index and char in _HARMLESS) else _entity(char)
        for index, char in enumerate(plain(text, limit))
    )
    return _BARE_LINK.sub(lambda match: _entity(match[0]), shown)


def _entity(char: str) -> str:
    return f"&#{ord(char)};"


def code(name: str) -> str:
    """A name as inline code if it is one: letters, digits, `_` and `.`; other text escaped."""
    return f"`{name}`" if _NAME.fullmatch(name) else escaped(name)


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
