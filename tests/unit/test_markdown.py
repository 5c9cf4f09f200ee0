"""Hostile text shows as what it is, in every place of a page."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.markdown import bar, code, escaped, plain, table


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
    assert html.unescape(shown) == text
    bare = re.sub(r"&#\d+;", "", shown)
    assert not re.search(r"[<>|`*_\[\]()!#\\~&@]", bare)
    assert not re.search(r"www\.|://", shown)


def test_control_characters_and_length() -> None:
    assert plain("a\x1b[31m\u202eb\nc\x00") == "a�[31m�b⏎c�"
    assert plain("x" * 300, 10) == "x" * 10 + "…"
    assert plain(None) == escaped(None) == ""


@given(st.text())
def test_nothing_is_lost_or_commands(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert "\r" not in shown
    assert html.unescape(shown) == plain(text)


def test_a_table_keeps_its_columns() -> None:
    lines = table(["code", "rows:"], [[escaped("a|b"), "3"], [escaped("c\nd"), "4"]]).splitlines()
    assert lines[1] == "| --- | ---: |"
    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


def test_names_are_code_and_nothing_else_is() -> None:
    assert code("rule.expect_x") == "`rule.expect_x`"
    assert code("a`b|c") == "a&#96;b&#124;c"


def test_a_bar_shows_the_smallest_share() -> None:
    assert bar(0, 4) == "`░░░░`"
    assert bar(0.0001, 4) == "`█░░░`"
    assert bar(0.5, 4) == "`██░░`"
    assert bar(2, 4) == "`████`"
