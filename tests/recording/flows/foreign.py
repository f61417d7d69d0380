"""Somebody else's OpenTelemetry: a global provider, as an SDK's own documentation sets it up."""

from __future__ import annotations

import json
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def set_up(file: Path) -> None:
    """Every span that ends is a line of FILE."""
    output = file.open("a", encoding="utf-8")
    exporter = ConsoleSpanExporter(out=output, formatter=_line)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _line(span: ReadableSpan) -> str:
    assert span.context is not None
    return (
        json.dumps(
            {
                "name": span.name,
                "trace_id": f"{span.context.trace_id:032x}",
                "span_id": f"{span.context.span_id:016x}",
                "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else "",
            }
        )
        + "\n"
    )
