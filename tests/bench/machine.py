"""Where and of what figures are, in one sentence."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from sluice.database import connect

ROOT = Path(__file__).parents[2]


def machine(url: str) -> str:
    """The machine, the server at `url`, the day, and the commit that was measured."""
    with connect(url) as connection:
        (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()};"
        f" PostgreSQL {version} on the same machine; Python {platform.python_version()};"
        f" {datetime.now(UTC):%Y-%m-%d}{_commit()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return " ".join(
        {name.strip(): value for name, value in found.items()}.get("model name", platform.machine()).split()
    )


def _commit() -> str:
    """The commit, marked where the files differ from it; nothing without git."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"; {said.stdout.strip()}"
