"""Statuses, transitions and the flow's own log lines as OpenTelemetry log records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from prefect_otel_status import signals
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import (
    ERROR_RESULTS,
    SEVERITY,
    GateResult,
    LogLine,
    Status,
    Transition,
)
from prefect_otel_status.sinks import attributes


class LogSink:
    """Emits a log event for each status and transition, a log record for each log line.

    `logger` is asked for at each batch, so that a provider that is set late
    is used.
    """

    name = "log"

    def __init__(self, logger: Callable[[], Logger], *, events: bool = True) -> None:
        self._logger = logger
        self._events = events

    def accept(self, batch: Sequence[Envelope]) -> None:
        """Emit BATCH as log records, correlated with their spans."""
        logger = self._logger()
        for envelope in batch:
            if (record := to_log_record(envelope.clean(), events=self._events)) is not None:
                logger.emit(record)

    def flush(self) -> None:
        """Nothing is held back."""

    def after_fork(self) -> None:
        """Nothing is held back."""

    def tick(self, now: int) -> int | None:
        """Nothing is ever due."""
        return None


def to_log_record(record: Any, *, events: bool = True) -> LogRecord | None:
    """RECORD as an OpenTelemetry log record; None where it has none."""
    if isinstance(record, LogLine):
        return _log_line(record)
    if not events:
        return None
    if isinstance(record, Status):
        return _event(record, record.name, SEVERITY[record.level], record.level, record.message)
    if isinstance(record, Transition):
        return _transition(record)
    if isinstance(record, GateResult) and any(name.startswith("gen_ai.") for name in record.bound):
        words = f"{record.gate}: {record.decision} at {record.score}"
        return _event(record, signals.EVALUATION_EVENT.name, SEVERITY["info"], "info", words)
    return None


def _log_line(line: LogLine) -> LogRecord:
    return LogRecord(
        timestamp=line.timestamp,
        context=_context(line),
        severity_number=SeverityNumber(line.severity),
        severity_text=line.severity_text,
        body=line.message,
        attributes=attributes.of_record(line),
    )


def _transition(transition: Transition) -> LogRecord:
    level = "error" if transition.result in ERROR_RESULTS else "info"
    words = transition.message or transition.state_name
    return _event(transition, signals.TRANSITION_EVENT.name, SEVERITY[level], level, words)


def _event(
    record: Status | Transition | GateResult, name: str, severity: int, level: str, body: str
) -> LogRecord:
    return LogRecord(
        timestamp=record.timestamp,
        context=_context(record),
        severity_number=SeverityNumber(severity),
        severity_text=level.upper(),
        body=body,
        attributes=attributes.of_record(record),
        event_name=name,
    )


def _context(record: Status | Transition | GateResult | LogLine) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if record.sampled else TraceFlags.DEFAULT)
    span_context = SpanContext(record.trace_id, record.span_id, False, flags)
    return set_span_in_context(NonRecordingSpan(span_context), Context())
