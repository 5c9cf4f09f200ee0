"""Write the generated parts of the pages: `python -m docs.generate`. `tests/unit/test_docs.py` keeps them true.

A generated part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; all else on a page is written by hand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PACKAGES = ("sluice", "tasks", "flows", "deployments")


def commands() -> str:
    """Every command of `sluice` with its options, as its own help says it."""
    import sluice.cli  # noqa: F401 - adds the commands to the root
    from sluice.cli.root import root

    return "\n\n".join(_command(name, command) for name, command in sorted(root.commands.items()))


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"sluice {name}")
    usage = " ".join([f"sluice {name}", *command.collect_usage_pieces(context)])
    help_text = " ".join((command.help or "").split())
    rows = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    lines = [f"### sluice {name}", "", help_text, "", "```", usage, "```"]
    if rows:
        lines += ["", "| option | meaning |", "|---|---|"]
        lines += [f"| `{_cell(row[0])}` | {_cell(row[1])} |" for row in rows if row is not None]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def modules() -> str:
    """Every module, with the first sentence of its docstring."""
    lines = ["| module | what it is about |", "|---|---|"]
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py"), key=_order):
            if path.parent.name != "versions":
                name = path.relative_to(ROOT).as_posix().removesuffix("__init__.py")
                lines.append(f"| `{name}` | {_cell(_first_sentence(path))} |")
    return "\n".join(lines)


def _order(path: Path) -> tuple[str, bool, str]:
    return path.parent.as_posix(), path.name != "__init__.py", path.name


def _first_sentence(path: Path) -> str:
    paragraph = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[^.]\.) ", paragraph)[0]


#: Page -> name of the part -> what stands there.
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/commands.md": {"commands": commands},
    "docs/architecture.md": {"modules": modules},
}


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with a generated part, and its text as it should be."""
    for page, parts in PARTS.items():
        text = (ROOT / page).read_text()
        for name, part in parts.items():
            begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
            if text.count(begin) != 1 or text.count(end) != 1:
                raise ValueError(f"{page} must have the marks of {name!r} once.")
            before, rest = text.split(begin)
            text = f"{before}{begin}{part()}\n{end}{rest.split(end)[1]}"
        yield ROOT / page, text


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text)
