"""What our server changes of Prefect's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deployments.server import LOCK_MILLISECONDS, shorten_waits_for_sqlite


def test_sqlite_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration

    async def waits() -> int:
        engine = await AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/prefect.db").engine()
        async with engine.connect() as connection:
            found = (await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar_one()
        await engine.dispose()
        return int(found)

    monkeypatch.setattr(AioSqliteConfiguration, "setup_sqlite", AioSqliteConfiguration.setup_sqlite)  # and back
    assert asyncio.run(waits()) == 60_000, "Prefect has changed: is this still needed?"
    shorten_waits_for_sqlite()
    assert asyncio.run(waits()) == LOCK_MILLISECONDS
