"""Dockerfile, compose.yaml and the Kubernetes template name what there is: modules, variables, versions, folders."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "sluice"}
TEMPLATE = json.loads((ROOT / "deployments/kubernetes.json").read_text())
PAGE = (ROOT / "docs/hosts.md").read_text()
ENV = dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE))))


def known(variable: str) -> bool:
    """Whether somebody reads it: Sluice, or Prefect."""
    import prefect.settings

    if variable.startswith("PREFECT_"):
        return hasattr(prefect.settings, variable)
    sources = [path.read_text() for name in ("sluice", "tasks", "deployments") for path in (ROOT / name).rglob("*.py")]
    return any(f'"{variable}"' in source for source in sources)


def module_of(command: list[str]) -> str:
    assert command[:2] == ["python", "-m"]
    assert len(command) == 3
    return command[2]


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"\b(?:SLUICE|PREFECT)_[A-Z_]*[A-Z]\b", PAGE))))
def test_variables_on_the_page_are_read(variable: str) -> None:
    assert known(variable) or variable in environment_of_compose() or variable in {"SLUICE_ALERT"}


def environment_of_compose() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", COMPOSE_TEXT))


@pytest.mark.parametrize("name", OURS)
def test_every_service_starts_a_module_with_variables_somebody_reads(name: str) -> None:
    assert importlib.util.find_spec(module_of(OURS[name]["command"])) is not None
    for variable in OURS[name]["environment"]:
        assert known(variable), variable
    assert (
        OURS[name]["environment"]["SLUICE_DATABASE_URL"]
        == "postgresql://sluice:${DATA_PASSWORD:?set it in .env}@data:5432/sluice"
    )


def test_a_variable_nobody_reads_is_noticed() -> None:
    assert not known("PREFECT_API_URI")
    assert not known("SLUICE_DATABASE_URI")


def test_every_part_of_the_service_is_there_and_waits_for_what_it_needs() -> None:
    modules = {module_of(service["command"]) for service in OURS.values()}
    assert modules == {"deployments.server", "deployments.provision", "deployments.worker", "deployments.watcher"}
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert how == {"condition": "service_completed_successfully"}
                assert SERVICES[other]["restart"] == "on-failure"


def test_passwords_stand_in_the_env_file_only() -> None:
    example = (ROOT / "compose.env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)) == environment_of_compose()
    for told in re.findall(r"PASSWORD: (.*)|AUTH_STRING: (.*)|://\w+:(.*?)@", COMPOSE_TEXT):
        assert "".join(told).startswith("${")
    assert {".env", "sluice.env"} <= set((ROOT / ".gitignore").read_text().split())


def test_workers_are_given_the_time_their_imports_get_and_no_name() -> None:
    from deployments.up import CANCEL_SECONDS

    worker = SERVICES["worker"]
    assert int(worker["stop_grace_period"].removesuffix("s")) > CANCEL_SECONDS
    assert "container_name" not in worker
    assert "hostname" not in worker
    home = ENV["SLUICE_HOME"]
    assert [mount.split(":")[1] for mount in worker["volumes"]] == [
        f"{home}/{name}" for name in ("inbox", "archive", "failed")
    ]
    assert worker["volumes"] == SERVICES["watcher"]["volumes"]
    assert ENV["SLUICE_INBOX"] == f"{home}/inbox"


def test_the_image_holds_what_runs_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for name in kept if not (ROOT / name).exists()} == set()
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = {*packages, "expectations", "prefect.yaml", "prefect.toml", "pyproject.toml", project["project"]["readme"]}
    assert wanted <= kept
    assert not {"tests", ".git", ".venv", ".env"} & kept


def test_the_image_installs_by_hash_and_does_not_run_as_root() -> None:
    assert "--no-deps --require-hashes -r requirements-image.txt" in DOCKERFILE
    assert "--no-deps --no-build-isolation -e ." in DOCKERFILE
    assert len(set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))) == 1
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == [re.findall(r"--uid (\d+)", DOCKERFILE)[0]]
    (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert importlib.util.find_spec(module_of(json.loads(command))) is not None
    for variable in set(ENV) - {"PATH"}:
        assert known(variable), variable


def versions(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_image_has_the_versions_that_are_tested() -> None:
    image, tested = versions("requirements-image.txt"), versions("requirements.txt") | versions("requirements-dev.txt")
    assert {name: image[name] for name in image.keys() & tested.keys()} == {
        name: tested[name] for name in image.keys() & tested.keys()
    }
    assert versions("requirements.txt").keys() <= image.keys()
    assert {"s3fs", "gcsfs", "adlfs", "prefect-kubernetes"} <= image.keys()


def placeholders(value: Any) -> set[str]:
    return set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(value)))


def test_the_template_asks_for_the_variables_it_has() -> None:
    assert placeholders(TEMPLATE["job_configuration"]) == set(TEMPLATE["variables"]["properties"])


def test_the_template_fits_the_image_and_the_deployments() -> None:
    from prefect.utilities.templating import apply_values

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    defaults = {name: one.get("default") for name, one in TEMPLATE["variables"]["properties"].items()}
    for deployment in deployments:
        variables = {**defaults, **deployment["work_pool"]["job_variables"]}
        manifest = apply_values(TEMPLATE["job_configuration"], variables)["job_manifest"]
        assert not placeholders(manifest) - {"env", "labels", "annotations"}  # these are the worker's
        pod = manifest["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert module_of(container["args"].split()) == "deployments.run"
        assert str(pod["securityContext"]["runAsUser"]) in re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == [ENV["SLUICE_HOME"]]
        assert container["envFrom"] == [{"secretRef": {"name": "sluice"}}]
        assert manifest["spec"]["backoffLimit"] == 0  # a run is tried again by Prefect or the inbox, not behind them


def test_commands_on_the_page_exist() -> None:
    modules = set(re.findall(r"python -m (deployments\.\w+)", PAGE))
    assert {"deployments.server", "deployments.provision", "deployments.worker", "deployments.watcher"} <= modules
    for module in modules:
        assert importlib.util.find_spec(module) is not None, module
