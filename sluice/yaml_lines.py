"""YAML with the line each value stands on, and with texts for values."""

from __future__ import annotations

from typing import Any

import yaml

from sluice.errors import DatasetError

#: Where a value is: the keys and list positions that lead to it.
Path = tuple[str | int, ...]


def read_yaml(text: str, file: str) -> tuple[Any, dict[Path, int], list[tuple[Path, str]]]:
    """The document as dicts, lists and texts, with the line of each node.

    YAML's implicit types are left out on purpose: `null: [NULL, NO]` and `default: 007` mean what they say.

    Raises:
        DatasetError: not YAML, or YAML with aliases.
    """
    try:
        for event in yaml.parse(text, Loader=yaml.BaseLoader) if "*" in text else ():
            if isinstance(event, yaml.AliasEvent):
                raise DatasetError(
                    "Aliases (*name) are not read.", hint="Write the value out.", file=file, line=_mark(event)
                )
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise DatasetError(f"Not YAML: {problem}.", file=file, line=mark.line + 1 if mark else None) from None
    lines: dict[Path, int] = {}
    problems: list[tuple[Path, str]] = []
    return _plain(root, (), lines, problems), lines, problems


def _mark(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _plain(node: Any, path: Path, lines: dict[Path, int], problems: list[tuple[Path, str]]) -> Any:
    if node is None:
        return None
    lines.setdefault(path, _mark(node))
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, place), lines, problems) for place, item in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in found:
            problems.append(((*path, key), f"this key stands twice, on line {_mark(key_node)} again"))
        lines.setdefault((*path, key), _mark(key_node))
        found[key] = _plain(value_node, (*path, key), lines, problems)
    return found
