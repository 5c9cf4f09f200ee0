"""prefect.yaml is right, and the check that says so sees what Prefect would pass over in silence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.check import problems

ROOT = Path(__file__).parents[2]

GOOD: dict[str, Any] = {
    "name": "sluice",
    "deployments": [
        {
            "name": "nightly",
            "entrypoint": "flows.import_file.import_file",
            "description": "Every night.",
            "tags": ["import"],
            "parameters": {"source": "samples/customers.csv", "dataset": "customers"},
            "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
            "work_pool": {"name": "sluice", "work_queue_name": "default", "job_variables": {"env": {"A": "b"}}},
            "schedules": [{"cron": "0 2 * * *", "timezone": "Europe/Berlin", "slug": "night", "active": False}],
        },
        {
            "name": "by-hand",
            "entrypoint": "flows.import_file.import_file",
            "description": "By hand.",
            "tags": ["import"],
            "work_pool": {"name": "sluice"},
            "schedules": [],
        },
    ],
}


def said(tmp_path: Path, content: Any) -> list[str]:
    path = tmp_path / "prefect.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return problems(path)


def test_ours_is_right() -> None:
    assert problems(ROOT / "prefect.yaml") == []


def test_ours_has_no_run_by_itself_out_of_the_box() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert [one["name"] for one in deployments] == sorted(one["name"] for one in deployments)
    assert {schedule["active"] for one in deployments for schedule in one["schedules"]} == {False}


def test_a_good_one_is_good(tmp_path: Path) -> None:
    assert said(tmp_path, GOOD) == []


def first(config: Any) -> Any:
    return config["deployments"][0]


#: How to break it -> what is said.
BROKEN: list[tuple[Callable[[Any], Any], str]] = [
    (lambda c: c.update(deployment=[]), "deployment: is not a key Prefect knows here"),
    (lambda c: c.update(deployments=[]), "deployments: must be a list with at least one deployment"),
    (lambda c: c.update(deployments={"a": 1}), "deployments: must be a list"),
    (lambda c: c["deployments"].append("text"), "deployments[2]: must be a mapping with a name"),
    (lambda c: first(c).update(name=["nightly"]), "deployments[0]: must be a mapping with a name"),
    (lambda c: first(c).update(name="by-hand"), "two have the name 'by-hand'"),
    (lambda c: first(c).update(concurency_limit=1), "nightly: concurency_limit: is not a key"),
    (lambda c: first(c).update(schedule={"cron": "0 2 * * *"}), "nightly: schedule: is not a key"),
    (lambda c: first(c).update(description=" "), "nightly: description: is missing"),
    (lambda c: first(c).update(tags="import"), "nightly: tags: must be a list of texts"),
    (lambda c: first(c).update(tags=[1]), "nightly: tags: must be a list of texts"),
    (lambda c: first(c).pop("entrypoint"), "nightly: entrypoint: must be dotted"),
    (lambda c: first(c).update(entrypoint="flows/import_file.py:import_file"), "entrypoint: must be dotted"),
    (lambda c: first(c).update(entrypoint="flows.nothing.f"), "flows.nothing does not import: ModuleNotFoundError"),
    (lambda c: first(c).update(entrypoint="flows.import_file.final_state"), "final_state is not a flow"),
    (lambda c: first(c).update(entrypoint="flows.import_file.absent"), "absent is not a flow"),
    (lambda c: first(c)["parameters"].update(mode="upsert"), "nightly: parameters: "),
    (lambda c: first(c)["parameters"].update(sorce="x"), "nightly: parameters: "),
    (lambda c: first(c)["parameters"].pop("source"), "nightly: parameters: "),
    (lambda c: first(c).update(parameters=["x"]), "nightly: parameters: must be a mapping"),
    (lambda c: first(c).pop("work_pool"), "nightly: work_pool: must be a mapping with a name"),
    (lambda c: first(c).update(work_pool="sluice"), "nightly: work_pool: must be a mapping with a name"),
    (lambda c: first(c)["work_pool"].update(queue="default"), "nightly: work_pool: queue: is not a key"),
    (
        lambda c: first(c)["work_pool"]["job_variables"].update(comand="python"),
        "work_pool: job_variables: comand: is not a key",
    ),
    (
        lambda c: first(c)["work_pool"]["job_variables"].update(working_dir="/home/me/project"),
        "work_pool: job_variables: working_dir: must not be absolute",
    ),
    (
        lambda c: first(c)["work_pool"]["job_variables"]["env"].update(P="{{ prefect.blocks.secret.dsn }}"),
        "then shown in clear text",
    ),
    (
        lambda c: c.update(pull=[{"prefect.deployments.steps.set_working_directory": {"directory": "/home/me"}}]),
        "pull: directory: must not be absolute",
    ),
    (
        lambda c: first(c).update(pull=[{"prefect.deployments.steps.set_working_directory": {"directory": "/x"}}]),
        "nightly: pull: directory: must not be absolute",
    ),
    (lambda c: first(c).update(concurrency_limit=0), "concurrency_limit: must be a number above 0"),
    (lambda c: first(c).update(concurrency_limit=True), "concurrency_limit: must be a number above 0"),
    (lambda c: first(c)["concurrency_limit"].update(limit="1"), "concurrency_limit: limit: must be a number"),
    (lambda c: first(c)["concurrency_limit"].update(strategy="ENQUEUE"), "concurrency_limit: strategy: is not a key"),
    (lambda c: first(c)["concurrency_limit"].update(collision_strategy="WAIT"), "must be ENQUEUE or CANCEL_NEW"),
    (lambda c: first(c).update(enforce_parameter_schema=False), "enforce_parameter_schema: must be true"),
    (lambda c: first(c).pop("schedules"), "nightly: schedules: must be a list"),
    (lambda c: first(c)["schedules"].append("daily"), "schedules[1]: must be a mapping"),
    (lambda c: first(c)["schedules"][0].update(tz="UTC"), "schedules[0]: tz: is not a key"),
    (lambda c: first(c)["schedules"][0].pop("timezone"), "schedules[0]: timezone: must be a name"),
    (lambda c: first(c)["schedules"][0].update(timezone="Berlin"), "schedules[0]: timezone: must be a name"),
    (lambda c: first(c)["schedules"][0].pop("slug"), "schedules[0]: slug: is missing"),
    (lambda c: first(c)["schedules"][0].update(active="no"), "schedules[0]: active: must be true or false"),
    (lambda c: first(c)["schedules"][0].update(interval=60), "schedules[0]: must have one of cron, interval, rrule"),
    (lambda c: first(c)["schedules"][0].pop("cron"), "schedules[0]: must have one of cron, interval, rrule"),
    (lambda c: first(c)["schedules"][0].update(cron="0 26 * * *"), "schedules[0]: cron: "),
    (lambda c: first(c)["schedules"][0].update(parameters={"commit": "later"}), "schedules[0]: parameters: "),
    (lambda c: first(c)["schedules"].append(first(c)["schedules"][0]), "the slug 'night' stands twice"),
    (lambda c: first(c).update(triggers=[{"expects": ["a"]}]), "triggers[0]: expects: is not a key"),
]


@pytest.mark.parametrize(("break_it", "expected"), BROKEN, ids=[expected for _, expected in BROKEN])
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, break_it: Callable[[Any], Any], expected: str) -> None:
    config = copy.deepcopy(GOOD)
    break_it(config)
    found = said(tmp_path, config)
    assert any(expected in problem for problem in found), found
    assert all(problem.startswith("prefect.yaml: ") for problem in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\ndeployments: []\n", "'name' stands twice"),
        ("- a\n", "must be a mapping"),
        ("a: [\n", "cannot be read"),
        ("deployments:\n  - {name: a, work_pool: *none}\n", "undefined alias"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(tmp_path: Path, text: str, expected: str) -> None:
    found = said(tmp_path, text)
    assert len(found) == 1
    assert expected in found[0]


def test_a_flow_without_a_docstring_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flow_without_words.py").write_text("from prefect import flow\n\n@flow\ndef silent() -> None: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = copy.deepcopy(GOOD)
    config["deployments"][1]["entrypoint"] = "flow_without_words.silent"
    assert said(tmp_path, config) == ["prefect.yaml: by-hand: entrypoint: the flow 'silent' has no docstring"]


def test_the_inventory_is_true() -> None:
    from deployments.inventory import PAGE, page

    assert PAGE.read_text() == page(), "run: python -m deployments.inventory"
