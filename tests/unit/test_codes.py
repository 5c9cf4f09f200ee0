"""The vocabulary of rejection is complete, and documented from the code."""

from __future__ import annotations

import re
from pathlib import Path

from sluice.codes import CODES, Category, category_of, documentation
from sluice.model import ColumnType, TypeName

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/error-codes.md").read_text()
    assert page == documentation(), "run: python -m sluice.codes > docs/error-codes.md"


def test_every_code_in_the_source_is_in_the_vocabulary() -> None:
    used: set[str] = set()
    for path in (ROOT / "sluice").rglob("*.py"):
        used |= set(re.findall(r'"((?:csv|type|key|db)\.[a-z_]+)"', path.read_text()))
    assert used <= set(CODES)


def test_every_type_has_a_code() -> None:
    codes = {ColumnType(name).code for name in TypeName if name is not TypeName.TEXT}
    assert codes <= set(CODES)


def test_rules_have_a_category() -> None:
    assert category_of("rule.expect_column_values_to_not_be_null") is Category.MISSING_VALUE
    assert category_of("rule.expect_column_values_to_be_in_set") is Category.OTHER
