"""All alerts."""

from __future__ import annotations

from prefect_otel_status.monitoring.rules.alerts_bridge import bridge_alerts
from prefect_otel_status.monitoring.rules.alerts_deployments import deployment_alerts
from prefect_otel_status.monitoring.rules.alerts_runs import run_alerts
from prefect_otel_status.monitoring.rules.alerts_workers import worker_alerts
from prefect_otel_status.monitoring.rules.rule import Group


def alert_groups() -> tuple[Group, ...]:
    """The groups, in the order in which a person looks for causes."""
    return deployment_alerts(), run_alerts(), worker_alerts(), bridge_alerts()
