"""Spans and log events as OTLP bytes: frozen once, each on its own, and only strung together later.

An item is encoded with its resource and scope when it is made. A request is its
items' bytes one after the other, so that a resend is the same to the bit,
whatever the settings are by then and whoever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from prefect_otel_status import sanitize, signals
from prefect_otel_status.bridge.records import SpanEvent, SpanLink, SpanRecord
from prefect_otel_status.version import VERSION

TRACES, LOGS = "traces", "logs"
"""The signals that the bridge exports."""

SERVICE = "prefect-otel-bridge"
"""The service that the bridge's telemetry is of, unless the environment names another."""

_SERVICE_NAME = "service.name"
_INT_LIMIT = 2**63
_FIRST, _SECOND = b"\x0a", b"\x12"  # the tags of fields 1 and 2, length-delimited

# Bits 0 to 7 are the W3C trace flags: what is made was sampled. Bit 8 says that
# bit 9 means something; it is unset as the SDK leaves it for a local parent.
_SAMPLED = 0x01
_KNOWN_LOCAL = 0x100

_STATUS_UNSET, _STATUS_OK, _STATUS_ERROR = 0, 1, 2


class Resource(msgspec.Struct, frozen=True):
    """Whose telemetry it is, as pairs of name and value."""

    attributes: tuple[tuple[str, Any], ...] = ()


class LogEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A log event, as it will be sent. Ids are 0 where it belongs to no span."""

    event_name: str
    body: str
    at: int
    observed: int
    severity_number: int = 9
    severity_text: str = "INFO"
    attributes: dict[str, Any] = {}
    trace_id: int = 0
    span_id: int = 0


def resource_of(environ: Mapping[str, str], *, settings_environment: str | None) -> Resource:
    """The resource that ENVIRON names, with the environment of the settings over it.

    Pairs of `OTEL_RESOURCE_ATTRIBUTES` that are none are passed over.
    """
    found = {_SERVICE_NAME: SERVICE}
    found.update(_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    if service := environ.get("OTEL_SERVICE_NAME", "").strip():
        found[_SERVICE_NAME] = sanitize.line(service)
    if settings_environment:
        found[signals.ENVIRONMENT.name] = sanitize.line(settings_environment)
    return Resource(tuple(found.items()))


def _pairs(raw: str) -> Iterable[tuple[str, str]]:
    for pair in raw.split(","):
        name, _, value = pair.partition("=")
        if (name := unquote(name).strip()) and (value := unquote(value).strip()):
            yield sanitize.line(name), sanitize.text(value)


def encode_span(span: SpanRecord, resource: Resource) -> bytes:
    """SPAN as one `ResourceSpans`, with RESOURCE and our scope. The same bytes each time."""
    return _framed(resource, _span(span).SerializeToString(deterministic=True))


def encode_log(event: LogEvent, resource: Resource) -> bytes:
    """EVENT as one `ResourceLogs`, with RESOURCE and our scope. The same bytes each time."""
    return _framed(resource, _log(event).SerializeToString(deterministic=True))


def request(bodies: Iterable[bytes]) -> bytes:
    """An export request of BODIES, which stay as they are."""
    return b"".join(_field(_FIRST, body) for body in bodies)


def _framed(resource: Resource, item: bytes) -> bytes:
    # `ResourceSpans` and `ResourceLogs` number their fields alike, and so do
    # what they hold: the resource or scope is 1, and what is of it is 2.
    scoped = _scope() + _field(_SECOND, item)
    return _resource(resource) + _field(_SECOND, scoped)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


@lru_cache(maxsize=1)
def _scope() -> bytes:
    scope = InstrumentationScope(name=signals.SCOPE, version=VERSION)
    return _field(_FIRST, scope.SerializeToString(deterministic=True))


# There is one resource, and a span is encoded in less time than it.
def _resource(resource: Resource) -> bytes:
    try:
        return _known_resource(resource)
    except TypeError:  # a value that cannot be hashed
        return _new_resource(resource)


def _new_resource(resource: Resource) -> bytes:
    message = resource_pb2.Resource()
    _fill(message.attributes, dict(resource.attributes))
    return _field(_FIRST, message.SerializeToString(deterministic=True))


_known_resource = lru_cache(maxsize=8)(_new_resource)


def _span(span: SpanRecord) -> Span:
    message = Span(
        trace_id=_trace_id(span.trace_id),
        span_id=_span_id(span.span_id),
        parent_span_id=_span_id(span.parent_span_id) if span.parent_span_id else b"",
        name=_text(span.name),
        kind=Span.SpanKind.Value(f"SPAN_KIND_{span.kind}"),
        start_time_unix_nano=_time(span.start),
        end_time_unix_nano=_time(span.end),
        status=_status(span),
        flags=_KNOWN_LOCAL | _SAMPLED,
    )
    _fill(message.attributes, span.attributes)
    for event in span.events:
        _add_event(message, event)
    for link in span.links:
        _add_link(message, link)
    return message


def _add_event(message: Span, event: SpanEvent) -> None:
    added = message.events.add()
    added.name = _text(event.name)
    added.time_unix_nano = _time(event.at)
    _fill(added.attributes, event.attributes)


def _add_link(message: Span, link: SpanLink) -> None:
    added = message.links.add(
        trace_id=_trace_id(link.trace_id),
        span_id=_span_id(link.span_id),
        flags=_KNOWN_LOCAL | _SAMPLED,
    )
    _fill(added.attributes, link.attributes)


def _status(span: SpanRecord) -> Status:
    if span.error is not None:
        return Status(code=_STATUS_ERROR, message=_text(span.error))  # type: ignore[arg-type]  # an enum is an int here
    return Status(code=_STATUS_OK if span.ok else _STATUS_UNSET)  # type: ignore[arg-type]  # an enum is an int here


def _log(event: LogEvent) -> LogRecord:
    message = LogRecord(
        time_unix_nano=_time(event.at),
        observed_time_unix_nano=_time(event.observed),
        severity_number=event.severity_number,  # type: ignore[arg-type]  # an enum is an int here
        severity_text=_text(event.severity_text),
        trace_id=_trace_id(event.trace_id) if event.trace_id else b"",
        span_id=_span_id(event.span_id) if event.span_id else b"",
        flags=_SAMPLED if event.trace_id else 0,
        event_name=_text(event.event_name),
    )
    _set(message.body, event.body)
    _fill(message.attributes, event.attributes)
    return message


# Filled in place: to build each pair and hand it over copies it twice, and
# attributes are most of what is encoded.
def _fill(pairs: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        added = pairs.add()
        added.key = _text(name)
        _set(added.value, value)


def _set(holder: AnyValue, value: Any) -> None:
    if isinstance(value, str):
        holder.string_value = _text(value)
    elif isinstance(value, bool):
        holder.bool_value = value
    elif isinstance(value, int) and -_INT_LIMIT <= value < _INT_LIMIT:
        holder.int_value = value
    elif isinstance(value, float):
        holder.double_value = value
    elif isinstance(value, (tuple, list)):
        _set_items(holder, value)
    else:
        holder.string_value = _text(sanitize.as_text(value))


def _set_items(holder: AnyValue, values: Sequence[Any]) -> None:
    holder.array_value.SetInParent()  # an empty list is one all the same
    for value in values:
        _set(holder.array_value.values.add(), value)


def _text(raw: str) -> str:
    # A lone surrogate would raise here, and nothing would be stored of the run.
    return raw if raw.isascii() else raw.encode("utf-8", "replace").decode()


def _time(nanoseconds: int) -> int:
    return min(max(nanoseconds, 0), 2**64 - 1)


def _trace_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _span_id(number: int) -> bytes:
    return number.to_bytes(8, "big")
