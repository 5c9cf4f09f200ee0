"""How an import ended, from the ledger: its report, and the artifacts that show it in Prefect."""

from __future__ import annotations

import json
from contextlib import closing, suppress

from prefect.client.schemas.actions import ArtifactCreate

from sluice import history
from sluice.database import connect, database_url
from sluice.errors import SluiceError
from sluice.history import RuleErrors
from sluice.markdown import escaped
from sluice.model import Report
from sluice.reporting import report_of
from sluice.settings import Settings
from tasks.pages import MAX_ROWS, errors_table, query_of_errors, report_page


def artifacts_of(import_id: int) -> tuple[Report | None, list[ArtifactCreate]]:
    """The report as the ledger has it now, and the artifacts of it; nothing when the database does not answer."""
    with suppress(SluiceError), closing(connect(database_url(Settings.from_environment()))) as connection:
        report = report_of(connection, import_id)
        rules = history.show(connection, import_id).rules if report.rejected else ()
        return report, [_page(report, f"import-{import_id}"), _errors(report, rules), _json(report)]
    return None, []


def artifacts_of_dry_run(report: Report) -> list[ArtifactCreate]:
    """A dry run leaves nothing in the ledger, so its report is all there is."""
    return [_page(report, "dry-run")]


def _page(report: Report, key: str) -> ArtifactCreate:
    return ArtifactCreate(
        key=f"{key}-report", type="markdown", data=report_page(report), description=escaped(report.message, 1000)
    )


def _errors(report: Report, rules: tuple[RuleErrors, ...]) -> ArtifactCreate:
    told = f"the first {MAX_ROWS} of {len(rules):,} lines" if len(rules) > MAX_ROWS else "every rule and column"
    description = (
        f"{report.rejected:,} rejected rows, {told}. All of them: `sluice rejects {report.import_id}`, or "
        f"`{query_of_errors(report.import_id or 0)}`."
    )
    return ArtifactCreate(
        key=f"import-{report.import_id}-errors",
        type="table",
        data=json.dumps(errors_table(rules)),
        description=description if report.rejected else "No row was rejected.",
    )


def _json(report: Report) -> ArtifactCreate:
    """Prefect shows an artifact of a type it does not know as indented JSON."""
    return ArtifactCreate(
        key=f"import-{report.import_id}-json",
        type="json",
        data=report.to_dict(),
        description="The report as JSON, with the keys of `sluice show --json`.",
    )
