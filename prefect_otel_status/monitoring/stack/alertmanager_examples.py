"""Alertmanager with Slack, PagerDuty, e-mail and a webhook: to copy from."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.monitoring.stack.alertmanager import (
    DEAD_MAN,
    NOTICE,
    PAGE,
    TICKET,
    maintenance,
    route,
)
from prefect_otel_status.monitoring.stack.document import document
from prefect_otel_status.monitoring.stack.inhibition import inhibit_rules

SECRETS = "/etc/alertmanager/secrets"

_TITLE = "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }}: {{ len .Alerts }}"
_TEXT = """{{ range .Alerts -}}
*{{ .Annotations.summary }}*
{{ .Annotations.description }}
{{ with .Annotations.status_url }}<{{ . }}|status> · {{ end -}}
<{{ .Annotations.dashboard_url }}|dashboard> · <{{ .Annotations.runbook_url }}|runbook>
{{ end }}"""


def files() -> dict[str, str]:
    """The file by its path."""
    return {"alertmanager/examples.yml": _examples()}


def _examples() -> str:
    return document(
        "The same routes with real receivers: critical alerts to PagerDuty, warnings to Slack, "
        "what is only to be read by e-mail, the dead-man's switch to a service that calls when "
        f"it stops. Secrets are files in {SECRETS}: mount them there, readable by Alertmanager.",
        {
            "global": {
                "smtp_smarthost": "smtp.example.com:587",
                "smtp_from": "alertmanager@example.com",
                "smtp_auth_username": "alertmanager@example.com",
                "smtp_auth_password_file": f"{SECRETS}/smtp_password",
            },
            "route": route(),
            "inhibit_rules": inhibit_rules(),
            "time_intervals": [maintenance()],
            "receivers": [_pagerduty(), _slack(), _email(), _webhook()],
        },
    )


def _pagerduty() -> dict[str, Any]:
    links = [("runbook_url", "Runbook"), ("dashboard_url", "Dashboard"), ("status_url", "Status")]
    config = {
        "routing_key_file": f"{SECRETS}/pagerduty_routing_key",
        "severity": "{{ .CommonLabels.severity }}",
        "description": "{{ (index .Alerts 0).Annotations.summary }}",
        "links": [
            {"href": f"{{{{ (index .Alerts 0).Annotations.{name} }}}}", "text": text}
            for name, text in links
        ],
    }
    return {"name": PAGE, "pagerduty_configs": [config]}


def _slack() -> dict[str, Any]:
    config = {
        "api_url_file": f"{SECRETS}/slack_webhook_url",
        "channel": "#prefect-alerts",
        "send_resolved": True,
        "title": _TITLE,
        "text": _TEXT,
    }
    return {"name": TICKET, "slack_configs": [config]}


def _email() -> dict[str, Any]:
    config = {"to": "prefect-team@example.com", "headers": {"Subject": _TITLE}}
    return {"name": NOTICE, "email_configs": [config]}


def _webhook() -> dict[str, Any]:
    config = {
        "url": "https://deadman.example.com/ping",
        "send_resolved": False,
        "http_config": {
            "authorization": {"type": "Bearer", "credentials_file": f"{SECRETS}/deadman_token"}
        },
    }
    return {"name": DEAD_MAN, "webhook_configs": [config]}
