"""Hostile text shows as what it is, in every place of a page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sluice.markdown import bar, code, escaped, inert, plain, shortened, table

EVIL = [
    "<script>alert(1)</script>",
    "| a | b |",
    "[click](javascript:alert(1))",
    "![x](https://example.com/x.png)",
    "[x]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "https://example.com",
    "www.example.com and a@example.com",
    "`code` *bold* _it_ ~~gone~~ # head",
    "- item",
    "1. item",
    "    indented",
    "===",
    "&lt;b&gt; &#60;",
    "a\\|b \\",
]
PLACES = ["{}", "# {}", "- {}", "> {}", "**a** (#1). {}", "| a | b |\n|---|---|\n| {} | c |"]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def read(page: str) -> str:
    """What a reader sees, if it is all text: the joiner is not seen, and no text from outside has one."""
    inlines = [token for token in MARKDOWN.parse(page) if token.type == "inline"]
    kinds = {child.type for inline in inlines for child in inline.children or ()}
    assert kinds <= {"text", "strong_open", "strong_close"}, page
    return " ".join("".join(child.content for child in inline.children or ()) for inline in inlines).replace(
        "\u2060", ""
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", EVIL)
def test_markup_is_text(text: str, place: str) -> None:
    assert read(place.format(escaped(text))) == read(place.format("X")).replace("X", text)


@pytest.mark.parametrize("text", EVIL)
def test_nothing_is_a_link_to_those_who_look_when_all_is_text(text: str) -> None:
    assert not re.search(r"(?i)www\.|://|@\w", re.sub(r"\\([!-/:-@[-`{-~])", r"\1", escaped(text)))


@pytest.mark.parametrize("text", EVIL)
def test_a_cell_that_is_taken_for_markdown_is_no_link_and_no_html(text: str) -> None:
    assert inert(text).replace("\u2060", "") == text
    html = MARKDOWN.render(inert(text))
    assert not re.search(r"<(a|img|script)\b", html)
    assert not re.search(r"(?i)www\.|://", inert(text))


def test_control_characters_and_length() -> None:
    assert plain("a\x1b[31m\u202eb\nc\x00\u2060") == "a�[31m�b⏎c��"
    assert plain("x" * 300, 10) == "x" * 10 + "…"
    assert plain(None) == escaped(None) == inert(None) == ""


@given(st.text(min_size=1), st.sampled_from(PLACES))
def test_nothing_is_lost_or_commands(text: str, place: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert "\r" not in shown
    assert read(place.format(f"x{shown}x")) == read(place.format("X")).replace("X", f"x{plain(text)}x")


def test_a_table_keeps_its_columns() -> None:
    page = table(["code", "rows:"], [[escaped("a|b"), "3"], [escaped("c\nd"), "4"]])
    assert page.splitlines()[1] == "| --- | ---: |"
    assert read(page) == "code rows a|b 3 c⏎d 4"


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
