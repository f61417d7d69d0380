"""OTLP JSON lines in the local folder: what happens while no OTLP endpoint is set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from prefect_otel_status.bridge.otlp import request
from prefect_otel_status.bridge.senders.base import Kind, Outcome
from prefect_otel_status.exporters.json_lines import JsonLines

_REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


class FolderSender:
    """Appends requests to `traces.jsonl` and `logs.jsonl` in FOLDER, beside those of the flows."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self._lines = {
            signal: JsonLines(folder / f"{signal}.jsonl", size=size) for signal in _REQUESTS
        }

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        """Append BODIES as one line. What goes wrong is in the outcome, never raised."""
        # A disk may be slow, and the bridge has other things to do.
        return await asyncio.to_thread(self._append, signal, bodies)

    async def close(self) -> None:
        """Nothing is held open."""

    def _append(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        try:
            self._lines[signal].append(_REQUESTS[signal].FromString(request(bodies)))
        except DecodeError:
            return Outcome(Kind.REFUSED, "its bytes are damaged")
        except OSError as error:
            return Outcome(Kind.RETRY, f"the folder cannot be written: {error.strerror}")
        return Outcome(Kind.DELIVERED)
