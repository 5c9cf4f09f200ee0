"""Encodings: told or detected, decoded to UTF-8 as the bytes stream by, and back again for a rejected row's bytes.

Undecodable bytes never raise here, because one bad byte must cost one row and not the file. A source byte `b` that
does not decode becomes the lone surrogate U+DC00 + b, written in UTF-8 form: three bytes no valid UTF-8 holds, so
that the strict parser rejects that line as `csv.encoding`. No strict decoder yields lone surrogates by itself, so
the way back is exact. In a UTF-8 source bad bytes are invalid UTF-8 already and stay as they are.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

import numpy as np

from sluice.errors import SourceError, UsageError

#: Python codecs that turn bytes into text without being the encoding of any file, and the encodings that switch
#: character sets by escape sequences: in those a line's bytes depend on the lines before, and quotes hide in letters.
_REFUSED = re.compile("idna|punycode|unicode.escape|raw.unicode.escape|undefined|utf-7|iso2022.*|hz")

#: Longest first: UTF-32-LE's mark begins with UTF-16-LE's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: What a guess may answer, besides windows-1252: what spreadsheets and databases still write today.
_GUESSES = [
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "koi8_r",
    "cp932",
    "gb18030",
    "big5",
    "euc_jp",
    "euc_kr",
]

#: Fewer bytes above ASCII than this are no evidence: any of a dozen encodings fits them (measured, docs/sources.md).
_EVIDENCE = 40

#: Share of bytes above ASCII that must read as Western European writing for windows-1252 to be believed.
_PLAUSIBLE = 0.9

_ESCAPED = re.compile("([\udc00-\udcff]+)")


def _escape_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("sluice.escape", _escape_bytes)


def canonical(name: str) -> str:
    """The one spelling of an encoding's name. ASCII is read as UTF-8, and `utf-8-sig` is UTF-8 (a BOM is dropped
    anyway); `utf-16` and `utf-32` stay as they are until the file's first bytes decide the byte order.

    Raises:
        UsageError: for a name that is no encoding of text files.
    """
    try:
        codec = codecs.lookup(name.strip())
    except (LookupError, ValueError):
        codec = None
    if codec is None or _REFUSED.fullmatch(codec.name) or not codec._is_text_encoding:
        raise UsageError(
            f"{name!r} is not an encoding Sluice reads.",
            hint="Names are Python's: utf-8, utf-16, cp1252, latin-1, cp1251, shift_jis, gb18030.",
        )
    return "utf-8" if codec.name in ("ascii", "utf-8-sig") else codec.name


def mark(start: bytes) -> tuple[str, int] | None:
    """The encoding a byte order mark names, and the mark's length in bytes."""
    for bom, encoding in _MARKS:
        if start.startswith(bom):
            return encoding, len(bom)
    return None


def settle(start: bytes, told: str | None, *, complete: bool) -> str:
    """The encoding of a file that begins with these bytes: told, else by its mark, else detected.

    Args:
        complete: `start` is the whole file; otherwise a character cut in two at its end is no error.

    Raises:
        UsageError: for an unknown name.
        SourceError: the file's byte order mark says otherwise than what was told.
    """
    marked = mark(start)
    if told is None:
        return marked[0] if marked else detect(start, complete=complete)
    name = canonical(told)
    if marked and marked[0] != name and not (name in ("utf-16", "utf-32") and marked[0].startswith(name)):
        # Reading it as told would load mojibake in every row with an accent.
        raise SourceError(
            f"The file begins with the byte order mark of {marked[0]}, but was said to be {name}.",
            hint="Leave the encoding out: the mark is reliable.",
        )
    if name in ("utf-16", "utf-32"):
        return marked[0] if marked else _byte_order(start) or f"{name}-le"
    return name


def detect(start: bytes, *, complete: bool) -> str:
    """The encoding of bytes without a mark. Deterministic.

    UTF-8 is kept for a file that is UTF-8 but for some bad bytes, and for one no encoding fits convincingly: its
    bad lines are then rejected rather than loaded as something else.
    """
    if start.isascii():
        return _byte_order(start) or "utf-8"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start, complete)
    except UnicodeDecodeError:
        return _byte_order(start) or _legacy(start)
    return _byte_order(start) or "utf-8"


def _byte_order(start: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: zero bytes stand at the same places in each character of mostly Latin text."""
    if b"\0" not in start[:4096]:
        return None
    units = np.frombuffer(start[: len(start) // 4 * 4], np.uint8).reshape(-1, 4) == 0
    if not len(units):
        return None
    zero = units.mean(axis=0)
    if min(zero[1:]) > 0.9 and zero[0] < 0.1:
        return "utf-32-le"
    if min(zero[:3]) > 0.9 and zero[3] < 0.1:
        return "utf-32-be"
    even, odd = (zero[0] + zero[2]) / 2, (zero[1] + zero[3]) / 2
    if odd > 0.3 and even < 0.05:
        return "utf-16-le"
    if even > 0.3 and odd < 0.05:
        return "utf-16-be"
    return None


def _legacy(start: bytes) -> str:
    """The encoding of bytes that are not UTF-8 throughout."""
    text = start.decode("utf-8", "replace")
    bad = text.count("\ufffd") - start.count("\ufffd".encode())
    if len(re.findall("[^\x00-\x7f\ufffd]", text)) > bad:
        return "utf-8"
    # Only the lines that say something, so that a long ASCII start does not drown them.
    lines = b"\n".join(line for line in start.split(b"\n") if not line.isascii())[: 64 * 1024]
    if _western(lines.decode("cp1252", "replace")) >= _PLAUSIBLE:
        return "cp1252"
    if sum(byte > 0x7F for byte in lines) < _EVIDENCE:
        return "utf-8"
    turkish = lines.decode("cp1254", "replace")
    if _TURKISH & set(turkish) and not _ICELANDIC & set(turkish) and _western(turkish) >= _PLAUSIBLE:
        return "cp1254"
    from charset_normalizer import from_bytes  # slow to import and rarely needed

    best = from_bytes(lines, cp_isolation=_GUESSES, threshold=0.2).best()
    return canonical(best.encoding) if best is not None else "utf-8"


#: windows-1254 is windows-1252 but for six letters, which Icelandic needs; its other accents tell it from Turkish.
_TURKISH, _ICELANDIC = set("ğĞıİşŞ"), set("áéíóúæ")
#: Characters between letters of one Western word that are no letters: apostrophe, hyphens, middle dot, ordinals.
_INNER = "'’‑­·ªº°"
#: Symbols that stand beside words in Western text.
_BESIDE = "€‚„…‹‘’“”•–—™›\xa0¡£¥§©ª«¬®°±²³´µ·¹º»¼½¾¿×÷ß"
#: What follows a single capital ("À la carte", "É.").
_AFTER_CAPITAL = " .-'’,;|\t\r\n\""
_FOREIGN = re.compile(r"[^\x00-\x7f]{3,}")


def _western(text: str) -> float:
    """The share of characters above ASCII that stand where Western European writing has them.

    Implausible are: undefined bytes, a capital after a small letter, symbols inside words, three accented letters
    in a row (Cyrillic, Greek and East Asian texts are runs of them), and the ÿ and þ that stray bytes become.
    """
    total = plausible = 0
    icelandic = len(_ICELANDIC & set(text)) > 2
    runs = {at for run in _FOREIGN.finditer(text) for at in range(*run.span())}
    for at, char in enumerate(text):
        if char.isascii():
            continue
        total += 1
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        plausible += at not in runs and _fits(before, char, after, icelandic)
    return plausible / total if total else 0.0


def _fits(before: str, char: str, after: str, icelandic: bool) -> bool:
    if char in "\ufffdÿ¤¦¨¸¯ˆ˜†‡‰ƒ" or (char in "þÞÝýðÐ" and not icelandic):
        # Letters of few languages, and symbols nobody types: far rarer than bytes of another encoding.
        return char in "ýÝðÐþÞ" and before.isalpha() and after.isalpha() and before.islower() == char.islower()
    if char.isalpha() and char not in "ªºµ":
        if char.isupper() and not after.isalpha() and not before.isupper() and after not in _AFTER_CAPITAL:
            return False
        return not (char.isupper() and before.islower()) and not (char.islower() and after.isupper())
    if before.isalpha() and after.isalpha():
        return char in _INNER
    return char in _BESIDE


def decoder(encoding: str) -> Callable[[bytes, bool], bytes]:
    """A function that turns successive pieces of a source (the last one marked by True) into UTF-8 without a BOM.

    For UTF-8 the bytes pass through as they are.
    """
    if encoding == "utf-8":
        return _Utf8()
    return _Transcoder(encoding)


class _Utf8:
    """Passes UTF-8 through, less the mark at its beginning (which may arrive in pieces)."""

    def __init__(self) -> None:
        self._head: bytes | None = b""

    def __call__(self, piece: bytes, final: bool) -> bytes:
        if self._head is None:
            return piece
        head = self._head + piece
        if len(head) < len(codecs.BOM_UTF8) and not final:
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(codecs.BOM_UTF8)


class _Transcoder:
    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("sluice.escape")
        self._started = False

    def __call__(self, piece: bytes, final: bool) -> bytes:
        text = self._decoder.decode(piece, final)
        if not self._started and text:
            self._started = True
            text = text.removeprefix("\ufeff")
        return text.encode("utf-8", "surrogatepass")


def to_source_bytes(text: bytes, encoding: str) -> bytes:
    """The source's own bytes of decoded text, undecodable bytes included. A character cut in two at the text's end
        (of a record too long to be kept whole) is left out.

        Exact for UTF-8, UTF-16, UTF-32 and every one-byte encoding. The East Asian encodings that know two codes for
    some characters (cp932, Big5, JIS X 0213, Johab) get the codec's preferred one.

        Raises:
            ValueError: for bytes that no decoder of this module produces.
    """
    if encoding == "utf-8":
        return bytes(text)
    try:
        decoded = bytes(text).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        if error.start < len(text) - 3:
            raise
        decoded = bytes(text[: error.start]).decode("utf-8", "surrogatepass")
    pieces = _ESCAPED.split(decoded)
    return b"".join(
        bytes(ord(char) - 0xDC00 for char in piece) if index % 2 else piece.encode(encoding)
        for index, piece in enumerate(pieces)
    )
