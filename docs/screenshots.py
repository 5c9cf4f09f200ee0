"""Remake the pictures of the pages, docs/images/*.png: `python -m docs.screenshots`.

Starts the service with a folder of its own, runs imports, and photographs Prefect's UI with a Chromium that must be on
the PATH. Takes five minutes and a gigabyte of disk. Look at every picture afterwards.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from docs.chromium import Page, browser
from samples.make import write_customers
from tests.engine.service import Service, running_service

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"

#: Pixels. Wide enough for the columns of the table of errors.
WIDTH, HEIGHT = 1400, 900

#: Three windows, so that half-way one is done; and slow enough to be met half-way.
ROWS, BAD, RATE = 3_000_000, 0.01, 40_000

#: Percent done at which the page is opened, which takes some seconds.
HALF_WAY = 44

#: Seconds a picture may take to become still; the page of a run that runs never is.
SETTLED = 5.0


class Photographer:
    """A browser before the service's UI."""

    def __init__(self, page: Page, service: Service) -> None:
        self.page = page
        self.service = service

    def look_at(self, path: str, until: str, height: int = HEIGHT) -> None:
        self.page.open(f"http://127.0.0.1:{self.service.port}/v2/{path}", until, WIDTH, height)

    def keep(self, name: str, height: int | None = None) -> None:
        """Store what is to be seen, or the top of it, when it is still: the graph of a run takes its time to settle."""
        seen, deadline = b"", time.monotonic() + SETTLED
        while seen != (shown := self.page.picture(height)) and time.monotonic() < deadline:
            seen = shown
            time.sleep(2)
        path = IMAGES / f"{name}.png"
        path.write_bytes(shown)
        click.echo(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000:,} kB")


def main() -> int:
    IMAGES.mkdir(exist_ok=True)
    with running_service({"PREFECT_SERVER_API_AUTH_STRING": ""}) as service, browser() as page:
        photographer = Photographer(page, service)
        big, leads = _files(service.home)
        photographer.look_at("deployments", "watch-inbox")
        photographer.keep("deployments")
        _form(photographer, big)
        run = service.start_run("big", source=str(big), dataset="customers", max_rows_per_second=RATE)
        _half_way(photographer, run)
        for name in ("contacts", "people"):
            service.end_of(service.start_run(name, source=f"samples/{name}.csv", dataset=name), 300)
        failed = service.start_run("leads", source=str(leads), dataset="leads", max_rejects="1%")
        service.end_of(failed, 300)
        photographer.look_at(f"runs/flow-run/{failed}?tab=Details", "State Message", 1080)
        photographer.keep("failed")
        service.end_of(run, 1800)
        photographer.look_at("runs", "leads <- leads", 1200)
        photographer.keep("runs")
        for name, height in (("report", 1150), ("errors", HEIGHT)):
            photographer.look_at(f"artifacts/artifact/{_artifact(service, run, name)}", "State Message", height)
            photographer.keep(name)
    return 0


def _files(folder: Path) -> tuple[Path, Path]:
    """A large file with some bad rows, and one with too many."""
    big, leads = folder / "customers-2026-11.csv", folder / "leads.csv"
    write_customers(big, None, rows=ROWS, bad=BAD, seed=1)
    shutil.copy(ROOT / "samples/leads.csv", leads)
    return big, leads


def _form(photographer: Photographer, file: Path) -> None:
    """The form as it is filled in, and what it says of nonsense."""
    deployment = photographer.service.api.get("/deployments/name/import-file/import-file")["id"]
    photographer.look_at(f"deployments/deployment/{deployment}/run", "Submit", 1100)
    page = photographer.page
    page.click("File")
    page.type(str(file))
    page.click("Dataset (Optional)")
    page.click("customers")
    photographer.keep("form")
    page.click("Max rejects (Optional)")
    page.type("a few")
    page.click("Submit")
    page.wait_for("does not match")
    page.run("window.scrollTo(0, 0)")
    photographer.keep("form-refused")


def _half_way(photographer: Photographer, run: str) -> None:
    """A run in the middle of its file, and the menu with what can be done to it."""
    deadline = time.monotonic() + 1800
    while _percent(photographer.service, run) < HALF_WAY:
        if time.monotonic() > deadline:
            raise TimeoutError(f"The import has not come half-way: {photographer.service.state(run)}")
        time.sleep(0.5)
    photographer.look_at(f"runs/flow-run/{run}?tab=Logs", "Import #1")
    photographer.keep("running")
    photographer.page.click("Open menu")
    photographer.keep("menu", 240)


def _percent(service: Service, run: str) -> int:
    found = re.search(r"(\d+) %$", service.api.get(f"/flow_runs/{run}")["name"])
    return int(found[1]) if found else 0


def _artifact(service: Service, run: str, kind: str) -> str:
    artifacts: list[Any] = service.api.post(
        "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"like_": f"%-{kind}"}}}
    )
    return str(artifacts[0]["id"])


if __name__ == "__main__":
    sys.exit(main())
