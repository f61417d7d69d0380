from __future__ import annotations

from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from prefect_otel_status import signals
from prefect_otel_status.bridge.otlp import (
    LogEvent,
    Resource,
    encode_log,
    encode_span,
    request,
    resource_of,
)
from prefect_otel_status.bridge.records import SpanEvent, SpanLink, SpanRecord
from prefect_otel_status.version import VERSION
from tests.support.receiver import attributes_of

TRACE, SPAN, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 0x00F067AA0BA902B7
RESOURCE = Resource((("service.name", "bridge"), ("replicas", 3)))
VALUES: dict[str, Any] = {
    "text": "Scored bert – 93 %",
    "empty": "",
    "yes": True,
    "count": 2**63 - 1,
    "least": -(2**63),
    "ratio": 0.25,
    "infinite": float("inf"),
    "names": ("a", "b"),
    "numbers": [1, 2, 3],
    "none of them": (),
}
FULL = SpanRecord(
    name="RUN deploy – ü",
    kind="SERVER",
    trace_id=TRACE,
    span_id=SPAN,
    start=1_700_000_000_000_000_001,
    end=1_700_000_009_000_000_002,
    parent_span_id=PARENT,
    attributes=VALUES,
    events=(SpanEvent("Scored {model}", 1_700_000_001_000_000_003, VALUES), SpanEvent("bare", 7)),
    links=(SpanLink(TRACE + 1, SPAN + 1, {"why": "retry"}), SpanLink(TRACE, PARENT)),
    error="It failed: \u00fc",
)
SPANS = {
    "every field": FULL,
    "only what must be": SpanRecord("task", "INTERNAL", TRACE, SPAN, 1, 2),
    "ok": SpanRecord("task", "INTERNAL", TRACE, SPAN, 1, 2, ok=True),
    "an error without words": SpanRecord("task", "INTERNAL", TRACE, SPAN, 1, 2, error=""),
}


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))


def _by_the_sdk(span: SpanRecord, resource: Resource) -> bytes:
    status = Status(StatusCode.OK if span.ok else StatusCode.UNSET)
    if span.error is not None:
        status = Status(StatusCode.ERROR, span.error)
    message = encode_spans(
        [
            ReadableSpan(
                name=span.name,
                context=_context(span.trace_id, span.span_id),
                parent=_context(span.trace_id, span.parent_span_id)
                if span.parent_span_id
                else None,
                resource=SdkResource(dict(resource.attributes)),
                attributes=span.attributes,
                events=[Event(e.name, e.attributes, e.at) for e in span.events],
                links=[Link(_context(k.trace_id, k.span_id), k.attributes) for k in span.links],
                kind=SpanKind[span.kind],
                status=status,
                start_time=span.start,
                end_time=span.end,
                instrumentation_scope=InstrumentationScope(signals.SCOPE, VERSION),
            )
        ]
    )
    # The SDK leaves out the W3C trace flags, which OTLP wants in the low bits.
    encoded = message.resource_spans[0].scope_spans[0].spans[0]
    encoded.flags |= 1
    for link in encoded.links:
        link.flags |= 1
    return message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", SPANS)
def test_a_span_is_what_the_sdk_would_send(name: str) -> None:
    body = encode_span(SPANS[name], RESOURCE)
    assert request([body]) == _by_the_sdk(SPANS[name], RESOURCE)


def test_a_span_without_a_resource_is_what_the_sdk_would_send() -> None:
    assert request([encode_span(FULL, Resource())]) == _by_the_sdk(FULL, Resource())


def test_a_log_event_is_what_the_sdk_would_send() -> None:
    event = LogEvent(
        event_name="Scored {model}",
        body="Scored bert",
        at=1_700_000_000_000_000_001,
        observed=1_700_000_000_500_000_001,
        severity_number=17,
        severity_text="ERROR",
        attributes=VALUES,
        trace_id=TRACE,
        span_id=SPAN,
    )
    record = LogRecord(
        timestamp=event.at,
        observed_timestamp=event.observed,
        context=None,
        severity_text=event.severity_text,
        severity_number=SeverityNumber.ERROR,
        body=event.body,
        attributes=event.attributes,
        event_name=event.event_name,
    )
    record.trace_id, record.span_id, record.trace_flags = TRACE, SPAN, TraceFlags(1)
    readable = ReadableLogRecord(
        log_record=record,
        resource=SdkResource(dict(RESOURCE.attributes)),
        instrumentation_scope=InstrumentationScope(signals.SCOPE, VERSION),
    )
    expected = encode_logs([readable]).SerializeToString(deterministic=True)
    assert request([encode_log(event, RESOURCE)]) == expected


def test_a_log_event_of_no_span_has_no_ids() -> None:
    from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

    body = encode_log(LogEvent("said", "words", 1, 2), RESOURCE)
    record = ResourceLogs.FromString(body).scope_logs[0].log_records[0]
    assert (record.trace_id, record.span_id, record.flags) == (b"", b"", 0)


def test_a_request_holds_each_items_bytes_as_they_are() -> None:
    long = SpanRecord("x" * 20_000, "INTERNAL", TRACE, SPAN, 1, 2)
    bodies = [encode_span(span, RESOURCE) for span in (*SPANS.values(), long)]
    found = ExportTraceServiceRequest.FromString(request(bodies))
    again = [group.SerializeToString(deterministic=True) for group in found.resource_spans]
    assert again == bodies
    assert all(body in request(bodies) for body in bodies)
    assert request([]) == b""


def test_equal_spans_have_equal_bytes() -> None:
    assert encode_span(FULL, RESOURCE) == encode_span(FULL, RESOURCE)


def test_values_that_otlp_does_not_know_become_text() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    values = {"big": 2**70, "dict": {"a": 1}, "mixed": (1, 2**70, "\ud800"), "x": Hostile()}
    span = SpanRecord("\ud800", "INTERNAL", TRACE, SPAN, -1, 2**70, attributes=values)
    found = ExportTraceServiceRequest.FromString(request([encode_span(span, RESOURCE)]))
    sent = found.resource_spans[0].scope_spans[0].spans[0]
    assert attributes_of(sent.attributes) == {
        "big": str(2**70),
        "dict": "{'a': 1}",
        "mixed": [1, str(2**70), "?"],
        "x": "<unprintable> Hostile",
    }
    assert (sent.name, sent.start_time_unix_nano) == ("?", 0)
    assert sent.end_time_unix_nano == 2**64 - 1


def test_a_resource_with_a_list_works() -> None:
    resource = Resource((("service.name", "bridge"), ("zones", ["a", "b"])))
    assert request([encode_span(FULL, resource)]) == _by_the_sdk(FULL, resource)


@pytest.mark.parametrize(
    ("environ", "environment", "expected"),
    [
        ({}, None, {"service.name": "prefect-otel-bridge"}),
        ({"OTEL_SERVICE_NAME": " mine "}, None, {"service.name": "mine"}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a"}, None, {"service.name": "a"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"},
            None,
            {"service.name": "b"},
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "team=R%26D%2C+x, bad, =none,empty=,host = h%20i"},
            None,
            {"service.name": "prefect-otel-bridge", "team": "R&D,+x", "host": "h i"},
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=dev,x=%FF"},
            "prod",
            {
                "service.name": "prefect-otel-bridge",
                "deployment.environment.name": "prod",
                "x": "\ufffd",
            },
        ),
    ],
)
def test_the_resource_is_what_the_environment_names(
    environ: dict[str, str], environment: str | None, expected: dict[str, str]
) -> None:
    assert dict(resource_of(environ, settings_environment=environment).attributes) == expected
