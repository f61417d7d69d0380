"""All files of the stack."""

from __future__ import annotations

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.stack import (
    alertmanager,
    alertmanager_examples,
    builder,
    collector,
    grafana,
    jaeger,
    loki,
    postgres,
    prefect,
    prometheus,
)


def files(links: Links) -> dict[str, str]:
    """The configuration files by their paths below `dashboards/`; LINKS are for browsers."""
    parts = (alertmanager, alertmanager_examples, builder, collector, jaeger, loki)
    servers = (postgres, prefect, prometheus)
    found = {path: text for part in (*parts, *servers) for path, text in part.files().items()}
    return {**found, **grafana.files(links)}
