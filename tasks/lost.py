"""Write down that imports have ended whose process is gone, by what Prefect says of their runs. No Prefect is imported.

Used by the watcher process, and by the flow `watch-inbox` where that does not run. Any number of them may do it.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from sluice.database import connect, database_url
from sluice.history import ImportRow
from sluice.inbox import ENDED
from sluice.lost import end_silent, silent_imports, verdict
from sluice.migrate import ensure_ledger
from sluice.prefect_api import PrefectApi
from sluice.settings import Settings


@dataclass(slots=True)
class LostImports:
    """Looks for them again and again. Remembers how long the table of each has been free."""

    settings: Settings
    api: PrefectApi
    log: logging.Logger | logging.LoggerAdapter[Any]
    _free_since: dict[tuple[int, int], float] = field(default_factory=dict)

    def look(self) -> None:
        """One look.

        Raises:
            SluiceError: the database does not answer. PrefectApiError: the server does not; look again.
        """
        with closing(connect(database_url(self.settings))) as connection:
            ensure_ledger(connection)
            silent, now = silent_imports(connection), time.monotonic()
            self._free_since = {key: self._free_since.get(key, now) for key in map(_key, silent)}
            ended = self._ended([row.flow_run_id for row in silent if row.flow_run_id])
            for row in silent:
                status = verdict(ended.get(row.flow_run_id or ""), now - self._free_since[_key(row)])
                if status is not None and end_silent(connection, row, status):
                    self.log.warning("import #%s into %s is %s: its process is gone", row.id, row.table, status)

    def _ended(self, flow_run_ids: list[str]) -> dict[str, str]:
        """Those of the runs that have ended -> the type of the state."""
        if not flow_run_ids:
            return {}
        wanted = {"id": {"any_": flow_run_ids}, "state": {"type": {"any_": ENDED}}}
        found = self.api.post("/flow_runs/filter", {"flow_runs": wanted, "limit": 200})
        return {run["id"]: run["state_type"] for run in found}


def _key(row: ImportRow) -> tuple[int, int]:
    return row.id, row.attempt
