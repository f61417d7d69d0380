"""The configuration of Loki, for the profile `logs`."""

from __future__ import annotations

from prefect_otel_status.monitoring.stack.document import document
from prefect_otel_status.monitoring.stack.places import LOKI

FOLDER = "/loki"
KEPT = "168h"


def files() -> dict[str, str]:
    """The file by its path."""
    return {"loki/loki.yml": _loki()}


def _loki() -> str:
    return document(
        "Loki in the compose stack (`--profile logs`): the statuses of all runs as log events, on "
        "one disk. It has no login of its own, and is not published.",
        {
            "auth_enabled": False,
            "server": {"http_listen_port": LOKI.port, "log_level": "warn"},
            "common": {
                "instance_addr": "127.0.0.1",
                "path_prefix": FOLDER,
                "replication_factor": 1,
                "ring": {"kvstore": {"store": "inmemory"}},
                "storage": {
                    "filesystem": {
                        "chunks_directory": f"{FOLDER}/chunks",
                        "rules_directory": f"{FOLDER}/rules",
                    }
                },
            },
            "schema_config": {
                "configs": [
                    {
                        "from": "2025-01-01",
                        "store": "tsdb",
                        "object_store": "filesystem",
                        "schema": "v13",
                        "index": {"prefix": "index_", "period": "24h"},
                    }
                ]
            },
            "limits_config": {
                "#": "What OTLP brings besides the text: the trace id is among it.",
                "allow_structured_metadata": True,
                "retention_period": KEPT,
            },
            "compactor": {
                "#": "Without it nothing is ever deleted.",
                "retention_enabled": True,
                "delete_request_store": "filesystem",
                "working_directory": f"{FOLDER}/compactor",
            },
            "analytics": {"reporting_enabled": False},
        },
    )
