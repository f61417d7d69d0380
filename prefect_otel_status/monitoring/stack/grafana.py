"""What Grafana finds at its start: data sources and dashboards, none of which a browser changes."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import matches, select
from prefect_otel_status.monitoring.stack import places
from prefect_otel_status.monitoring.stack.document import document
from prefect_otel_status.monitoring.stack.prometheus import INTERVAL
from prefect_otel_status.signals import DEPLOYMENT, PIPELINE_NAME, RUN_DURATION

DASHBOARDS = "/etc/grafana-dashboards"
FOLDER = "Prefect"

_TRACE_ID = "trace_id"
"""The label of the bridge's exemplars, and Loki's name for the trace of a log event."""


def files(links: Links) -> dict[str, str]:
    """The files by their paths."""
    return {
        "grafana/provisioning/datasources/datasources.yml": _datasources(links),
        "grafana/provisioning/dashboards/dashboards.yml": _dashboards(),
    }


def _datasources(links: Links) -> str:
    sources = (_prometheus(), _jaeger(), _loki(links), _alertmanager())
    return document(
        "The data sources of Grafana. Dashboards name them by `uid`; in a Grafana of your own keep "
        "these uids, or choose yours in the dashboards' variables.",
        {"apiVersion": 1, "datasources": [{**source, "editable": False} for source in sources]},
    )


def _source(uid: str, name: str, kind: str, url: str, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "name": name, "type": kind, "access": "proxy", "url": url, **more}


def _prometheus() -> dict[str, Any]:
    to_trace = {"name": _TRACE_ID, "datasourceUid": "jaeger", "urlDisplayLabel": "Trace"}
    return _source(
        "prometheus",
        "Prometheus",
        "prometheus",
        places.PROMETHEUS.url,
        isDefault=True,
        jsonData={
            "httpMethod": "POST",
            "#": "The scrape interval: a rate over less than four of them has holes.",
            "timeInterval": INTERVAL,
            "#2": "From a dot in a graph to the trace of the run that it was.",
            "exemplarTraceIdDestinations": [to_trace],
        },
    )


def _jaeger() -> dict[str, Any]:
    return _source(
        "jaeger",
        "Jaeger",
        "jaeger",
        places.JAEGER.url,
        jsonData={
            "nodeGraph": {"enabled": True},
            "#": "From a span to what was said meanwhile (`--profile logs`).",
            "tracesToLogsV2": _to_logs(),
            "#2": "And to how long such runs usually take.",
            "tracesToMetrics": _to_metrics(),
        },
    )


def _to_logs() -> dict[str, Any]:
    # `$$` is a `$` here: Grafana fills in variables of the environment in these files.
    query = '{service_name=~".+"} | trace_id="$${__trace.traceId}"'
    return {
        "datasourceUid": "loki",
        "spanStartTimeShift": "-10m",
        "spanEndTimeShift": "10m",
        "customQuery": True,
        "query": query,
    }


def _to_metrics() -> dict[str, Any]:
    flow = "$${__span.tags['" + PIPELINE_NAME.name + "']}"
    runs = select(
        RUN_DURATION, matches(PIPELINE_NAME, flow), part="bucket", window="$$__rate_interval"
    )
    by = f"le, {PIPELINE_NAME.label}, {DEPLOYMENT.label}"
    return {
        "datasourceUid": "prometheus",
        "spanStartTimeShift": "-6h",
        "spanEndTimeShift": "1h",
        "queries": [
            {
                "name": "Usual duration (p95)",
                "query": f"histogram_quantile(0.95, sum by ({by}) (rate({runs})))",
            }
        ],
    }


def _loki(links: Links) -> dict[str, Any]:
    to_trace = {
        "name": "Trace",
        "matcherType": "label",
        "matcherRegex": _TRACE_ID,
        "datasourceUid": "jaeger",
        "url": "$${__value.raw}",
        "urlDisplayLabel": "Trace",
    }
    to_run = {
        "name": "Run in Prefect",
        "matcherType": "label",
        "matcherRegex": "cicd_pipeline_run_id",
        "url": f"{links.prefect}/runs/flow-run/$${{__value.raw}}",
        "urlDisplayLabel": "Run in Prefect",
    }
    return _source(
        "loki",
        "Loki (profile logs)",
        "loki",
        places.LOKI.url,
        jsonData={"derivedFields": [to_trace, to_run]},
    )


def _alertmanager() -> dict[str, Any]:
    return _source(
        "alertmanager",
        "Alertmanager",
        "alertmanager",
        places.ALERTMANAGER.url,
        jsonData={"implementation": "prometheus"},
    )


def _dashboards() -> str:
    provider = {
        "name": "prefect-otel-status",
        "folder": FOLDER,
        "type": "file",
        "#": "Generated files: what is changed in a browser would be lost at the next start.",
        "allowUiUpdates": False,
        "disableDeletion": True,
        "updateIntervalSeconds": 60,
        "options": {"path": DASHBOARDS},
    }
    return document("The dashboards of Grafana.", {"apiVersion": 1, "providers": [provider]})
