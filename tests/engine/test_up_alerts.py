"""What the environment says about alerts, before any server is asked."""

from __future__ import annotations

import pytest

from deployments.automations import Alerts


def test_nothing_told_is_nothing_configured() -> None:
    assert not Alerts.from_environment({"SLUICE_ALERT_WEBHOOK": " "}).configured


def test_addresses_are_read_and_not_shown() -> None:
    alerts = Alerts.from_environment(
        {
            "SLUICE_ALERT_WEBHOOK": "https://example.org/a-secret",
            "SLUICE_ALERT_EMAIL": "a@example.org, b@example.org",
            "SLUICE_ALERT_SMTP": "smtps://user:a-secret@mail.example.org",
            "SLUICE_ALERT_REJECT_PERCENT": "5%",
        }
    )
    assert alerts.configured
    assert alerts.email == ("a@example.org", "b@example.org")
    assert (alerts.email_from, alerts.reject_percent) == ("a@example.org", 5)
    assert "a-secret" not in repr(alerts)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_ALERT_WEBHOOK", "example.org/a-secret"),
        ("SLUICE_ALERT_SLACK", "smtp://a-secret"),
        ("SLUICE_ALERT_SMTP", "a-secret:25"),
        ("SLUICE_ALERT_REJECT_PERCENT", "a-secret"),
        ("SLUICE_ALERT_REJECT_PERCENT", "101"),
        ("SLUICE_ALERT_EMAIL", "a-secret@example.org"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name) as refused:
        Alerts.from_environment({name: value})
    assert "a-secret" not in str(refused.value)


def test_every_end_of_a_run_is_a_sign_of_life() -> None:
    from deployments.automations import stillborn, zombies

    for automation in (zombies(), stillborn()):
        trigger = automation.model_dump()["trigger"]
        assert trigger["threshold"] == 1
        assert trigger["within"].total_seconds() >= 4 * 30  # heartbeats
        for name in ("heartbeat", "Completed", "CompletedWithRejects", "Failed", "Unavailable", "Cancelled", "Crashed"):
            assert f"prefect.flow-run.{name}" in trigger["expect"]
    assert "prefect.flow-run.Running" in stillborn().model_dump()["trigger"]["expect"]
