"""Hostile text shows as what it is, in every place of a page."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.markdown import bar, code, escaped, plain, shortened, table


def read(shown: str) -> str:
    """What a reader sees: the joiner is not seen, and no text from outside has one."""
    return html.unescape(shown).replace("\u2060", "")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "| a | b |",
        "[click](javascript:alert(1))",
        "![x](https://example.com/x.png)",
        "https://example.com",
        "www.example.com and a@example.com",
        "`code` *bold* _it_ ~~gone~~ # head",
        "- item",
        "1. item",
        "&lt;b&gt; &#60;",
        "a\\|b",
    ],
)
def test_markup_is_text(text: str) -> None:
    shown = escaped(text)
    assert read(shown) == text
    bare = re.sub(r"&#\d+;", "", shown)
    assert not re.search(r"[<>|`*_\[\]()!#\\~&@]", bare)
    assert not re.search(r"(?i)www\.|://|@\w", html.unescape(shown)), "a link, for those who look after decoding"


def test_control_characters_and_length() -> None:
    assert plain("a\x1b[31m\u202eb\nc\x00") == "a�[31m�b⏎c�"
    assert plain("x" * 300, 10) == "x" * 10 + "…"
    assert plain(None) == escaped(None) == ""


@given(st.text())
def test_nothing_is_lost_or_commands(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert "\r" not in shown
    assert read(shown) == plain(text)


def test_a_table_keeps_its_columns() -> None:
    lines = table(["code", "rows:"], [[escaped("a|b"), "3"], [escaped("c\nd"), "4"]]).splitlines()
    assert lines[1] == "| --- | ---: |"
    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


@pytest.mark.parametrize("text", ["rule.expect_x", "<b>https://example.com</b>", "two@@example.com", "*a* [b](c)"])
def test_inline_code_shows_text_as_it_is(text: str) -> None:
    assert code(text) == f"`{text}`"


@pytest.mark.parametrize("text", ["a`b", "a|b", "a\\", " a", "a ", ""])
def test_what_could_end_inline_code_is_escaped(text: str) -> None:
    assert code(text) == escaped(text)


def test_inline_code_is_cut_and_holds_no_control_characters() -> None:
    assert code("x" * 300, 10) == f"`{'x' * 10}…`"
    assert code("a\x1b\nb\u202e") == "`a�⏎b�`"
    assert code(None) == ""


def test_a_long_name_keeps_its_ends() -> None:
    assert shortened("customers.csv", 13) == "customers.csv"
    assert shortened("customers-2026-11.csv", 13) == "custom…11.csv"


def test_a_bar_shows_the_smallest_share() -> None:
    assert bar(0, 4) == "`░░░░`"
    assert bar(0.0001, 4) == "`█░░░`"
    assert bar(0.5, 4) == "`██░░`"
    assert bar(2, 4) == "`████`"
