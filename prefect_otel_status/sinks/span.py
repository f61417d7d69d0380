"""Statuses as events of the span in which they were said."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.trace import Span

from prefect_otel_status import signals
from prefect_otel_status.buffer import EventBuffer
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import Status
from prefect_otel_status.sinks import attributes


def write_events(span: Span, buffer: EventBuffer) -> int:
    """Add the statuses in BUFFER to SPAN, just before it ends.

    Returns the time of the latest, in nanoseconds since 1970, or 0.
    """
    buffer.close()
    latest = 0
    for envelope in buffer:
        latest = max(latest, write_event(span, envelope))
    if buffer.dropped:
        span.set_attribute(signals.EVENTS_DROPPED.name, buffer.dropped)
    return latest


def write_event(span: Span, envelope: Envelope) -> int:
    """Add one status to SPAN now; its time, in nanoseconds since 1970."""
    status: Status = envelope.clean()
    span.add_event(status.name, attributes.of_status(status), status.timestamp)
    return status.timestamp


def write_latest(span: Span, envelope: Envelope | None) -> None:
    """Show the latest status, stage and progress as attributes of SPAN."""
    if envelope is None:
        return
    status: Status = envelope.clean()
    span.set_attribute(signals.MESSAGE.name, status.message)
    if status.stage:
        span.set_attribute(signals.STAGE.name, status.stage)
    if status.progress is not None:
        span.set_attribute(signals.PROGRESS.name, status.progress)


def write_late(start_span: Callable[[int], Span], envelope: Envelope) -> None:
    """Hold a status that came after its run's span had ended, in a span below that one."""
    status: Status = envelope.clean()
    span = start_span(status.timestamp)
    span.add_event(status.name, attributes.of_status(status), status.timestamp)
    span.end(status.timestamp)
