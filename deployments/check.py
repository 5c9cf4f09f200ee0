"""A strict check of prefect.yaml: `python -m deployments.check`.

`prefect deploy` ignores keys it does not know, drops every deployment when one is wrong, and deploys a flow that does
not import. This says what is wrong, and where.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

_ROOT_KEYS = {"name", "prefect-version", "build", "push", "pull", "definitions", "deployments"}
_DEPLOYMENT_KEYS = {
    "name",
    "version",
    "tags",
    "description",
    "schedules",
    "paused",
    "concurrency_limit",
    "entrypoint",
    "parameters",
    "enforce_parameter_schema",
    "pull",
    "work_pool",
    "triggers",
}
_POOL_KEYS = {"name", "work_queue_name", "job_variables"}
_JOB_KEYS = {"command", "env", "labels", "name", "stream_output", "working_dir"}
_LIMIT_KEYS = {"limit", "collision_strategy", "grace_period_seconds"}
_SCHEDULE_KEYS = {"cron", "interval", "rrule", "timezone", "anchor_date", "active", "parameters", "slug", "day_or"}
_KINDS = ("cron", "interval", "rrule")
_TRIGGER_KEYS = {
    "type",
    "enabled",
    "expect",
    "after",
    "match",
    "match_related",
    "for_each",
    "posture",
    "threshold",
    "within",
    "parameters",
    "name",
    "description",
    "job_variables",
    "schedule_after",
}


def problems(path: Path) -> list[str]:
    """What is wrong with the file, each with its place; nothing where all is well. Imports the flows."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        return [f"{path.name}: cannot be read: {error}"]
    return [f"{path.name}: {problem}" for problem in _root(content)]


class _UniqueKeys(yaml.SafeLoader):
    """YAML says a key stands once; PyYAML takes the last and is silent."""


def _mapping_once(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_once)


def _root(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield "must be a mapping"
        return
    yield from _unknown(content, _ROOT_KEYS, "")
    yield from _paths(content.get("pull"), "pull")
    deployments = content.get("deployments")
    if not isinstance(deployments, list) or not deployments:
        yield "deployments: must be a list with at least one deployment"
        return
    names = [one.get("name") for one in deployments if isinstance(one, dict)]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"deployments: two have the name {name!r}"
    for number, deployment in enumerate(deployments):
        if not isinstance(deployment, dict) or not isinstance(deployment.get("name"), str):
            yield f"deployments[{number}]: must be a mapping with a name"
            continue
        yield from (f"{deployment['name']}: {problem}" for problem in _deployment(deployment))


def _deployment(deployment: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(deployment, _DEPLOYMENT_KEYS, "")
    yield from _paths(deployment.get("pull"), "pull")
    if not str(deployment.get("description") or "").strip():
        yield "description: is missing"
    if not _texts(deployment.get("tags")):
        yield "tags: must be a list of texts"
    yield from _pool(deployment.get("work_pool"))
    yield from _limit(deployment.get("concurrency_limit"))
    if deployment.get("enforce_parameter_schema", True) is not True:
        yield "enforce_parameter_schema: must be true, so that nonsense is refused before a run starts"
    flow = _flow(deployment.get("entrypoint"))
    if isinstance(flow, str):
        yield f"entrypoint: {flow}"
        flow = None
    elif not inspect.getdoc(flow.fn):
        yield f"entrypoint: the flow {flow.name!r} has no docstring"
    parameters = deployment.get("parameters") or {}
    schedules = deployment.get("schedules")
    if not isinstance(schedules, list):
        yield "schedules: must be a list, [] for none; without it, those of the server stay"
        schedules = []
    if not isinstance(parameters, dict):
        yield "parameters: must be a mapping"
        flow, parameters = None, {}
    if flow is not None and (parameters or not _required(flow)):
        yield from _parameters(flow, parameters, "parameters")
    slugs = [one.get("slug") for one in schedules if isinstance(one, dict)]
    for number, schedule in enumerate(schedules):
        place = f"schedules[{number}]"
        yield from _schedule(schedule, place)
        if isinstance(schedule, dict):
            if slugs.count(schedule.get("slug")) > 1:
                yield f"{place}: the slug {schedule.get('slug')!r} stands twice"
            own = schedule.get("parameters") or {}
            if flow is not None and (own or _required(flow)):
                yield from _parameters(flow, {**parameters, **own}, f"{place}: parameters")
    yield from _triggers(deployment.get("triggers"))


def _pool(pool: Any) -> Iterator[str]:
    if not isinstance(pool, dict) or not isinstance(pool.get("name"), str):
        yield "work_pool: must be a mapping with a name"
        return
    yield from _unknown(pool, _POOL_KEYS, "work_pool: ")
    variables = pool.get("job_variables", {})
    if not isinstance(variables, dict):
        yield "work_pool: job_variables: must be a mapping"
        return
    yield from _unknown(variables, _JOB_KEYS, "work_pool: job_variables: ")
    yield from _paths(variables, "work_pool: job_variables")
    if "{{ prefect.blocks" in str(variables):
        yield "work_pool: job_variables: a block is resolved when deployed, and then shown in clear text"


def _limit(limit: Any) -> Iterator[str]:
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0):
        return
    if not isinstance(limit, dict):
        yield "concurrency_limit: must be a number above 0, or a mapping"
        return
    yield from _unknown(limit, _LIMIT_KEYS, "concurrency_limit: ")
    if not isinstance(limit.get("limit"), int) or isinstance(limit["limit"], bool) or limit["limit"] < 1:
        yield "concurrency_limit: limit: must be a number above 0"
    if limit.get("collision_strategy", "ENQUEUE") not in ("ENQUEUE", "CANCEL_NEW"):
        yield "concurrency_limit: collision_strategy: must be ENQUEUE or CANCEL_NEW"


def _schedule(schedule: Any, place: str) -> Iterator[str]:
    if not isinstance(schedule, dict):
        yield f"{place}: must be a mapping"
        return
    yield from _unknown(schedule, _SCHEDULE_KEYS, f"{place}: ")
    kinds = [kind for kind in _KINDS if kind in schedule]
    if len(kinds) != 1:
        yield f"{place}: must have one of {', '.join(_KINDS)}"
    if not isinstance(schedule.get("slug"), str):
        yield f"{place}: slug: is missing; deploying again would add a schedule instead of changing it"
    if not isinstance(schedule.get("active"), bool):
        yield f"{place}: active: must be true or false"
    zone = schedule.get("timezone")
    if not isinstance(zone, str) or not _is_zone(zone):
        yield f"{place}: timezone: must be a name such as Europe/Berlin"
    elif len(kinds) == 1:
        yield from _builds(schedule, kinds[0], place)


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _builds(schedule: Mapping[str, Any], kind: str, place: str) -> Iterator[str]:
    from prefect.schedules import Schedule

    try:
        Schedule(**{kind: schedule[kind]}, timezone=schedule["timezone"])
        if kind == "cron":
            from prefect.client.schemas.schedules import CronSchedule

            CronSchedule(cron=schedule[kind], timezone=schedule["timezone"])
        elif kind == "rrule":
            from prefect.client.schemas.schedules import RRuleSchedule

            RRuleSchedule(rrule=schedule[kind], timezone=schedule["timezone"])
        elif not isinstance(schedule[kind], int | float) or schedule[kind] <= 0:
            yield f"{place}: interval: must be seconds above 0"
    except (ValueError, TypeError) as error:
        yield f"{place}: {kind}: {_first_line(error)}"


def _triggers(triggers: Any) -> Iterator[str]:
    if triggers is None:
        return
    if not isinstance(triggers, list):
        yield "triggers: must be a list"
        return
    for number, trigger in enumerate(triggers):
        if isinstance(trigger, dict):
            yield from _unknown(trigger, _TRIGGER_KEYS, f"triggers[{number}]: ")
        else:
            yield f"triggers[{number}]: must be a mapping"


def _flow(entrypoint: Any) -> Any:
    """The flow, or what is wrong with its entrypoint."""
    from prefect import Flow

    if not isinstance(entrypoint, str) or "/" in entrypoint or ":" in entrypoint or entrypoint.count(".") < 1:
        return "must be dotted, such as flows.import_file.import_file"
    module, _, name = entrypoint.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever a module does when imported
        return f"{module} does not import: {type(error).__name__}: {_first_line(error)}"
    return found if isinstance(found, Flow) else f"{entrypoint} is not a flow"


def _required(flow: Any) -> bool:
    """Whether somebody must fill in the run form: then the deployment alone need not be complete."""
    parameters = inspect.signature(flow.fn).parameters.values()
    return any(parameter.default is inspect.Parameter.empty for parameter in parameters)


def _parameters(flow: Any, parameters: Any, place: str) -> Iterator[str]:
    from prefect.exceptions import ParameterTypeError, SignatureMismatchError

    if not isinstance(parameters, dict):
        yield f"{place}: must be a mapping"
        return
    try:
        flow.validate_parameters(_with_defaults(flow, parameters))
    except (ParameterTypeError, SignatureMismatchError, ValueError, TypeError) as error:
        yield f"{place}: {' '.join(str(error).split())}"


def _with_defaults(flow: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    from prefect.utilities.callables import get_call_parameters

    found: dict[str, Any] = get_call_parameters(flow.fn, (), dict(parameters))
    return found


def _paths(value: Any, place: str) -> Iterator[str]:
    """An absolute folder belongs to the machine of whoever wrote it."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("directory", "working_dir") and isinstance(item, str) and Path(item).is_absolute():
                yield f"{place}: {key}: must not be absolute"
            yield from _paths(item, place)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, place)


def _unknown(mapping: Mapping[str, Any], known: set[str], place: str) -> Iterator[str]:
    for key in mapping:
        if key not in known:
            yield f"{place}{key}: is not a key Prefect knows here"


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def main() -> int:
    found = problems(Path(__file__).resolve().parents[1] / "prefect.yaml")
    for problem in found:
        click.echo(problem, err=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
