"""The bridge's spans as records for the eye. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from prefect_otel_status.bridge.records import SpanEvent, SpanRecord
from prefect_otel_status.ids import hex_span_id, hex_trace_id
from prefect_otel_status.trees import EventRecord
from prefect_otel_status.trees import SpanRecord as Shown


def shown(spans: Iterable[SpanRecord]) -> list[Shown]:
    """SPANS as they would be read back after an export."""
    return [_span(span) for span in spans]


def _span(span: SpanRecord) -> Shown:
    return Shown(
        trace_id=hex_trace_id(span.trace_id),
        span_id=hex_span_id(span.span_id),
        parent_id=hex_span_id(span.parent_span_id) if span.parent_span_id else None,
        name=span.name,
        start=span.start,
        end=span.end,
        status="ok" if span.ok else "unset" if span.error is None else "error",
        attributes=span.attributes,
        events=tuple(map(_event, span.events)),
        description=span.error or "",
    )


def _event(event: SpanEvent) -> EventRecord:
    return EventRecord(event.name, event.at, event.attributes)
