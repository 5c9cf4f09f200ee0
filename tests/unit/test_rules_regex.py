# ruff: noqa: E501 - tables of patterns
"""Python's regular expressions in RE2: whatever is translated finds exactly what `re` finds."""

from __future__ import annotations

import re
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.rules.regex import BadPattern, compile_pattern

# Characters where engines differ: line ends, blanks, digits and letters of other scripts, case folding, marks.
ALPHABET = "ab_1 -@.\n\r\t\v\x1c\x85\xa0\u2003\u2028é\u0301ßſKİ٣²日😀\x00"

ATOMS = st.sampled_from(
    [
        *"abK1@-é٣", ".", r"\.", r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\b", r"\B", "^", "$", r"\A", r"\Z", r"\n", r"\$",
        "[ab]", "[^ab]", r"[\s1]", r"[^\s@]", r"[\w.-]", r"[^\W_]", r"[\D]", "[a-z]", "[^a-zà-ü]", "[]a]", r"[\]\\^]", "[^^]", r"\x41",
        "(?=a)", "(?!a)", "(?<=a)", r"(?<!\s)",
    ]
)  # fmt: skip
QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "+?", "??"])


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouped = st.tuples(inner, QUANTIFIERS).map(lambda pair: f"(?:{pair[0]}){pair[1]}")
    branched = st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})")
    return st.one_of(grouped, branched, st.tuples(inner, inner).map("".join))


SIMPLE = st.tuples(ATOMS, QUANTIFIERS).map(lambda pair: pair[0] if pair[0] in "^$" else "".join(pair))
PATTERNS = st.tuples(
    st.sampled_from(["", "", "", "(?i)", "(?s)", "(?m)"]), st.recursive(SIMPLE, grow, max_leaves=8)
).map("".join)
TEXTS = st.lists(st.none() | st.text(ALPHABET, max_size=8), min_size=1, max_size=30)


def readable(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(PATTERNS.filter(readable), TEXTS)
def test_finds_what_re_finds(pattern: str, texts: list[str | None]) -> None:
    found = compile_pattern(pattern).search(pa.array(texts, pa.large_string()))
    assert found.to_pylist() == [None if text is None else re.search(pattern, text) is not None for text in texts]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.text(ALPHABET, max_size=6))
def test_escaped_text_finds_itself(wanted: str, around: str) -> None:
    values = [wanted, around + wanted + around, around]
    found = compile_pattern(re.escape(wanted)).search(pa.array(values, pa.large_string()))
    assert found.to_pylist() == [wanted in value for value in values]


@pytest.mark.parametrize("escape", [r"\s", r"\d", r"\w", r"\S", r"[^\d]", r"[\W]"])
def test_class_escapes_cover_all_of_unicode(escape: str) -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    pattern = compile_pattern(escape)
    assert pattern.re2 is not None
    expected = [re.search(escape, character) is not None for character in characters]
    assert pattern.search(pa.array(characters, pa.large_string())).to_pylist() == expected


@pytest.mark.parametrize(
    "pattern",
    [r"^[^@\s]+@[^@\s]+\.[^@\s]+$", r"^https?://[^\s/]+(/\S*)?$", "^[0-9A-Fa-f]{15}$", r"^\+?[\d\s().-]{7,}$", "(?i)^[a-z]+$"],
)  # fmt: skip
def test_usual_patterns_run_in_re2(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.re2 is not None
    assert not compiled.no_newline


@pytest.mark.parametrize(
    "pattern", ["(?=a)", r"(a)\1", "a{1001}", "a*+", "(?m)^a", "(?a:a)", "(?i)é", "((((a{30}){30}){30}){30})"]
)
def test_what_re2_cannot_do_stays_with_python(pattern: str) -> None:
    assert compile_pattern(pattern).re2 is None


def test_syntax_only_re2_knows_is_passed_on() -> None:
    assert compile_pattern(r"^\p{Lu}").search(pa.array(["É", "é", None])).to_pylist() == [True, False, None]


@pytest.mark.parametrize(
    ("pattern", "reason"), [("(", "unterminated"), ("[[:digit:]]", "nested set"), ("a**", "multiple")]
)
def test_a_bad_pattern_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(BadPattern, match=reason):
        compile_pattern(pattern)
