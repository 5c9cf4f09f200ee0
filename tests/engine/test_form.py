"""The run form of `import-file`: what it shows, and what the server refuses before a run exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deployments.inventory import flow_of
from tests.engine.prefect_api import Api

ROOT = Path(__file__).parents[2]

CUSTOMERS = {"source": str(ROOT / "samples/customers.csv"), "dataset": "customers"}


@pytest.fixture(scope="session")
def form() -> dict[str, Any]:
    from flows.import_file import import_file

    return import_file.parameters.model_dump()


@pytest.fixture(scope="session")
def deployment(prefect_server: None, form: dict[str, Any]) -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("import-file")
        return str(
            client.create_deployment(
                flow_id=flow_id, name="form", parameter_openapi_schema=form, enforce_parameter_schema=True
            )
        )


def test_every_parameter_of_every_flow_explains_itself() -> None:
    flows = [flow_of(one) for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
    assert len({flow.name for flow in flows}) >= 3
    for flow in flows:
        assert flow.description.endswith("."), flow.name
        for name, field in flow.parameters.model_dump()["properties"].items():
            assert field["title"][0].isupper(), name
            assert field["title"] != name
            assert len(field["description"]) > 20, name
            assert field["description"].endswith("."), name
            assert "anyOf" not in field, f"{name} would show as a choice of types"


def test_only_the_file_must_be_told(form: dict[str, Any]) -> None:
    assert form["required"] == ["source"]


def test_the_common_parameters_come_first(form: dict[str, Any]) -> None:
    by_position = sorted(form["properties"], key=lambda name: form["properties"][name]["position"])
    assert by_position[:6] == ["source", "dataset", "table", "mode", "commit", "max_rejects"]


def test_datasets_are_a_choice_of_those_that_exist(form: dict[str, Any]) -> None:
    existing = sorted(path.parent.name for path in (ROOT / "expectations").glob("*/dataset.yaml"))
    assert form["properties"]["dataset"]["enum"] == ["", *existing]


def test_every_option_of_the_request_is_a_parameter(form: dict[str, Any]) -> None:
    from sluice.request import Request

    assert set(form["properties"]) == set(Request.__dataclass_fields__) | {"resume"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", ""),
        ("source", 7),
        ("dataset", "no-such-dataset"),
        ("mode", "upsert"),
        ("commit", "sometimes"),
        ("max_rejects", "many"),
        ("max_rejects", "5 percent"),
        ("strict", "perhaps"),
        ("delimiter", ";;"),
        ("encoding", "utf-8; drop"),
        ("skip_lines", -2),
        ("max_rows_per_second", -1),
        ("set", ["a"]),
        ("null", "NULL"),
        ("stray_quotes", "keep"),
        ("resume", -1),
    ],
)
def test_nonsense_is_refused_before_the_run_with_its_field(api: Api, deployment: str, name: str, value: Any) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        api.post(f"/deployments/{deployment}/create_flow_run", parameters=CUSTOMERS | {name: value})
    assert refusal.value.response.status_code == 409
    assert f"'{name}'" in refusal.value.response.json()["detail"]


def test_a_parameter_that_is_missing_is_named(api: Api, deployment: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        api.post(f"/deployments/{deployment}/create_flow_run", parameters={"dataset": "customers"})
    assert refusal.value.response.status_code == 409
    assert "'source'" in refusal.value.response.json()["detail"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_rejects": "2.5%", "mode": "overwrite", "commit": "atomic", "delimiter": "tab", "quote": "none"},
        {"set": {"user_id": "7"}, "map": {"email": "#3"}, "null": ["NULL", "n/a"], "skip_lines": 0},
        {"dataset": "", "table": "public.plain", "encoding": "windows-1252", "max_rows_per_second": 1000},
    ],
)
def test_sense_is_accepted(api: Api, deployment: str, parameters: dict[str, Any]) -> None:
    made = api.post(f"/deployments/{deployment}/create_flow_run", parameters=CUSTOMERS | parameters)
    assert made["state"]["type"] == "SCHEDULED"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"table": "public.t"}, "--table"),
        ({"dataset": ""}, "--dataset"),
        ({"strict": True, "max_rejects": "5%"}, "--max-rejects"),
        ({"mode": "replace", "commit": "progressive"}, "progressively"),
        ({"infer": True}, "--infer"),
    ],
)
def test_what_does_not_go_together_fails_before_anything_is_opened(
    home: Path, prefect_server: None, parameters: dict[str, Any], words: str
) -> None:
    from flows.import_file import import_file

    state: Any = import_file(**(CUSTOMERS | parameters), return_state=True)
    assert state.type.value == "FAILED"
    assert state.message.startswith("The parameters do not fit: ")
    assert words in state.message
    assert list(home.iterdir()) == []


def test_what_the_command_line_is_told_arrives(prefect_server: None) -> None:
    from flows.local import _parameters
    from sluice.request import request_of

    request = request_of("f.csv", table="t", quote="", skip_lines=0, null=["-"], max_rows_per_second=5)
    assert _parameters(request) == {
        "source": "f.csv",
        "table": "t",
        "quote": "none",
        "skip_lines": 0,
        "null": ["-"],
        "max_rows_per_second": 5,
    }
