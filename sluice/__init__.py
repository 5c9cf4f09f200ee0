"""Sluice: CSV files into PostgreSQL. Every record of every file ends in exactly one place, once.

    from sluice import import_file

    report = import_file("customers.csv", dataset="customers")

Importing this package imports neither Prefect nor Great Expectations, nor anything else that is slow to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.errors import SluiceError

if TYPE_CHECKING:
    from sluice.model import Report
    from sluice.run import import_file

__all__ = ["Report", "SluiceError", "import_file"]


def __getattr__(name: str) -> Any:
    """The names that need pyarrow and psycopg, on first use (PEP 562)."""
    if name == "import_file":
        from sluice.run import import_file

        return import_file
    if name == "Report":
        from sluice.model import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
