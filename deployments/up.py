"""The service in the foreground: `make up`, or `python -m deployments.up`.

One launcher with a tree of children: the embedded PostgreSQL (unless SLUICE_DATABASE_URL names another), the Prefect
server with its UI, a worker, every deployment of prefect.yaml, and the inbox watcher. Ctrl-C or SIGTERM stops all of
it: running imports are cancelled first, so that they keep what they committed and say so; a second Ctrl-C hurries.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import click

from deployments.environment import Place, place_of
from deployments.processes import Child, end_marked
from deployments.runs import POOL, bury, cancel, ensure_pool, pause_pool
from sluice.embedded import embedded_runs, embedded_url, stop_embedded
from sluice.errors import SluiceError
from sluice.prefect_api import PrefectApi, PrefectApiError, service_file
from sluice.settings import Settings

#: Seconds to wait for a part before the start is given up: the first start of all makes Prefect's database, which
#: took 16 seconds on an idle machine.
_START_SECONDS = 180.0

#: Seconds running imports get to end when the service is stopped, and each process after that.
CANCEL_SECONDS = 30.0
_STOP_SECONDS = 10.0

#: Seconds between two looks at the children, and at the embedded PostgreSQL.
_TICK = 0.5
_DATABASE_TICK = 5.0

#: The parts beside server and worker, in the order of their start.
_OTHERS = ("warm", "watcher")


class CannotStart(Exception):
    """The message says which part, why, and where its log is."""


class Stopped(Exception):
    """Ctrl-C or SIGTERM came."""


def main() -> int:
    """Run the service until it is told to stop; the exit status."""
    settings = Settings.from_environment()
    place = place_of(settings, os.environ)
    try:
        with only_one(settings.home, place) as file:
            return Service(settings, place, file).run()
    except CannotStart as error:
        _say(f"cannot start: {error}")
        return 1


class Service:
    """All parts of it, and their order."""

    def __init__(self, settings: Settings, place: Place, file: IO[str]) -> None:
        self._settings = settings
        self._place = place
        self._file = file
        self._api = PrefectApi(place.api_url, place.auth)
        self._signals = 0
        self._own_database = False
        self._children: list[Child] = []
        self._server = self._child("server", "deployments.server")
        self._worker = self._child("worker", "prefect", *place.worker_arguments)

    def _child(self, name: str, module: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", module, *arguments]
        return Child(name, command, self._place.environ, self._place.project, self._place.logs / f"{name}.log")

    # Starting ---------------------------------------------------------------------------------------------------

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        began = time.monotonic()
        try:
            self._start()
            _say(f"ready: {self._place.ui_url} ({time.monotonic() - began:.0f} s; Ctrl-C stops it)")
            self._supervise()
        except Stopped:
            return 0
        except (CannotStart, SluiceError, OSError) as error:
            _say(f"cannot start: {error}")
            return 1
        finally:
            self._stop()
        return 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _start(self) -> None:
        if ended := end_marked(self._place.mark):
            _say(f"ended {ended} processes that a killed service had left")
        _check_port(self._place.host, self._place.port)
        self._start_child(self._server)
        self._start_database()
        self._wait(self._server, self._answers("/health"))
        ensure_pool(self._api)
        for name in bury(self._api, "Its process was gone when the service was started again."):
            _say(f"run {name!r} had no process any more: marked Crashed; importing the file again resumes it")
        if _was_paused(self._file):
            pause_pool(self._api, False)
        provision = self._child("provision", "deployments.provision")
        provision.start()
        self._start_child(self._worker)
        for name in _OTHERS:
            self._start_child(self._child(name, f"deployments.{name}"))
        self._wait_for_provision(provision)
        self._wait(self._worker, self._worker_is_online)
        self._wait(self._server, self._ui_answers)

    def _start_child(self, child: Child) -> None:
        child.start()
        self._children.append(child)

    def _start_database(self) -> None:
        if self._settings.database_url is None:
            self._own_database = not embedded_runs(self._settings.home)
            embedded_url(self._settings.home)

    def _wait(self, child: Child, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready():
            for one in self._children:
                if not one.runs:
                    raise CannotStart(f"{one.name} ended with status {one.status}. {_words(one)}")
            if time.monotonic() > deadline:
                raise CannotStart(f"{child.name} does not answer after {_START_SECONDS:.0f} s. {_words(child)}")
            self._pause(0.2)

    def _wait_for_provision(self, provision: Child) -> None:
        try:
            self._wait(provision, lambda: not provision.runs)
        finally:
            provision.stop(_STOP_SECONDS)
        if provision.status:
            raise CannotStart(f"the deployments of prefect.yaml could not be made. {_words(provision)}")

    def _answers(self, path: str) -> Callable[[], bool]:
        def ask() -> bool:
            try:
                self._api.get(path, timeout=2.0)
            except PrefectApiError:
                return False
            return True

        return ask

    def _worker_is_online(self) -> bool:
        try:
            workers = self._api.post(f"/work_pools/{POOL}/workers/filter", {"limit": 50})
        except PrefectApiError:
            return False
        return any(one["name"] == self._place.worker_name and one["status"] == "ONLINE" for one in workers)

    def _ui_answers(self) -> bool:
        try:
            PrefectApi(self._place.ui_url).get("/", timeout=2.0)
        except PrefectApiError as error:
            return isinstance(error.__cause__, ValueError)  # a page, not JSON
        return False

    # Running ----------------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        looked = time.monotonic()
        while True:
            self._pause(_TICK)
            for child in self._children:
                try:
                    if said := child.tend():
                        _say(said)
                except OSError as error:
                    _say(f"{child.name} cannot be started: {error}")
            if time.monotonic() - looked > _DATABASE_TICK:
                self._tend_database()
                looked = time.monotonic()

    def _tend_database(self) -> None:
        if self._settings.database_url is not None or embedded_runs(self._settings.home):
            return
        _say("the embedded PostgreSQL ended; starting it again")
        try:
            embedded_url(self._settings.home)
            self._own_database = True
        except SluiceError as error:
            _say(f"the embedded PostgreSQL cannot be started: {error}")

    def _pause(self, seconds: float) -> None:
        """Sleep, in small pieces: a signal ends it with Stopped."""
        deadline = time.monotonic() + seconds
        while not self._signals:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))
        raise Stopped

    # Stopping ---------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Runs first, then worker, watcher, server, and the database: a worker hangs when its server is gone."""
        _say("stopping ...")
        self._signals = 0
        serving = self._server.runs
        if serving and self._worker.runs:
            with suppress(PrefectApiError):
                self._cancel_runs()
        self._worker.stop(_STOP_SECONDS)
        for child in self._children:
            if child is not self._server:
                child.stop(_STOP_SECONDS)
        if serving:
            with suppress(PrefectApiError):
                bury(self._api, "The service was stopped before this run could end.")
        self._server.stop(_STOP_SECONDS)
        end_marked(self._place.mark)
        if self._own_database:
            try:
                stop_embedded(self._settings.home)
            except SluiceError as error:
                _say(str(error))
        _say("stopped")

    def _cancel_runs(self) -> None:
        pause_pool(self._api, True)
        _write(self._file, self._place, paused=True)
        cancelled, left = cancel(self._api, CANCEL_SECONDS, lambda: self._signals > 0)
        if cancelled:
            _say(f"{cancelled} running imports cancelled" + (f", {left} of them by force" if left else ""))


def _words(child: Child) -> str:
    if child.log is None:
        return "Why, it says above."
    words = child.last_words()
    return f"Its log: {child.log}" + (f", which ends:\n{words}" if words else "")


@contextmanager
def only_one(home: Path, place: Place) -> Iterator[IO[str]]:
    """Hold the lock of the service on `home`; the kernel lets it go when this process dies.

    Raises:
        CannotStart: another launcher holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(service_file(home), os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _read(file)
            raise CannotStart(
                f"a service already runs on {home}: process {other.get('pid', '?')}, {other.get('url', '?')}."
            ) from None
        _write(file, place, paused=_was_paused(file))
        yield file


def _read(file: IO[str]) -> Mapping[str, object]:
    file.seek(0)
    with suppress(ValueError):
        found = json.load(file)
        return found if isinstance(found, dict) else {}
    return {}


def _was_paused(file: IO[str]) -> bool:
    """Whether we paused the pool when we were stopped; one paused by a person stays so."""
    return bool(_read(file).get("paused"))


def _write(file: IO[str], place: Place, *, paused: bool) -> None:
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "url": place.api_url, "paused": paused}, file)
    file.flush()


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotStart(
            f"{host}:{port} cannot be bound ({error.strerror or error}); PREFECT_SERVER_API_PORT picks another port."
        ) from error


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone: no reason to leave processes behind
        click.echo(text)


if __name__ == "__main__":
    sys.exit(main())
