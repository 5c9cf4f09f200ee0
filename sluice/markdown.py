"""Text from files on pages in Markdown: it is shown as it is, and can be neither markup, nor HTML, nor a link.

Prefect has two UIs: the one it opens reads Markdown with remark and shows the cells of a table artifact as text, the
older one ("Switch to V1 UI") reads both with marked, which shows entities as they are written. So markup is made text
with backslashes, which both know, and in tables with a character that is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Characters of a value that are shown; the ledger keeps the whole record.
LIMIT = 200

#: Not seen, and no part of a word to those who look for links. Text from a file has none: `plain` replaces it.
_JOINER = "\u2060"

#: Where a link is made of text that nothing marks as one. Remark looks for links after it has taken the backslashes
#: out, so that only a character between helps; and a blank at the beginning could be an indentation.
_BARE_LINK = re.compile(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)|\A(?= )")

#: Where HTML or a link, an image among them, begins in Markdown; an address of mail may be a link.
_DANGER = re.compile(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?<=<)|(?<=\])(?=[(\[:])")

#: ASCII punctuation but for what means nothing inside a line, with letters, digits and blanks around it.
_MARKUP = re.compile(r"""[!"#$&()*+<>@\[\\\]^_`{|}~]|\A[-.,;:%=/?']""")

#: The number of a list's item.
_NUMBER = re.compile(r"\A([0-9]+)\.")

#: What can stand in inline code in any place, a table's cell included, and be shown as it is.
_CODE = re.compile(r"(?!\s)[^`|\\]+(?<!\s)")


def plain(text: str | None, limit: int = LIMIT) -> str:
    """The text without control characters (nor such as turn the direction of writing), and not too long."""
    if text is None:
        return ""
    shown = "".join(char if char.isprintable() else ("⏎" if char == "\n" else "�") for char in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def escaped(text: str | None, limit: int = LIMIT) -> str:
    """The text for any place in a Markdown page, a table's cell included (CommonMark 0.31, section 2.4)."""
    shown = _MARKUP.sub(r"\\\g<0>", _BARE_LINK.sub(_JOINER, plain(text, limit)))
    return _NUMBER.sub(r"\1\\.", shown)


def inert(text: str | None, limit: int = LIMIT) -> str:
    """The text for a cell of a table artifact, which one UI shows as text and the other takes for Markdown: there it
    may be set in bold, but is neither HTML, nor an image, nor a link to a page."""
    return _DANGER.sub(_JOINER, plain(text, limit))


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
