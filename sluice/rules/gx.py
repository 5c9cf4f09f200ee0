"""Great Expectations, imported quietly. Every other module takes its names from here.

They are pinned to 1.24 because most of them are not public API; `tests/unit/test_rules_differential.py` holds
what we do with them against `Batch.validate`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from sluice.without_pandas import let_pandas_in

let_pandas_in()
with warnings.catch_warnings():
    # sre_parse and sre_constants, on Python 3.11 and later.
    warnings.simplefilter("ignore", DeprecationWarning)
    import great_expectations
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import get_expectation_impl, get_metric_provider
    from great_expectations.validator.metric_configuration import MetricConfiguration
    from great_expectations.validator.metrics_calculator import MetricsCalculator

# It captures Python's warnings into a logger nobody reads; give them back.
logging.captureWarnings(False)
# It logs at ERROR what it also raises, and each rule it drops; the strict loader says both better.
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)

#: The kinds of expectation that hold or fail row by row.
MAP_EXPECTATIONS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)

#: The batch id of every chunk; one engine sees one chunk.
BATCH = "chunk"


def with_batch(expectation: Any) -> Any:
    """A copy of the expectation that is bound to our batch, as `Validator` makes one."""
    configuration = expectation.configuration
    configuration.kwargs["batch_id"] = BATCH
    return configuration.to_domain_obj()


def bound_expectation(configuration: Mapping[str, Any]) -> Any:
    """The expectation that Great Expectations wrote down as `configuration`, bound to our batch."""
    return with_batch(ExpectationConfiguration(**configuration).to_domain_obj())


def dependencies(expectation: Any, result_format: dict[str, Any]) -> dict[str, MetricConfiguration]:
    """The metrics that decide about the expectation, by name."""
    needed = expectation.get_validation_dependencies(runtime_configuration={"result_format": dict(result_format)})
    configurations: dict[str, MetricConfiguration] = needed.metric_configurations
    return configurations


__all__ = [
    "BATCH",
    "MAP_EXPECTATIONS",
    "ColumnMapExpectation",
    "ExpectationConfiguration",
    "ExpectationSuite",
    "MetricConfiguration",
    "MetricsCalculator",
    "MulticolumnMapExpectation",
    "PandasExecutionEngine",
    "bound_expectation",
    "dependencies",
    "get_expectation_impl",
    "get_metric_provider",
    "great_expectations",
    "with_batch",
]
