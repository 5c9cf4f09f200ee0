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


def test_one_module_imports_great_expectations_and_pandas_comes_with_it() -> None:
    """So that an import without them is one that never gets to these (tests/postgres/test_import_start.py)."""
    for path in modules("sluice"):
        found = {name.split(".")[0] for name, _ in imports(path)}
        assert "great_expectations" not in found or path.name == "gx.py", path
        assert "pandas" not in found or path.name in ("engine.py", "frame.py", "stock.py"), path


def test_judging_with_a_loaded_suite_is_light() -> None:
    light = ("cache", "plan", "result", "metrics", "judgement", "kernels", "stored", "unique")
    code = (
        "import sys; from sluice.without_pandas import keep_pandas_out; keep_pandas_out();"
        f"import {', '.join(f'sluice.rules.{name}' for name in light)}, sluice.run, sluice.report, sluice.cli;"
        "slow = 'pandas great_expectations sqlalchemy alembic fsspec jsonschema charset_normalizer'.split();"
        "print(*[m for m in slow if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == ""


def test_importing_the_engine_makes_no_arrow_array() -> None:
    """The first one imports pandas, unless it was kept out before (`sluice.without_pandas`)."""
    code = "import sys, sluice.workers, sluice.run, sluice.rules.plan; print('pandas' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "False"


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
