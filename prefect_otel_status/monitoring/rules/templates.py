"""Pieces of the text of alerts, in the template language of Prometheus.

A run without a deployment, or without an environment, lacks that label: each
piece leaves out what is not there.
"""

from __future__ import annotations

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.signals import DEPLOYMENT, ENVIRONMENT, PIPELINE_NAME, Attribute


def value_of(attribute: Attribute) -> str:
    """The value of a label."""
    return f"{{{{ $labels.{attribute.label} }}}}"


COUNT = '{{ $value | printf "%.0f" }}'
"""The value, of a number of things: what `increase` gives is seldom whole."""


def _where(attribute: Attribute, before: str, after: str = "", *, function: str = "") -> str:
    piped = f" | {function}" if function else ""
    return f"{{{{ with $labels.{attribute.label} }}}}{before}{{{{ .{piped} }}}}{after}{{{{ end }}}}"


WHO = value_of(PIPELINE_NAME) + _where(DEPLOYMENT, "/") + _where(ENVIRONMENT, " (", ")")
"""Such as `deploy-model/nightly (production)`; of a run without both, the flow alone."""


def _query(attribute: Attribute, key: str, before: str) -> str:
    # `urlquery` is one of Go's own functions, which every Prometheus has.
    return _where(attribute, f"{before}{key}=", function="urlquery")


def dashboard_url(links: Links, uid: str) -> str:
    """The dashboard UID with its variables set to the alert's labels."""
    flow = f"{{{{ $labels.{PIPELINE_NAME.label} | urlquery }}}}"
    return (
        f"{links.grafana}/d/{uid}?var-flow={flow}"
        + _query(DEPLOYMENT, "var-deployment", "&")
        + _query(ENVIRONMENT, "var-environment", "&")
    )


def status_url(links: Links) -> str:
    """The deployment's status page, with its last words and the trace of its last run."""
    flow = f"{{{{ $labels.{PIPELINE_NAME.label} | urlquery }}}}"
    return f"{links.bridge}/deployments?flow={flow}" + _query(DEPLOYMENT, "deployment", "&")
