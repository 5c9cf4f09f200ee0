"""The house: imports run one way, and nothing slow or live happens at import time."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: deployments -> flows -> tasks -> sluice. The command line is the one exception: it is installed with the engine
#: and starts the flow, so `sluice/cli/` may import `flows`, inside a function.
LAYERS = ["deployments", "flows", "tasks", "sluice"]


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module imported, at the top level)."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in top


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_one_way(package: str) -> None:
    above = LAYERS[: LAYERS.index(package)]
    for path in modules(package):
        for name, top in imports(path):
            if path.parent.name == "cli" and name.startswith("flows") and not top:
                continue
            assert name.split(".")[0] not in above, f"{path.relative_to(ROOT)} imports {name}"


def test_the_engine_knows_no_prefect_and_great_expectations_only_in_rules() -> None:
    for path in modules("sluice"):
        for name, _ in imports(path):
            assert name.split(".")[0] != "prefect", path
            assert name.split(".")[0] != "great_expectations" or path.parent.name == "rules", path


def test_there_are_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for package in LAYERS:
        for path in modules(package):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = {target for target, top in imports(path) if top and target.split(".")[0] in LAYERS}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_importing_sluice_is_light() -> None:
    code = (
        "import sys, sluice; from sluice import import_file, Report, SluiceError;"
        "print(*[m for m in ('prefect', 'great_expectations', 'alembic') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == ""
