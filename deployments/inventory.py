"""The page docs/deployments.md, made from prefect.yaml and the flows: `python -m deployments.inventory`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/deployments.md"

_HEAD = """# Deployments

Made from `prefect.yaml` and the flows by `python -m deployments.inventory`; a test keeps it true. Over the API a
deployment is `GET /api/deployments/name/<flow>/<deployment>`.

| deployment | runs | when | limit |
|---|---|---|---|
"""


def page() -> str:
    """The page as it should be."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    deployments = content["deployments"]
    table = "".join(f"{_row(one)}\n" for one in deployments)
    return _HEAD + table + "\n" + "\n".join(line for one in deployments for line in _section(one)) + "\n"


def _row(one: Mapping[str, Any]) -> str:
    limit = one.get("concurrency_limit")
    text = f"{limit['limit']} at a time" if isinstance(limit, dict) else str(limit or "")
    return f"| [{one['name']}](#{one['name']}) | `{flow_of(one).name}` | {_when(one)} | {text} |"


def _when(one: Mapping[str, Any]) -> str:
    found = [_schedule(schedule) for schedule in one["schedules"]]
    return "; ".join(found) or "when asked"


def _schedule(schedule: Mapping[str, Any]) -> str:
    if "interval" in schedule:
        text = f"every {schedule['interval']} s"
    else:
        text = f"`{schedule.get('cron') or schedule['rrule']}` ({schedule['timezone']})"
    return text if schedule["active"] else f"{text}, paused"


def _section(one: Mapping[str, Any]) -> Iterator[str]:
    flow = flow_of(one)
    yield f"## {one['name']}"
    yield ""
    yield f"{one['description']} Tags: {', '.join(f'`{tag}`' for tag in one['tags'])}."
    yield ""
    if one.get("parameters"):
        told = ", ".join(f"`{name}: {value}`" for name, value in one["parameters"].items())
        yield f"Parameters it sets: {told}. For the others see the flow `{flow.name}`."
        yield ""
        return
    schema = flow.parameters.model_dump()
    if not schema["properties"]:
        return
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for name, about in schema["properties"].items():
        default = "required" if name in schema["required"] else f"`{about.get('default')!r}`"
        yield f"| `{name}` | {default} | {_cell(about.get('description') or about.get('title') or '')} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def flow_of(one: Mapping[str, Any]) -> Any:
    module, _, name = one["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    click.echo(f"{PAGE.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
