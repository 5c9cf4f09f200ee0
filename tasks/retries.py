"""When Prefect may try a step again."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from sluice.errors import TransientError

#: Seconds before the second, third and fourth try: a database that restarts is back within a minute or two.
RETRY_DELAYS = [2.0, 10.0, 60.0]


def only_if_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may succeed in a minute; everything else fails at once, with its own message."""
    try:
        state.result()
    except TransientError:
        return True
    except Exception:
        return False
    return False
