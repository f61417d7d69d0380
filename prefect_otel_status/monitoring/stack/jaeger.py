"""The configuration of Jaeger 2: traces on disk, for one machine."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.monitoring.stack import places
from prefect_otel_status.monitoring.stack.collector import metrics
from prefect_otel_status.monitoring.stack.document import document

FOLDER = "/var/lib/jaeger"
KEPT = "168h"
"""As long as Prefect keeps its events: an older run has lost more than its trace."""

_STORE = "badger"


def files() -> dict[str, str]:
    """The file by its path."""
    return {"jaeger/jaeger.yml": _jaeger()}


def _jaeger() -> str:
    return document(
        "Jaeger 2 in the compose stack: itself a collector, with Badger for its store. One "
        "process at a time may open that; for more than one machine see "
        "docs/how-to/beyond-one-machine.md.",
        {
            "extensions": {
                "healthcheckv2": {
                    "use_v2": True,
                    "http": {"endpoint": places.JAEGER_HEALTH.anywhere},
                },
                "jaeger_storage": {"backends": {_STORE: {"badger": _badger()}}},
                "jaeger_query": {
                    "storage": {"traces": _STORE},
                    "http": {"endpoint": places.JAEGER.anywhere},
                },
            },
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": places.JAEGER_OTLP.anywhere}}}
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": _STORE}},
            "service": _service(),
        },
    )


def _badger() -> dict[str, Any]:
    return {
        "#": "By default it is ephemeral, and a restart loses everything.",
        "ephemeral": False,
        "directories": {"keys": f"{FOLDER}/keys", "values": f"{FOLDER}/values"},
        "ttl": {"spans": KEPT},
    }


def _service() -> dict[str, Any]:
    return {
        "extensions": ["healthcheckv2", "jaeger_storage", "jaeger_query"],
        "pipelines": {
            "traces": {
                "#": "No batch processor: the collector sends batches, and deletes them from its "
                "disk once they are confirmed here. That must mean stored.",
                "receivers": ["otlp"],
                "exporters": ["jaeger_storage_exporter"],
            }
        },
        "telemetry": {"metrics": metrics(places.JAEGER_METRICS)},
    }
