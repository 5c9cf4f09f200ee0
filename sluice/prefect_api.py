"""Prefect's HTTP API without Prefect: importing it takes a second and a half, a question takes ten milliseconds.

The address is `PREFECT_API_URL`, else that of the service which runs on `SLUICE_HOME`, else port 4200 of this machine
or what `PREFECT_SERVER_API_PORT` says.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

#: Prefect's own default port; `make up` uses it unless PREFECT_SERVER_API_PORT says otherwise.
DEFAULT_PORT = 4200

#: A Prefect server on SQLite answers 503 while its database is locked, for some tenths of a second
#: (github.com/PrefectHQ/prefect/issues/18934); nothing was written then, so that asking again is safe.
_BUSY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)


class PrefectApiError(Exception):
    """Prefect did not answer, or said no. `status` is the HTTP status, None where nothing answered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """One Prefect server.

    Attributes:
        url: ends in `/api`.
        auth: `user:password` where the server asks for it. Never shown.
    """

    url: str
    auth: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, home: Path | None = None, environ: Mapping[str, str] | None = None) -> PrefectApi:
        """The server of the environment. `home` is where a running service has written its address."""
        environ = os.environ if environ is None else environ
        port = environ.get("PREFECT_SERVER_API_PORT") or DEFAULT_PORT
        url = environ.get("PREFECT_API_URL") or (home and service_url(home)) or f"http://127.0.0.1:{port}/api"
        auth = environ.get("PREFECT_API_AUTH_STRING") or environ.get("PREFECT_SERVER_API_AUTH_STRING")
        return cls(url.rstrip("/"), auth or None)

    def get(self, path: str, *, timeout: float = 10.0) -> Any:
        """What `GET path` answers, as Python values.

        Raises:
            PrefectApiError: no answer, or not a good one.
        """
        return self._ask("GET", path, None, timeout)

    def post(self, path: str, body: Any, *, timeout: float = 10.0) -> Any:
        """The same for `POST`, with `body` as JSON. Tried again while the server says it is busy."""
        return self._ask("POST", path, body, timeout)

    def patch(self, path: str, body: Any, *, timeout: float = 10.0) -> Any:
        """The same for `PATCH`."""
        return self._ask("PATCH", path, body, timeout)

    def _ask(self, method: str, path: str, body: Any, timeout: float) -> Any:
        for pause in (*_BUSY_SECONDS, None):
            try:
                return self._ask_once(method, path, body, timeout)
            except PrefectApiError as error:
                if error.status != 503 or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("not reached: the last try returns or raises")

    def _ask_once(self, method: str, path: str, body: Any, timeout: float) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.auth:
            headers["Authorization"] = "Basic " + base64.b64encode(self.auth.encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        try:
            request = Request(self.url + path, data, headers, method=method)
            with self._opener().open(request, timeout=timeout) as answer:
                text = answer.read()
            return json.loads(text) if text.strip() else None
        except HTTPError as error:
            said = error.read(2000).decode(errors="replace").strip()
            raise PrefectApiError(f"HTTP {error.code} {error.reason}: {said}".rstrip(": "), error.code) from error
        except (URLError, OSError, ValueError, HTTPException) as error:
            raise PrefectApiError(str(getattr(error, "reason", error)) or type(error).__name__) from error

    def _opener(self) -> OpenerDirector:
        """Without the proxy of the environment for this machine itself, which urllib would ask for it."""
        here = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        return build_opener(ProxyHandler({})) if here else build_opener()


def service_file(home: Path) -> Path:
    """Where a running service (`make up`) holds its lock, and says who and where it is: {pid, url}."""
    return home / "service.json"


def service_url(home: Path) -> str | None:
    """The API address of the service that runs on `home`, None where none does."""
    import fcntl

    try:
        with service_file(home).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # its launcher lives
                url = json.load(file).get("url")
                return str(url) if url else None
    except (OSError, ValueError):
        return None
    return None
