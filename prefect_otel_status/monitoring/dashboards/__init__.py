"""Grafana's dashboards as code: six, made from the signals. Needs grafana-foundation-sdk."""

from __future__ import annotations

from prefect_otel_status.monitoring.dashboards.bridge import bridge
from prefect_otel_status.monitoring.dashboards.delivery import delivery
from prefect_otel_status.monitoring.dashboards.frame import as_text
from prefect_otel_status.monitoring.dashboards.health import health
from prefect_otel_status.monitoring.dashboards.run import run
from prefect_otel_status.monitoring.dashboards.statuses import statuses
from prefect_otel_status.monitoring.dashboards.workers import workers
from prefect_otel_status.monitoring.links import Links

DASHBOARDS = (health, statuses, run, delivery, workers, bridge)


def files(links: Links) -> dict[str, str]:
    """The dashboards by their paths, with LINKS in them."""
    found = [make(links) for make in DASHBOARDS]
    return {f"grafana/{dashboard.uid}.json": as_text(dashboard) for dashboard in found}
