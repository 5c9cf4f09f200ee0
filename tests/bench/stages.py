"""Where the time of one import goes: wall and CPU by stage, measured from inside.

The engine's own functions are wrapped while this process runs one import; nothing in the engine knows of it.
`STAGES` is the one place that names them.

    python -m tests.bench.stages SOURCE DATASET
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

#: Importing the modules named below: what a command pays before it begins.
START = "start"
#: CPU that is in no stage.
REST = "the rest"

#: Stage -> what it is, and the functions whose time it is: `module:name`, or `module:Class.method`. A name is wrapped
#: where it is looked up, which for a function imported by name is the module that calls it. Time is counted once:
#: where a stage calls another, for the inner one.
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    START: ("Python, Arrow and the engine imported", ()),
    "suite": (
        "the suite read and laid out",
        ("sluice.opening:with_rules", "sluice.rules.plan:RulePlan.__init__"),
    ),
    "fingerprint": ("the file read through once, SHA-256", ("sluice.source:_read_in_place",)),
    "cut": ("chunks at record boundaries", ("sluice.chunks:Cutter.feed", "sluice.chunks:Cutter.finish")),
    "parse": ("bytes to text columns and bad lines", ("sluice.workbench:parse",)),
    "cast": ("text to types", ("sluice.workbench:cast_table",)),
    "rules": ("masks, violations", ("sluice.rules.plan:RulePlan.judge", "sluice.workbench:unique_values")),
    "route": ("good rows and rejects", ("sluice.workbench:route",)),
    "encode": ("good rows to the bytes of COPY", ("sluice.workbench:encode",)),
    "send": ("bytes handed to the server, as it takes them", ("psycopg:Copy.write",)),
    "server wait": ("from the last byte to the server's answer", ("psycopg:Copy.finish",)),
    "ledger": (
        "rejects, counts and metrics of a chunk",
        (
            "sluice.ledger:fence",
            "sluice.ledger:record_chunk",
            "sluice.loader:save_rejects",
            "sluice.loader:save_unique_values",
        ),
    ),
    "commit": ("COMMIT, and RELEASE of savepoints", ("psycopg:Transaction.__exit__",)),
    "finish": ("the file's rules, the identity, the ledger closed", ("sluice.importer:finish_import",)),
}


class Clock:
    """Seconds by stage, of all threads of this process."""

    def __init__(self, stages: Iterable[str]) -> None:
        self._seconds = dict.fromkeys(stages, (0.0, 0.0))
        self._lock = threading.Lock()
        self._open = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The time of the block, without that of stages within it, is the stage's."""
        outer: list[list[float]] = self._open.__dict__.setdefault("stages", [])
        inner = [0.0, 0.0]
        outer.append(inner)
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            outer.pop()
            if outer:
                outer[-1][0] += wall
                outer[-1][1] += cpu
            with self._lock:
                walls, cpus = self._seconds[name]
                self._seconds[name] = walls + wall - inner[0], cpus + cpu - inner[1]

    def wrap(self, name: str, target: str) -> None:
        """Put the stage around a function.

        Raises:
            AttributeError, ImportError: there is none of that name any more; `STAGES` must be brought up to date.
        """
        owner, attribute = resolve(target)
        function: Callable[..., Any] = getattr(owner, attribute)

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        setattr(owner, attribute, timed)

    def seconds(self) -> dict[str, tuple[float, float]]:
        """Stage -> seconds of wall time (of all threads added up) and of CPU."""
        return dict(self._seconds)


def resolve(target: str) -> tuple[Any, str]:
    """What holds the function, and its name there.

    Raises:
        AttributeError, ImportError: there is no such function.
    """
    module, _, path = target.partition(":")
    *outer, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for attribute in outer:
        owner = getattr(owner, attribute)
    getattr(owner, name)
    return owner, name


def main() -> None:
    source, dataset = sys.argv[1:]
    clock = Clock(STAGES)
    with clock.stage(START):
        for name, (_, targets) in STAGES.items():
            for target in targets:
                clock.wrap(name, target)
        from sluice import import_file
    report = import_file(source, dataset=dataset)
    stages = clock.seconds()
    used = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    stages[REST] = 0.0, used - sum(cpu for _, cpu in stages.values())
    print(json.dumps(report.to_dict() | {"stages": stages}))


if __name__ == "__main__":
    main()
