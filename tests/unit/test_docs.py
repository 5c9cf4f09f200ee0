"""The pages say what the program does, all of it, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

import sluice.cli  # noqa: F401 - adds the commands to the root
from docs.generate import pages
from sluice.cli.importing import EXIT_REJECTS
from sluice.cli.root import root
from sluice.errors import SluiceError
from sluice.model import Report

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = (ROOT / "docs/commands.md").read_text()
DECISIONS = (ROOT / "docs/decisions.md").read_text()

OPTIONS = [
    pytest.param(name, option, id=f"{name} {option.opts[0]}")
    for name, command in root.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]
#: Described ahead of the program. An entry goes when its command comes, or with it the sentence.
PLANNED = {"new-dataset", "undo"}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pytest.mark.parametrize(("page", "text"), [pytest.param(*item, id=item[0].name) for item in pages()])
def test_generated_parts_are_up_to_date(page: Path, text: str) -> None:
    assert page.read_text() == text, "run: python -m docs.generate"


@pytest.mark.parametrize("name", root.commands)
def test_every_command_has_help_and_a_place(name: str) -> None:
    assert root.commands[name].help
    assert f"### sluice {name}\n" in COMMANDS


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_has_help_and_a_place(name: str, option: click.Option) -> None:
    record = option.get_help_record(click.Context(root.commands[name]))
    assert record is not None
    assert record[1]
    section = COMMANDS.partition(f"### sluice {name}\n")[2].partition("\n##")[0]
    assert re.search(rf"^\| `{option.opts[0]}[ `]", section, re.MULTILINE)


def test_every_key_of_the_report_is_documented() -> None:
    section = COMMANDS.partition("## JSON\n")[2].partition("\n## ")[0]
    documented = {
        key for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    assert documented == set(Report.__dataclass_fields__) - {"samples"}


def test_every_exit_status_is_documented() -> None:
    def statuses(error: type[SluiceError]) -> set[int]:
        return {error.exit_status}.union(*map(statuses, error.__subclasses__()))

    section = COMMANDS.partition("## Exit statuses\n")[2].partition("\n## ")[0]
    documented = {int(status) for status in re.findall(r"^\| (\d) \|", section, re.MULTILINE)}
    assert documented == {0, EXIT_REJECTS} | statuses(SluiceError)


def test_every_variable_is_documented() -> None:
    used = {
        variable
        for package in ("sluice", "tasks", "flows", "deployments")
        for path in (ROOT / package).rglob("*.py")
        for variable in re.findall(r"\bSLUICE_[A-Z_]+\b", path.read_text())
    }
    assert used <= set(re.findall(r"^\| `(SLUICE_[A-Z_]+)`", COMMANDS, re.MULTILINE))


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    section = DECISIONS.partition("## Dependencies\n")[2]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in named}
    assert {name for name in names if f"`{name}`" not in section} == set()


def by_hand(page: Path) -> str:
    """The page without its generated parts, which say what modules say of themselves."""
    return re.sub(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", "", page.read_text(), flags=re.DOTALL)


@each_page
def test_commands_that_are_mentioned_exist(page: Path) -> None:
    assert PLANNED.isdisjoint(root.commands)
    for name, rest in re.findall(r"(?:`|bin/|^|\$ )sluice ([a-z][a-z-]*)\b([^`\n]*)", by_hand(page), re.MULTILINE):
        if name in PLANNED:
            continue
        assert name in root.commands, f"sluice {name}"
        known = {text for option in root.commands[name].params for text in option.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, f"sluice {name}{rest}"


@each_page
def test_make_targets_that_are_mentioned_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", by_hand(page), re.MULTILINE)) <= targets


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_picture_is_shown_and_small() -> None:
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", page.read_text())
    }
    pictures = set((ROOT / "docs/images").iterdir())
    assert shown == pictures
    assert max(picture.stat().st_size for picture in pictures) < 200_000


def anchors(page: Path) -> set[str]:
    """The names GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text()


@each_page
def test_python_on_the_pages_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        ast.parse(block)
