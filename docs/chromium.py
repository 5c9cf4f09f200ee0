"""A headless Chromium, driven over its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

#: No sandbox, which root cannot have; the pages are our own. The rest keeps it from calling home.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Page:
    """The one page of a browser. What is asked of it waits for the answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def ask(self, method: str, **parameters: Any) -> Any:
        """Raises RuntimeError with what Chromium says against it."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url: str, until: str, width: int, height: int) -> None:
        """Show `url` in a window of that size, and wait until the text `until` is on the page."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Page.navigate", url=url)
        self.wait_for(until)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Until `text` is on the page, and then until nothing has changed for a moment."""
        deadline = time.monotonic() + seconds
        seen = None
        while time.monotonic() < deadline:
            with suppress(RuntimeError):  # between two pages
                shown = self.run("document.body.innerText")
                if text in shown and shown == seen:
                    return
                seen = shown
            time.sleep(0.5)
        raise TimeoutError(f"{text!r} is not on the page, but: {seen}")

    def click(self, text: str) -> None:
        """Click, as a mouse does, the last button, link or choice that reads `text`, or the field with that label."""
        place = self.run(
            "(() => { const kinds = 'button, a, label, [role=menuitem], [role=tab], [role=option]';"
            "const one = [...document.querySelectorAll(kinds)]"
            f".findLast((one) => one.innerText.trim() === {json.dumps(text)});"
            "const found = one?.htmlFor ? document.getElementById(one.htmlFor) : one; if (!found) return null;"
            "found.scrollIntoView({block: 'nearest'}); const box = found.getBoundingClientRect();"
            "return {x: box.x + box.width / 2, y: box.y + box.height / 2} })()"
        )
        if place is None:
            raise LookupError(f"Nothing to click reads {text!r}.")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        time.sleep(0.5)

    def type(self, text: str) -> None:
        """Into what was clicked."""
        self.ask("Input.insertText", text=text)

    def picture(self, height: int | None = None) -> bytes:
        """What the window shows, or the top of it, as PNG."""
        told: dict[str, Any] = {}
        if height is not None:
            width = self.run("window.innerWidth")
            told["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", **told)["data"])


@contextmanager
def browser() -> Iterator[Page]:
    """Start one with a profile of its own, and end it."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise FileNotFoundError(f"None of {', '.join(NAMES)} is on the PATH.")
    with TemporaryDirectory(prefix="sluice-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_address(Path(profile)), max_size=None) as connection:
                yield Page(connection)
        finally:
            process.terminate()
            process.wait(30)


def _address(profile: Path) -> str:
    """Chromium writes the port it chose into its profile."""
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, IndexError):
            port = file.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.2)
    raise TimeoutError("Chromium does not answer.")
