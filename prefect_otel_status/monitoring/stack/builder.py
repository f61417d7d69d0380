"""What the collector's builder needs to build one with the components that collector.yml names."""

from __future__ import annotations

from prefect_otel_status.monitoring.stack.document import document

VERSION = "0.159.0"
"""The release of the collector; that of its image in docker-compose.yml."""

_STABLE = "1.65.0"
"""The same release of the modules that count from 1."""

_CORE = "go.opentelemetry.io/collector"
_CONTRIB = "github.com/open-telemetry/opentelemetry-collector-contrib"

COMPONENTS = {
    "extensions": {
        "health_check": f"{_CONTRIB}/extension/healthcheckextension",
        "file_storage": f"{_CONTRIB}/extension/storage/filestorage",
    },
    "receivers": {"otlp": f"{_CORE}/receiver/otlpreceiver"},
    "processors": {
        "memory_limiter": f"{_CORE}/processor/memorylimiterprocessor",
        "redaction": f"{_CONTRIB}/processor/redactionprocessor",
    },
    "exporters": {
        "otlp_grpc": f"{_CORE}/exporter/otlpexporter",
        "otlp_http": f"{_CORE}/exporter/otlphttpexporter",
    },
}
"""The module of each kind of component, by the name that a configuration has for it."""


def files() -> dict[str, str]:
    """The file by its path."""
    return {"collector/builder.yml": _builder()}


def _builder() -> str:
    parts = {
        kind: [{"gomod": f"{module} v{VERSION}"} for module in modules.values()]
        for kind, modules in COMPONENTS.items()
    }
    providers = [f"{_CORE}/confmap/provider/{name}provider" for name in ("env", "file")]
    return document(
        "A collector with the components of collector.yml and no others: it checks that file where "
        f"no image can be had. Build it with `go run {_CORE}/cmd/builder@v{VERSION} --config "
        "builder.yml`.",
        {
            "dist": {
                "name": "otelcol-prefect",
                "description": "The collector with what collector.yml needs",
                "version": VERSION,
                "output_path": "./otelcol-prefect",
            },
            **parts,
            "providers": [{"gomod": f"{module} v{_STABLE}"} for module in providers],
        },
    )
