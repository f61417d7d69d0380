"""OTLP JSON lines in a local folder: what happens while no OTLP endpoint is set.

One file a signal, `traces.jsonl`, `metrics.jsonl`, `logs.jsonl`; one OTLP export
request a line, as the OTLP file format has it. Processes may share the folder:
each line is appended in one write. Jaeger's UI loads `traces.jsonl`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


class JsonLines:
    """Appends OTLP messages to a file; the file before is kept as `<name>.1`.

    Files can be read by their owner only: a status may say more than its
    author thought.
    """

    def __init__(self, path: Path, *, size: int) -> None:
        self._path = path
        self._size = size

    def append(self, message: Any) -> None:
        """Write MESSAGE as one line. Raises `OSError` where the folder cannot be written."""
        line = json.dumps(to_json(message), ensure_ascii=False, separators=(",", ":")) + "\n"
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._rotate()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(self._path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            _write_whole(handle, line.encode())
        finally:
            os.close(handle)

    def _rotate(self) -> None:
        try:
            if self._path.stat().st_size > self._size:
                os.replace(self._path, self._path.with_name(self._path.name + ".1"))
        except FileNotFoundError:
            return


def _write_whole(handle: int, line: bytes) -> None:
    written = os.write(handle, line)
    while written < len(line):  # a disk that is nearly full takes a part
        written += os.write(handle, line[written:])


def to_json(message: Any) -> Any:
    """MESSAGE as OTLP's JSON encoding has it: ids in hexadecimal, enumerations as numbers."""
    return _hex_ids(MessageToDict(message, use_integers_for_enums=True))


def _hex_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hex(item) if key in _IDS else _hex_ids(item) for key, item in value.items()}
    return [_hex_ids(item) for item in value] if isinstance(value, list) else value


def _hex(encoded: str) -> str:
    return base64.b64decode(encoded).hex()


class JsonSpanExporter(SpanExporter):
    """Appends spans to `traces.jsonl` in FOLDER."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self._lines = JsonLines(folder / "traces.jsonl", size=size)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._lines.append(encode_spans(spans))
        return SpanExportResult.SUCCESS


class JsonLogExporter(LogRecordExporter):
    """Appends log records to `logs.jsonl` in FOLDER."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self._lines = JsonLines(folder / "logs.jsonl", size=size)

    def export(self, batch: Any) -> LogRecordExportResult:
        self._lines.append(encode_logs(batch))
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is held open."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class JsonMetricExporter(MetricExporter):
    """Appends metrics to `metrics.jsonl` in FOLDER."""

    def __init__(self, folder: Path, *, size: int) -> None:
        super().__init__()
        self._lines = JsonLines(folder / "metrics.jsonl", size=size)

    def export(
        self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self._lines.append(encode_metrics(metrics_data))
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is held open."""

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


EXPORTERS: dict[str, Callable[..., Any]] = {
    "traces": JsonSpanExporter,
    "metrics": JsonMetricExporter,
    "logs": JsonLogExporter,
}
