"""`status`: say once what a run is doing, and it shows everywhere."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from contextvars import Context
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status import sanitize, signals, templates
from prefect_otel_status.buffer import EventBuffer
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import ERROR_LEVELS, Status
from prefect_otel_status.runs import RunHandle, Scope, prefect_run_now, stage_of
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.sinks.span import write_event, write_late

UNKNOWN_LEVEL = "unknown_level"
BAD_PROGRESS = "bad_progress"

_SILENT = Status(template="", message="")
_ALIASES = {"warn": "warning", "fatal": "critical", "err": "error"}
_LITERAL = frozenset({"log", "state"})
"""Where a text comes from that was never meant as a template: its braces are its own."""

_MESSAGE_LIMIT = 4 * sanitize.TEXT_LIMIT


def status(
    template: str,
    /,
    *,
    event: str | None = None,
    stage: str | None = None,
    level: str = "info",
    progress: float | None = None,
    **attributes: Any,
) -> Status:
    """Say what the current run is doing: on its trace, in the counters, the log and Prefect's UI.

    TEMPLATE is filled with `str.format` from ATTRIBUTES, which keep their types
    as attributes: `status("Scored {model}: {accuracy:.1%}", model="bert",
    accuracy=0.93)`. The template is the name by which the message is counted
    and found; `event` is a name that outlives a rewording. `stage` defaults to
    the surrounding `stage(...)`. `level` is `debug`, `info`, `warning`, `error`
    or `critical`. `progress` goes from 0 to 1.

    Returns the status as it was said. Never raises, never waits; a field that
    is missing or fails stays as it is written. Outside a run it is counted and
    logged only.
    """
    runtime = runtime_module.get()
    try:
        if not runtime.enabled:
            return _SILENT
        return say(
            runtime,
            template,
            attributes,
            event=event,
            stage=stage,
            level=level,
            progress=progress,
        )
    except Exception as error:
        runtime.tally.failed("status", error)
        return _SILENT


def say(
    runtime: Runtime,
    template: Any,
    attributes: Mapping[str, Any],
    *,
    event: str | None = None,
    stage: str | None = None,
    level: str = "info",
    progress: float | None = None,
    origin: str = "status",
    scope: Scope | None = None,
    timestamp: int = 0,
    flags: tuple[str, ...] = (),
    message: str | None = None,
) -> Status:
    """Build the status, keep it for its span, and hand it to the sinks. On the flow's thread.

    MESSAGE, where given, is the text that was already filled in elsewhere.
    """
    scope = scope or runtime.registry.scope()
    said = _build(
        runtime,
        scope,
        template,
        attributes,
        event,
        stage,
        level,
        progress,
        origin,
        timestamp,
        flags,
    )
    if message is not None:
        said = msgspec.structs.replace(said, message=message[:_MESSAGE_LIMIT])
    deliver(runtime, scope, said)
    return said


def deliver(runtime: Runtime, scope: Scope | None, said: Status) -> None:
    """Keep SAID for its span and hand it to the sinks."""
    handle = scope.handle if scope is not None else None
    envelope = runtime.put(said, _context_of(handle))
    if scope is None or not runtime.settings.span_events:
        return
    if handle is not None:
        handle.latest = envelope
    buffer = _open_buffer(scope)
    if buffer is not None:
        buffer.append(envelope, is_error=said.level in ERROR_LEVELS)
    else:
        _say_late(runtime, scope, envelope)


def _open_buffer(scope: Scope) -> EventBuffer | None:
    """The buffer of a span that is still to end: the stage's, else the run's."""
    handle = scope.handle
    if handle is not None and handle.detached:
        return None
    if scope.stage is not None and not scope.buffer.closed:
        return scope.buffer
    if handle is not None and handle.takes_events:
        return handle.buffer
    return None


def _build(
    runtime: Runtime,
    scope: Scope | None,
    template: Any,
    attributes: Mapping[str, Any],
    event: str | None,
    stage: str | None,
    level: str,
    progress: float | None,
    origin: str,
    timestamp: int,
    flags: tuple[str, ...],
) -> Status:
    text = _as_template(template)
    if origin in _LITERAL:
        filled = templates.Filled(templates.fingerprint(text), text, ())
    else:
        filled = templates.fill(text, attributes)
    flags += filled.flags
    if type(level) is not str or level not in runtime.levels:
        level, flags = known_level(runtime, level, flags)
    if progress is not None:
        progress, flags = _known_progress(progress, flags)
    handle = scope.handle if scope is not None else None
    attempt, sequence = handle.next_sequence() if handle is not None else (0, 0)
    span = scope.span_context if scope is not None else _span_outside()
    return Status(
        filled.template,
        filled.message,
        _name(event),
        _name(stage) if stage is not None else stage_of(scope),
        level,
        progress,
        {name: sanitize.freeze(value) for name, value in attributes.items()},
        dict(runtime.bound(handle)),
        flags,
        handle.run if handle is not None else None,
        attempt,
        sequence,
        timestamp or runtime.clock(),
        span.trace_id,
        span.span_id,
        span.trace_flags.sampled,
        origin,
    )


def _name(value: Any) -> str | None:
    return value if value is None or type(value) is str else sanitize.as_text(value)


def _as_template(template: Any) -> str:
    text = template if type(template) is str else sanitize.as_text(template)
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT]


def known_level(
    runtime: Runtime, level: Any, flags: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """LEVEL as one of the five, and FLAGS with what was odd about it."""
    name = sanitize.as_text(level).lower()
    name = _ALIASES.get(name, name)
    if name in runtime.levels:
        return name, flags
    return "info", (*flags, UNKNOWN_LEVEL)


def _known_progress(progress: Any, flags: tuple[str, ...]) -> tuple[float | None, tuple[str, ...]]:
    try:
        value = float(progress)
    except Exception:
        return None, (*flags, BAD_PROGRESS)
    if 0.0 <= value <= 1.0:
        return value, flags
    bounded = None if value != value else min(1.0, max(0.0, value))
    return bounded, (*flags, BAD_PROGRESS)


def _context_of(handle: RunHandle | None) -> Context | None:
    if handle is None:
        return None
    if handle.context is not None:
        return handle.context
    # An ended run lets go of its context; what is said late still is in it,
    # unless it is said from a bare thread.
    return contextvars.copy_context() if prefect_run_now()[0] is not None else None


def _span_outside() -> SpanContext:
    span = trace.get_current_span().get_span_context()
    return span if span.is_valid else INVALID_SPAN_CONTEXT


def _say_late(runtime: Runtime, scope: Scope, envelope: Envelope) -> None:
    parent = scope.span_context
    if not parent.is_valid:
        return
    current = trace.get_current_span()
    detached = scope.handle is not None and scope.handle.detached
    if (
        not detached
        and current.is_recording()
        and current.get_span_context().span_id == parent.span_id
    ):
        # The span of a run that started before we were there: not mended, but open.
        runtime.guard("span_event", lambda: write_event(current, envelope))
        return

    def start_span(timestamp: int) -> trace.Span:
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        return runtime.tracer().start_span(
            signals.LATE_SPAN.name, context=context, start_time=timestamp
        )

    runtime.guard("span_late", lambda: write_late(start_span, envelope))
