"""Prefect's REST API as any client sees it."""

from __future__ import annotations

import time
from typing import Any

import httpx


class Api:
    """JSON in, JSON out; a busy server (SQLite answers 503) is asked again."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def post(self, path: str, **body: Any) -> Any:
        return self._send("POST", path, body)

    def patch(self, path: str, **body: Any) -> Any:
        return self._send("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._send("DELETE", path, None)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        for _ in range(30):
            answer = self._client.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def artifacts(self, flow_run_id: str) -> dict[str, dict[str, Any]]:
        """Key -> newest artifact of that key, of one run."""
        found = self.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run_id]}}, limit=200)
        return {artifact["key"]: artifact for artifact in sorted(found, key=lambda artifact: artifact["created"])}

    def events(self, flow_run_id: str, at_least: int = 1) -> list[dict[str, Any]]:
        """Sluice's events of a run, oldest first; they arrive a moment later."""
        asked = {"any_resource": {"id": [f"prefect.flow-run.{flow_run_id}"]}, "event": {"prefix": ["sluice."]}}
        found: list[dict[str, Any]] = []
        for _ in range(50):
            found = self.post("/events/filter", filter=asked, limit=50)["events"]
            if len(found) >= at_least:
                break
            time.sleep(0.2)
        return sorted(found, key=lambda event: event["occurred"])
