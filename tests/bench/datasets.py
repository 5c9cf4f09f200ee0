"""The datasets the benchmark imports into: the shipped customers, others made from it, a narrow and a wide one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.bench.data import NARROW, WIDE

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "expectations" / "customers"

#: The shipped one, with the key customer_id: 15 random hexadecimal digits.
CUSTOMERS = "customers"
#: Without a key, and without the rule that customer_id is unique, which is the key's work.
NO_KEY = "customers_no_key"
#: Without a key, but with that rule: it is judged over the whole file at its end.
UNIQUE = "customers_unique"
#: With the key index: a bigint, in the order of the file.
NUMBERED = "customers_numbered"
#: 3 and 94 columns, key id, with 2 and 12 rules.
NARROW_SET, WIDE_SET = "narrow", "wide"

_UNIQUE_RULE = "expect_column_values_to_be_unique"

Rules = Sequence[Mapping[str, Any]]


def write_datasets(folder: Path) -> None:
    """One folder a dataset, as under `expectations/`."""
    yaml_of_customers = yaml.safe_load((SHIPPED / "dataset.yaml").read_text(encoding="utf-8"))
    rules = json.loads((SHIPPED / "suite.json").read_text(encoding="utf-8"))["expectations"]
    others = [rule for rule in rules if rule["type"] != _UNIQUE_RULE]
    for column in yaml_of_customers["columns"]:
        if column["name"] == "customer_id":
            column["required"] = True  # as in a key, so that the same rows are bad in all of them
    keyless = {name: value for name, value in yaml_of_customers.items() if name not in ("key", "on_duplicate")}
    keyless["mode"] = "append"
    _write(folder / CUSTOMERS, yaml_of_customers, rules)
    _write(folder / NO_KEY, keyless, others)
    _write(folder / UNIQUE, keyless, rules)
    _write(folder / NUMBERED, {**yaml_of_customers, "key": ["index"]}, [*others, _rule(_UNIQUE_RULE, "index")])
    _write(
        folder / NARROW_SET,
        _yaml_of("narrow", NARROW),
        _rules_of({name: kind for name, kind in NARROW.items() if name != "id"}),
    )
    few = {name: kind for name, kind in WIDE.items() if name.endswith(("_01", "_02", "_03"))}
    _write(folder / WIDE_SET, _yaml_of("wide", WIDE), _rules_of(few))


def _write(folder: Path, dataset: Mapping[str, Any], rules: Rules) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(yaml.safe_dump(dict(dataset), sort_keys=False), encoding="utf-8")
    suite = {
        "name": folder.name,
        "id": None,
        "expectations": list(rules),
        "meta": {"great_expectations_version": "1.24.1"},
        "notes": None,
    }
    (folder / "suite.json").write_text(json.dumps(suite), encoding="utf-8")


def _yaml_of(name: str, columns: Mapping[str, str]) -> dict[str, Any]:
    described = [
        {"name": column, "type": kind} | ({"format": "%Y-%m-%d"} if kind == "date" else {})
        for column, kind in columns.items()
    ]
    return {"table": f"public.{name}", "key": ["id"], "mode": "insert", "on_duplicate": "skip", "columns": described}


def _rules_of(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """One rule a column, by its type."""
    by_type: dict[str, tuple[str, dict[str, Any]]] = {
        "text": ("expect_column_values_to_match_regex", {"regex": "^\\S.*\\S$"}),
        "integer": ("expect_column_values_to_be_between", {"min_value": 0, "max_value": 9_999_999}),
        "numeric(12,2)": ("expect_column_values_to_be_between", {"min_value": 0, "max_value": 100_000}),
        "date": ("expect_column_values_to_be_between", {"min_value": "2000-01-01", "max_value": "2099-12-31"}),
    }
    return [_rule(by_type[kind][0], column, **by_type[kind][1]) for column, kind in columns.items()]


def _rule(kind: str, column: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": {"column": column, **kwargs}, "meta": {}, "severity": "critical"}
