"""The configuration of Alertmanager: who is told, how often, and when nobody is."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.monitoring.stack.document import document
from prefect_otel_status.monitoring.stack.inhibition import WATCHDOG, inhibit_rules, named
from prefect_otel_status.monitoring.stack.places import WEBHOOK
from prefect_otel_status.signals import DEPLOYMENT, ENVIRONMENT, PIPELINE_NAME

PAGE, TICKET, NOTICE, DEAD_MAN = "page", "ticket", "notice", "watchdog"
MAINTENANCE = "maintenance"

_GROUP_BY = ["alertname", PIPELINE_NAME.label, DEPLOYMENT.label, ENVIRONMENT.label]


def files() -> dict[str, str]:
    """The file by its path."""
    return {"alertmanager/alertmanager.yml": _alertmanager()}


def _alertmanager() -> str:
    return document(
        "Alertmanager in the compose stack. Everything goes to the webhook receiver, which "
        "`--profile webhook` starts; without it Alertmanager logs that it could not deliver, and "
        "shows the alerts on its own page. Slack, PagerDuty, e-mail: examples.yml.",
        {
            "route": route(),
            "inhibit_rules": inhibit_rules(),
            "time_intervals": [maintenance()],
            "receivers": [_webhook(name) for name in (PAGE, TICKET, NOTICE, DEAD_MAN)],
        },
    )


def route() -> dict[str, Any]:
    """The routes by severity, and that of the dead-man's switch."""
    return {
        "receiver": NOTICE,
        "group_by": _GROUP_BY,
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "24h",
        "routes": [
            "# It always fires. Whoever receives it must call when it stops coming.",
            {
                "matchers": [named(WATCHDOG)],
                "receiver": DEAD_MAN,
                "group_wait": "0s",
                "group_interval": "1m",
                "repeat_interval": "5m",
            },
            _of_severity("critical", PAGE, repeat="4h"),
            _of_severity("warning", TICKET, repeat="12h"),
        ],
    }


def _of_severity(severity: str, receiver: str, *, repeat: str) -> dict[str, Any]:
    return {
        "matchers": [f'severity="{severity}"'],
        "receiver": receiver,
        "repeat_interval": repeat,
        "mute_time_intervals": [MAINTENANCE],
    }


def maintenance() -> dict[str, Any]:
    """A window in which nobody is told, long past; to be changed."""
    return {
        "name": MAINTENANCE,
        "time_intervals": [
            "# Sundays from two to four, in a year that is over: take away `years`, and it is in "
            "force. For a window that does not come back, `amtool silence add` is better.",
            {
                "weekdays": ["sunday"],
                "times": [{"start_time": "02:00", "end_time": "04:00"}],
                "location": "UTC",
                "years": ["2000"],
            },
        ],
    }


def _webhook(name: str) -> dict[str, Any]:
    told = {"url": f"{WEBHOOK.url}/{name}", "send_resolved": name != DEAD_MAN}
    return {"name": name, "webhook_configs": [told]}
