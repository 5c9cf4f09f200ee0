"""Is Prefect there? Asked over its HTTP API, so that nothing of Prefect needs to be imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluice.prefect_api import PrefectApi, PrefectApiError

#: Seconds for each answer: somebody waits for `sluice status`.
_TIMEOUT = 3.0


def prefect_health(home: Path | None = None) -> list[tuple[str, bool, str]]:
    """(part, is up, address or reason) of the Prefect server, its UI, its workers and its deployments."""
    api = PrefectApi.from_environment(home)
    try:
        api.get("/health", timeout=_TIMEOUT)
    except PrefectApiError as error:
        return [("server", False, f"{api.url} ({error})"), ("worker", False, "no server to ask")]
    parts = [("server", True, api.url), ("ui", True, api.url.removesuffix("/api"))]
    try:
        return [*parts, _workers(api), _deployments(api)]
    except PrefectApiError as error:
        return [*parts, ("worker", False, f"unknown: {_reason(error)}")]


def _workers(api: PrefectApi) -> tuple[str, bool, str]:
    online, pools = [], api.post("/work_pools/filter", {"limit": 50}, timeout=_TIMEOUT)
    for pool in pools:
        workers = api.post(f"/work_pools/{pool['name']}/workers/filter", {"limit": 50}, timeout=_TIMEOUT)
        paused = ", paused" if pool.get("is_paused") else ""
        online += [f"{one['name']} (pool {pool['name']}{paused})" for one in workers if one.get("status") == "ONLINE"]
    return "worker", bool(online), ", ".join(online) or "none is online; `make up` starts one"


def _deployments(api: PrefectApi) -> tuple[str, bool, str]:
    found: list[dict[str, Any]] = api.post("/deployments/filter", {"limit": 200}, timeout=_TIMEOUT)
    names = ", ".join(sorted(one["name"] for one in found))
    return "flows", bool(found), names or "no deployment; `make up` makes them"


def _reason(error: PrefectApiError) -> str:
    if error.status == 401:
        return "the server asks for a password; set PREFECT_API_AUTH_STRING=user:password"
    return str(error)
