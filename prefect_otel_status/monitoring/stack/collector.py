"""The configuration of the OpenTelemetry Collector: OTLP in, cleaned, queued on disk, to Jaeger."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.monitoring.stack import places
from prefect_otel_status.monitoring.stack.document import document
from prefect_otel_status.monitoring.stack.places import LOKI
from prefect_otel_status.monitoring.stack.secrets import BLOCKED_KEYS, BLOCKED_VALUES

QUEUE_FOLDER = "/var/lib/otelcol/queue"
_MEGABYTE = 1_000_000


def files() -> dict[str, str]:
    """The file by its path."""
    return {"collector/collector.yml": _collector()}


def _collector() -> str:
    return document(
        "The OpenTelemetry Collector (contrib) in the compose stack. What a sender gets confirmed "
        "is on disk: it survives a restart of the collector and an outage of Jaeger.",
        {
            "extensions": _extensions(),
            "receivers": {"otlp": {"protocols": _protocols()}},
            "processors": _processors(),
            "exporters": _exporters(),
            "service": _service(),
        },
    )


def _extensions() -> dict[str, Any]:
    return {
        "health_check": {"endpoint": places.COLLECTOR_HEALTH.anywhere},
        "file_storage": {
            "directory": QUEUE_FOLDER,
            "create_directory": True,
            "#": "A machine that loses its power loses nothing that was confirmed.",
            "fsync": True,
            "compaction": {
                "directory": QUEUE_FOLDER,
                "#": "Else the file keeps the size of the worst outage.",
                "on_rebound": True,
                "rebound_needed_threshold_mib": 64,
                "rebound_trigger_threshold_mib": 8,
            },
        },
    }


def _protocols() -> dict[str, Any]:
    return {
        "grpc": {"endpoint": places.COLLECTOR.anywhere},
        "http": {"endpoint": places.COLLECTOR_HTTP.anywhere},
    }


def _processors() -> dict[str, Any]:
    return {
        "memory_limiter": {
            "#": "Of the container's limit. Above it senders are told to come back: the bridge "
            "keeps what it has, flows drop it.",
            "check_interval": "1s",
            "limit_percentage": 75,
            "spike_limit_percentage": 20,
        },
        "redaction": {
            "#": "The second net: flows and bridge redact before they send. This one is for what "
            "others send here.",
            "allow_all_keys": True,
            "blocked_key_patterns": list(BLOCKED_KEYS),
            "blocked_values": list(BLOCKED_VALUES),
            "summary": "info",
        },
    }


def _exporters() -> dict[str, Any]:
    return {
        "otlp_grpc/jaeger": {
            "endpoint": str(places.JAEGER_OTLP),
            "tls": {"#": "Inside the compose network only.", "insecure": True},
            **_queue(512 * _MEGABYTE),
        },
        "otlp_http/loki": {
            "#": "Used with `--profile logs`; without it nothing sends logs here.",
            "endpoint": f"{LOKI.url}/otlp",
            **_queue(128 * _MEGABYTE),
        },
    }


def _queue(size: int) -> dict[str, Any]:
    return {
        "sending_queue": {
            "storage": "file_storage",
            "#": "Bytes on disk. When it is full, senders are told to come back.",
            "sizer": "bytes",
            "queue_size": size,
            "batch": {
                "#": "Batches are made here, behind the queue, and not by a batch processor before "
                "it: that one confirms what it holds in memory only.",
                "flush_timeout": "1s",
                "min_size": _MEGABYTE,
                "max_size": 4 * _MEGABYTE,
            },
        },
        "retry_on_failure": {
            "enabled": True,
            "initial_interval": "1s",
            "max_interval": "30s",
            "#": "Never give up: the size of the queue is the limit.",
            "max_elapsed_time": "0s",
        },
    }


def _service() -> dict[str, Any]:
    return {
        "extensions": ["health_check", "file_storage"],
        "pipelines": {
            "traces": _pipeline("otlp_grpc/jaeger"),
            "logs": _pipeline("otlp_http/loki"),
        },
        "telemetry": {"metrics": metrics(places.COLLECTOR_METRICS)},
    }


def _pipeline(exporter: str) -> dict[str, list[str]]:
    return {
        "receivers": ["otlp"],
        "processors": ["memory_limiter", "redaction"],
        "exporters": [exporter],
    }


def metrics(place: places.Place) -> dict[str, Any]:
    """The own metrics of a collector at PLACE, to be scraped."""
    exporter = {"prometheus": {"host": "0.0.0.0", "port": place.port}}  # noqa: S104 - in the stack's own network, and not published
    return {"level": "normal", "readers": [{"pull": {"exporter": exporter}}]}
