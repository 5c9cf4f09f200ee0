"""Where things are: the environment variables of Sluice, as one frozen value."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_ROOT_MARKS = ("prefect.yaml", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of one process.

    Attributes:
        home: `SLUICE_HOME`: embedded data, archives, reports. Default: `.sluice` in the project.
        inbox: `SLUICE_INBOX`: one folder a dataset. Default: `inbox` in the project.
        datasets: `SLUICE_DATASETS`: one folder a dataset. Default: `expectations` in the project.
        database_url: `SLUICE_DATABASE_URL`; None means the embedded server under `home`. Never shown.
    """

    home: Path
    inbox: Path
    datasets: Path
    database_url: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
        """Read the environment. A relative path counts from the working directory, a default from the project.

        A variable that is set to nothing counts as not set, as compose files and CI systems often leave them.
        """
        environ = os.environ if environ is None else environ
        cwd = Path.cwd() if cwd is None else cwd.resolve()
        project = project_root(cwd)

        def folder(variable: str, default: str) -> Path:
            told = environ.get(variable, "").strip()
            return (cwd / Path(told).expanduser()).resolve() if told else project / default

        return cls(
            home=folder("SLUICE_HOME", ".sluice"),
            inbox=folder("SLUICE_INBOX", "inbox"),
            datasets=folder("SLUICE_DATASETS", "expectations"),
            database_url=environ.get("SLUICE_DATABASE_URL", "").strip() or None,
        )


def user_name() -> str | None:
    """Who runs this process; a container may run under a number without a name."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return None


def project_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds prefect.yaml or pyproject.toml; `start` where none does."""
    for folder in (start, *start.parents):
        if any((folder / mark).is_file() for mark in _ROOT_MARKS):
            return folder
    return start
