"""The end of an import: what only the whole file can tell, the final transaction, the ledger's last word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from sluice import ledger
from sluice.claim import Claimed
from sluice.duplicates import flag_duplicates
from sluice.errors import ExpectationFailed
from sluice.load import LoadPlan
from sluice.model import Commit, Counts, Severity, Status
from sluice.publish import Adjustment, publish, staging_plan
from sluice.recipe import Recipe
from sluice.relocate import Relocator
from sluice.rules import FailedRule
from sluice.thresholds import check_threshold

Connection = psycopg.Connection[tuple[Any, ...]]


def finish_import(
    connection: Connection,
    recipe: Recipe,
    plan: LoadPlan,
    claimed: Claimed,
    relocate: Relocator,
    *,
    notes: Sequence[str] = (),
) -> None:
    """Judge the file as a whole, publish staged rows, check the identity and close the import: one transaction,
    of which nothing remains if any of it fails. `notes` go into the import's message.

    Raises:
        ExpectationFailed: a rule about the whole file does not hold.
        ThresholdExceeded: duplicates and rows refused at the publish make too many rejects.
        IdentityMismatch: the counts do not add up.
    """
    atomic = recipe.dataset.commit is Commit.ATOMIC
    import_id = claimed.import_id
    with connection.transaction():
        ledger.fence(connection, import_id, claimed.attempt)
        counted: dict[int, int] = {}
        if recipe.suite is not None and recipe.suite.unique_rules:
            flagged = flag_duplicates(
                connection,
                staging_plan(plan) if atomic else plan,
                recipe.suite.unique_rules,
                relocate.raw,
            )
            _adjust(connection, claimed, flagged)
            counted = flagged.by_rule
        verdict = _judge_file(connection, recipe, import_id, counted)
        if atomic:
            _adjust(connection, claimed, publish(connection, plan, relocate))
        counts = ledger.totals(connection, import_id).counts
        check_threshold(recipe.dataset.max_rejects, counts.rejected, records=counts.records)
        status = Status.COMPLETED_WITH_REJECTS if counts.rejected else Status.COMPLETED
        ledger.finish(connection, import_id, claimed.attempt, status, " ".join((summary(counts), *notes)), verdict)


def _adjust(connection: Connection, claimed: Claimed, adjustment: Adjustment) -> None:
    if adjustment == Adjustment():
        return
    ledger.record_chunk(
        connection,
        claimed.import_id,
        claimed.attempt,
        ledger.ADJUSTMENT,
        adjustment.counts,
        adjustment.errors,
        adjustment.warnings,
        metrics=None,
        seconds=0.0,
    )


def _judge_file(
    connection: Connection, recipe: Recipe, import_id: int, unique_counts: dict[int, int]
) -> dict[str, Any] | None:
    """Great Expectations' result for the whole file, if the dataset has a suite."""
    if recipe.suite is None:
        return None
    from sluice.rules import merge_metrics, suite_result

    rows = connection.execute(
        "SELECT metrics FROM sluice.chunks WHERE import_id = %s AND metrics IS NOT NULL ORDER BY byte_start",
        [import_id],
    )
    result = suite_result(recipe.suite, merge_metrics(metrics for (metrics,) in rows), unique_counts)
    failed = [rule for rule in result.failed if rule.severity is Severity.CRITICAL]
    if failed:
        raise ExpectationFailed(
            f"The file as a whole does not meet {len(failed)} of its rules: {'; '.join(map(_sentence, failed))}.",
            hint="Correct the file, or the suite; a rule of severity warning would not fail the import.",
        )
    return result.json


def _sentence(rule: FailedRule) -> str:
    return f"{rule.code}{f' ({rule.column})' if rule.column else ''}: {rule.message}"


def summary(counts: Counts) -> str:
    """One sentence with the counts that are not zero."""
    names = ("loaded", "updated", "unchanged", "skipped", "rejected")
    parts = [f"{getattr(counts, name):,} {name}" for name in names if getattr(counts, name)]
    return f"{counts.records:,} records: {', '.join(parts) or 'none'}."
