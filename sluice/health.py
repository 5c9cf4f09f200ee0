"""Is Prefect there? Asked over its HTTP API, so that nothing of Prefect needs to be imported."""

from __future__ import annotations

import json
import os
from urllib.error import URLError
from urllib.request import Request, urlopen

#: Prefect's own default port; `make up` uses it unless PREFECT_SERVER_API_PORT says otherwise.
_PORT = "4200"


def prefect_health() -> list[tuple[str, bool, str]]:
    """(part, is up, address or reason) of the Prefect server and its workers."""
    url = os.environ.get("PREFECT_API_URL") or (
        f"http://127.0.0.1:{os.environ.get('PREFECT_SERVER_API_PORT', _PORT)}/api"
    )
    try:
        _ask(f"{url}/health")
    except (URLError, OSError, ValueError) as error:
        return [("server", False, f"{url} ({getattr(error, 'reason', error)})"), ("worker", False, "no server to ask")]
    server = ("server", True, url)
    try:
        pools = _ask(f"{url}/work_pools/filter", {"limit": 50})
        online = [
            f"{worker['name']} ({pool['name']})"
            for pool in pools
            for worker in _ask(f"{url}/work_pools/{pool['name']}/workers/filter", {"limit": 50})
            if worker.get("status") == "ONLINE"
        ]
    except (URLError, OSError, ValueError, KeyError, TypeError) as error:
        return [server, ("worker", False, f"unknown ({error})")]
    return [server, ("worker", bool(online), ", ".join(online) or "none is online")]


def _ask(url: str, body: dict[str, int] | None = None) -> list[dict[str, str]]:
    data = json.dumps(body).encode() if body is not None else None
    request = Request(url, data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=3) as answer:  # the operator's own Prefect address
        found: list[dict[str, str]] = json.load(answer)
        return found
