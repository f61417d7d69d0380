"""OTLP JSON lines in a local folder."""

from __future__ import annotations

import json
import math
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from prefect_otel_status.exporters.json_lines import (
    EXPORTERS,
    JsonLines,
    JsonLogExporter,
    JsonMetricExporter,
    JsonSpanExporter,
    to_json,
)
from tests.support.records import NOW, SECOND, SPAN_ID, TRACE_ID

RESOURCE = Resource({"service.name": "flows"})
SIZE = 1_000_000
LINKED = SpanContext(0x1, 0x2, True, TraceFlags(1))


def spans(*names: str, **attributes: Any) -> list[ReadableSpan]:
    """Spans called NAMES, each the child of the one before."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with _nested(tracer, names, attributes):
        pass
    return list(exporter.get_finished_spans())


@contextmanager
def _nested(tracer: Any, names: tuple[str, ...], attributes: dict[str, Any]) -> Iterator[None]:
    if not names:
        yield
        return
    links = [Link(LINKED)]
    with (
        tracer.start_as_current_span(names[0], attributes=attributes, links=links),
        _nested(tracer, names[1:], attributes),
    ):
        yield


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- what is written -----------------------------------------------------------


def test_a_span_is_written_as_an_otlp_request_with_ids_in_hexadecimal(tmp_path: Path) -> None:
    child, parent = spans("RUN train", "score", n=3)
    exporter = JsonSpanExporter(tmp_path, size=SIZE)
    assert exporter.export([child, parent]) is SpanExportResult.SUCCESS
    (request,) = lines_of(tmp_path / "traces.jsonl")
    assert request == {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "flows"}}]
                },
                "scopeSpans": [
                    {
                        "scope": {"name": "test"},
                        "spans": [_expected(child), _expected(parent)],
                    }
                ],
            }
        ]
    }


def _expected(span: ReadableSpan) -> dict[str, Any]:
    assert span.context is not None
    expected: dict[str, Any] = {
        "traceId": f"{span.context.trace_id:032x}",
        "spanId": f"{span.context.span_id:016x}",
        "flags": 256,
        "name": span.name,
        "kind": SpanKind.INTERNAL.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": [{"key": "n", "value": {"intValue": "3"}}],
        "links": [{"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "2", "flags": 768}],
        "status": {},
    }
    if span.parent is not None:
        expected["parentSpanId"] = f"{span.parent.span_id:016x}"
    return expected


def test_a_log_record_is_written_as_an_otlp_request(tmp_path: Path) -> None:
    exporter = JsonLogExporter(tmp_path, size=SIZE)
    assert exporter.export(log_records("Scored bert")) is LogRecordExportResult.SUCCESS
    assert exporter.force_flush() is True
    exporter.shutdown()
    (request,) = lines_of(tmp_path / "logs.jsonl")
    (record,) = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record == {
        "timeUnixNano": str(NOW),
        "observedTimeUnixNano": str(NOW + SECOND),
        "severityNumber": 9,
        "severityText": "INFO",
        "body": {"stringValue": "Scored bert"},
        "attributes": [{"key": "traceId", "value": {"stringValue": "no id of ours"}}],
        "flags": 1,
        "traceId": f"{TRACE_ID:032x}",
        "spanId": f"{SPAN_ID:016x}",
        "eventName": "scored",
    }


def log_records(body: str) -> Any:
    """One log record, as the SDK hands it to an exporter."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    record = LogRecord(
        timestamp=NOW,
        observed_timestamp=NOW + SECOND,
        severity_number=SeverityNumber.INFO,
        severity_text="INFO",
        body=body,
        attributes={"traceId": "no id of ours"},
        event_name="scored",
    )
    record.trace_id, record.span_id, record.trace_flags = TRACE_ID, SPAN_ID, TraceFlags(1)
    provider.get_logger("test").emit(record)
    return exporter.get_finished_logs()


def test_a_metric_is_written_as_an_otlp_request(tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    provider.get_meter("test").create_gauge("score", unit="1", description="S.").set(
        0.5, {"gate": "g"}
    )
    exporter = JsonMetricExporter(tmp_path, size=SIZE)
    data = reader.get_metrics_data()
    assert exporter.export(data) is MetricExportResult.SUCCESS
    assert exporter.force_flush() is True
    exporter.shutdown()
    provider.shutdown()
    (request,) = lines_of(tmp_path / "metrics.jsonl")
    (metric,) = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    (point,) = metric["gauge"]["dataPoints"]
    assert point.pop("timeUnixNano").isdigit()
    assert metric == {
        "name": "score",
        "description": "S.",
        "unit": "1",
        "gauge": {
            "dataPoints": [
                {
                    "attributes": [{"key": "gate", "value": {"stringValue": "g"}}],
                    "asDouble": 0.5,
                }
            ]
        },
    }


# JSON has one NaN only: neither its sign nor its other bits survive.
FLOATS = st.one_of(st.floats(allow_nan=False), st.just(math.nan))


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.text(max_size=30),
    values=st.dictionaries(
        st.text(min_size=1, max_size=10),
        st.one_of(st.text(), st.booleans(), FLOATS, st.integers(-(2**63), 2**63 - 1)),
        max_size=5,
    ),
)
def test_what_was_written_parses_back_to_what_was_sent(
    name: str, values: dict[str, Any], tmp_path: Path
) -> None:
    lines, message = JsonLines(tmp_path / "t.jsonl", size=SIZE), encode_spans(spans(name, **{}))
    message.resource_spans[0].scope_spans[0].spans[0].name = name
    for key, value in values.items():
        _add(message, key, value)
    lines.append(message)
    found = json.loads((tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[-2])
    assert _parsed(found).SerializeToString(deterministic=True) == message.SerializeToString(
        deterministic=True
    )


def _add(message: Any, key: str, value: Any) -> None:
    attribute = message.resource_spans[0].scope_spans[0].spans[0].attributes.add()
    attribute.key = key
    kind = {str: "string_value", bool: "bool_value", float: "double_value", int: "int_value"}
    setattr(attribute.value, kind[type(value)], value)


def _parsed(request: Any) -> Any:
    """REQUEST as the protobuf message it was made from."""
    for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for holder in (span, *span.get("links", [])):
            for key in {"traceId", "spanId", "parentSpanId"} & set(holder):
                holder[key] = _base64(holder[key])
    return ParseDict(request, ExportTraceServiceRequest())


def _base64(digits: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()


@pytest.mark.parametrize("text", ["a\nb", "\u2028", '"} 1', "\x1b[31m", "🙂", "\x00"])
def test_whatever_is_said_takes_one_line(text: str, tmp_path: Path) -> None:
    exporter = JsonSpanExporter(tmp_path, size=SIZE)
    exporter.export(spans(text))
    exporter.export(spans("next"))
    raw = (tmp_path / "traces.jsonl").read_bytes()
    assert raw.count(b"\n") == 2
    names = [
        json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"]
        for line in raw.splitlines()
    ]
    assert names == [text, "next"]


def test_every_signal_has_its_exporter_and_its_file(tmp_path: Path) -> None:
    paths = {name: make(tmp_path, size=SIZE)._lines._path.name for name, make in EXPORTERS.items()}
    assert paths == {name: f"{name}.jsonl" for name in ("traces", "metrics", "logs")}


def test_an_empty_message_is_an_empty_object() -> None:
    assert to_json(ExportTraceServiceRequest()) == {}


# --- the file ------------------------------------------------------------------


def test_folder_and_file_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "traces.jsonl"
    JsonLines(path, size=SIZE).append(ExportTraceServiceRequest())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_file_is_kept_as_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = JsonLines(path, size=5)
    for _ in range(4):
        lines.append(ExportTraceServiceRequest())
    before = tmp_path / "t.jsonl.1"
    assert (before.read_text(), path.read_text()) == ("{}\n{}\n", "{}\n{}\n")
    lines.append(ExportTraceServiceRequest())
    assert (before.read_text(), path.read_text()) == ("{}\n{}\n", "{}\n")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["t.jsonl", "t.jsonl.1"]


def test_writers_at_once_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    message = encode_spans(spans("x" * 5000))
    threads = [
        threading.Thread(target=_append_often, args=(tmp_path / "t.jsonl", message))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert lines_of(tmp_path / "t.jsonl") == [to_json(message)] * 160


def _append_often(path: Path, message: Any) -> None:
    lines = JsonLines(path, size=100_000_000)
    for _ in range(20):
        lines.append(message)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="needs O_NOFOLLOW")
def test_a_linked_file_is_not_written_to(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("kept")
    (tmp_path / "traces.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        JsonSpanExporter(tmp_path, size=SIZE).export(spans("a"))
    assert target.read_text() == "kept"


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        JsonSpanExporter(tmp_path / "file" / "folder", size=SIZE).export(spans("a"))


def test_a_write_that_is_cut_short_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:7]))
    JsonSpanExporter(tmp_path, size=SIZE).export(spans("a"))
    monkeypatch.undo()
    assert len(lines_of(tmp_path / "traces.jsonl")) == 1
