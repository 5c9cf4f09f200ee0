"""Alerts and the burial of dead runs as Prefect automations: `python -m deployments.automations`.

Safe to run again: an automation or block of the same name is changed, not doubled. What is configured comes from the
environment (docs/alerts.md); addresses and passwords are kept encrypted in Prefect's database, nowhere else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import click

from sluice.inbox import UNAVAILABLE

if TYPE_CHECKING:
    from prefect.automations import Automation

#: Flow processes send a heartbeat every 30 seconds. Two may be lost on the way before a run counts as dead: with less
#: than this, healthy runs were marked Crashed.
_ZOMBIE_AFTER = timedelta(seconds=120)

#: A process is there some seconds after a worker took a run up; in a cluster, its image may have to be fetched first.
#: One that comes later than this finds its run Crashed and does nothing.
_STILLBORN_AFTER = timedelta(minutes=3)

ZOMBIES = "sluice: a run without a process"
STILLBORN = "sluice: a run that never began"
FAILED = "sluice: an import failed"
REJECTED = "sluice: an import rejected many records"

#: States after which a run sends no sign of life any more. Its events are named by the state's name, not its type: one
#: that is missing here would have its runs marked Crashed two minutes after their end.
_ENDS = (
    "Completed",
    "CompletedWithRejects",
    "Failed",
    "Crashed",
    "Cancelled",
    "AwaitingRetry",
    "Rescheduled",
    "Paused",
    "Suspended",
    "TimedOut",
    UNAVAILABLE,
)

#: The flows that import.
_FLOWS = ("import-file", "import-dropped")

#: The label of `sluice.import.rejected` that the alert on many rejects looks at: whole percent, rounded down. Triggers
#: compare labels with texts and wildcards only, not payloads and not numbers.
REJECT_LABEL = "sluice.reject-percent"

_FAILED_SUBJECT = "Import {{ flow_run.name }}: {{ flow_run.state.name }}"
_FAILED_BODY = "{{ flow_run.state.message }}\n{{ flow_run | ui_url }}"
_REJECTED_SUBJECT = "{{ event.payload.reject_percent }} % rejected: {{ event.resource.name or event.resource.id }}"
_REJECTED_BODY = "{{ event.payload.message or event.resource.id }}"

#: Slack reads <!channel> and <url|text> in a message, and a message may quote a file.
_SLACK_ESCAPE = " | string | replace('&', '&amp;') | replace('<', '&lt;') | replace('>', '&gt;') }}"


@dataclass(frozen=True, slots=True)
class Alerts:
    """Who is told, and from which share of rejects on. None: not configured."""

    webhook: str | None = field(default=None, repr=False)
    slack: str | None = field(default=None, repr=False)
    email: tuple[str, ...] = ()
    email_from: str = ""
    smtp: str | None = field(default=None, repr=False)
    reject_percent: int | None = None

    @property
    def configured(self) -> bool:
        return bool(self.webhook or self.slack or self.email)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Alerts:
        """Read the variables of docs/alerts.md.

        Raises:
            ValueError: something in them cannot work; the message names the variable and not its value.
        """

        def told(name: str) -> str | None:
            return environ.get(name, "").strip() or None

        email = tuple(part.strip() for part in (told("SLUICE_ALERT_EMAIL") or "").split(",") if part.strip())
        alerts = cls(
            webhook=_address("SLUICE_ALERT_WEBHOOK", told("SLUICE_ALERT_WEBHOOK"), ("http", "https")),
            slack=_address("SLUICE_ALERT_SLACK", told("SLUICE_ALERT_SLACK"), ("http", "https")),
            email=email,
            email_from=told("SLUICE_ALERT_EMAIL_FROM") or (email[0] if email else ""),
            smtp=_address("SLUICE_ALERT_SMTP", told("SLUICE_ALERT_SMTP"), ("smtp", "smtp+starttls", "smtps")),
            reject_percent=_percent(told("SLUICE_ALERT_REJECT_PERCENT")),
        )
        if email and not alerts.smtp:
            raise ValueError("SLUICE_ALERT_EMAIL needs SLUICE_ALERT_SMTP, such as smtp+starttls://user:password@host.")
        return alerts


def _address(name: str, value: str | None, schemes: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{name} must be an address that starts with {' or '.join(f'{one}://' for one in schemes)}.")
    return value


def _percent(value: str | None) -> int | None:
    if value is None:
        return None
    text = value.removesuffix("%").strip()
    if not text.isdigit() or int(text) > 100:
        raise ValueError("SLUICE_ALERT_REJECT_PERCENT must be a whole number from 0 to 100.")
    return int(text)


def zombies() -> Automation:
    """Marks a run of a deployment Crashed when its process has been silent for two minutes."""
    return _burial(
        ZOMBIES,
        "Its worker was stopped hard: Prefect alone would show such a run as Running for ever.",
        after=("Running", "Retrying", "heartbeat"),  # it may be killed before its first heartbeat is sent
        expect=("Running", "Retrying", "heartbeat", *_ENDS),
        within=_ZOMBIE_AFTER,
        message="No sign of life from its process for two minutes. Importing the file again resumes it.",
    )


def stillborn() -> Automation:
    """Marks a run of a deployment Crashed that a worker took up, and that has not begun three minutes later."""
    return _burial(
        STILLBORN,
        "Its worker's host died before there was a process: Prefect alone would show such a run as Pending for ever.",
        after=("Pending",),
        expect=("Running", "heartbeat", *_ENDS),
        within=_STILLBORN_AFTER,
        message="Its worker took it up three minutes ago, and it has not begun.",
    )


def _burial(
    name: str, description: str, *, after: Sequence[str], expect: Sequence[str], within: timedelta, message: str
) -> Automation:
    from prefect.automations import Automation
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture

    return Automation(
        name=name,
        description=description,
        trigger=EventTrigger(
            after={f"prefect.flow-run.{one}" for one in after},
            expect={f"prefect.flow-run.{one}" for one in expect},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # Runs of `sluice import` in a shell are not ours to judge: their heartbeat may be slower.
            match_related={"prefect.resource.role": "deployment", "prefect.resource.id": "prefect.deployment.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,  # fires when fewer than this came; 0 never does
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", force=False, message=message)],
    )


def alerts_of(alerts: Alerts) -> list[Automation]:
    """The automations that tell people. Saves the blocks they send with."""
    from prefect.automations import Automation
    from prefect.events.schemas.automations import EventTrigger, Posture

    found = [
        Automation(
            name=FAILED,
            trigger=EventTrigger(
                expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(_FLOWS)},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=_actions(alerts, _FAILED_SUBJECT, _FAILED_BODY),
        )
    ]
    if alerts.reject_percent is not None:
        found.append(
            Automation(
                name=REJECTED,
                description=f"{alerts.reject_percent} % of the records or more.",
                trigger=EventTrigger(
                    expect={"sluice.import.rejected"},
                    match={
                        "prefect.resource.id": "sluice.import.*",
                        REJECT_LABEL: [str(percent) for percent in range(alerts.reject_percent, 101)],
                    },
                    posture=Posture.Reactive,
                    threshold=1,
                ),
                actions=_actions(alerts, _REJECTED_SUBJECT, _REJECTED_BODY),
            )
        )
    return found


def _actions(alerts: Alerts, subject: str, body: str) -> list[Any]:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.events.actions import SendNotification
    from prefect.types import SecretDict
    from pydantic import SecretStr

    from deployments.email_block import EmailNotification

    def web(name: str, url: str, json_data: dict[str, str]) -> UUID:
        # The block shows its url; its secrets are encrypted, and a webhook's address is a password.
        secrets = SecretDict({"address": url})
        block = CustomWebhookNotificationBlock(
            name=name, url="{{address}}", json_data=json_data, headers=None, cookies=None, secrets=secrets
        )
        return _save(block, name)

    actions = []
    if alerts.webhook:
        fields = {"subject": "{{subject}}", "body": "{{body}}"}
        actions.append(_send(SendNotification, web("sluice-webhook", alerts.webhook, fields), subject, body))
    if alerts.slack:
        text = {"text": "{{subject}}\n{{body}}"}
        slack = web("sluice-slack", alerts.slack, text)
        actions.append(_send(SendNotification, slack, _for_slack(subject), _for_slack(body)))
    if alerts.email and alerts.smtp:
        mail = EmailNotification(server=SecretStr(alerts.smtp), sender=alerts.email_from, recipients=list(alerts.email))
        actions.append(_send(SendNotification, _save(mail, "sluice-email"), subject, body))
    return actions


def _for_slack(template: str) -> str:
    return template.replace("{{ ", "{{ (").replace(" }}", ")" + _SLACK_ESCAPE)


def _send(kind: Any, block: UUID, subject: str, body: str) -> Any:
    return kind(block_document_id=block, subject=subject, body=body)


def _save(block: Any, name: str) -> UUID:
    found = block.save(name, overwrite=True)
    assert isinstance(found, UUID)
    return found


def upsert(automation: Automation) -> None:
    """Create it, or change the one of that name; a second one of that name is removed."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        same = client.read_automations_by_name(automation.name)
        if not same:
            automation.create()
            return
        automation.id, automation.enabled = same[0].id, same[0].enabled  # one a person switched off stays off
        automation.update()
        for other in same[1:]:
            client.delete_automation(other.id)


def remove(name: str) -> None:
    """Delete the automations of that name, if any."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for found in client.read_automations_by_name(name):
            client.delete_automation(found.id)


def apply(environ: Mapping[str, str]) -> list[str]:
    """Provision the burial of dead runs, and the alerts if any is configured; the names of what is there now.

    Raises:
        ValueError: as `Alerts.from_environment`.
    """
    alerts = Alerts.from_environment(environ)
    wanted = [zombies(), stillborn(), *(alerts_of(alerts) if alerts.configured else [])]
    for automation in wanted:
        upsert(automation)
    names = [automation.name for automation in wanted]
    if alerts.configured and REJECTED not in names:
        remove(REJECTED)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.automations", description=__doc__)
    parser.add_argument("--remove", action="store_true", help="remove the alerts")
    if parser.parse_args().remove:
        for name in (FAILED, REJECTED):
            remove(name)
        return 0
    try:
        for name in apply(os.environ):
            click.echo(name)
    except ValueError as error:
        click.echo(str(error), err=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
