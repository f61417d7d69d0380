"""The committed configuration of the collector, run by a real collector."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.grpc_receiver import GrpcReceived, grpc_receiver
from tests.support.otelcol import CONFIGURATION, Collector, otelcol
from tests.support.receiver import attributes_of, otlp_receiver
from tests.support.server import free_port, wait_for

# The first of them builds the collector, which takes minutes.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

SECRETS = {
    "password": "hunter2",
    "db.password": "hunter2",
    "x-api-key": "0123456789",
    "access_token": "0123456789",
    "header": "Bearer abcdefghijklmnopqrstuvwxyz",
    "key": "AKIAIOSFODNN7EXAMPLE",
    "address": "postgresql://prefect:hunter2@db/prefect",
}
HARMLESS: dict[str, str | int] = {
    "gen_ai.usage.input_tokens": 512,
    "model.name": "bert",
    "prefect_status.message": "Scored bert: 93.0%",
    "cicd.pipeline.run.url.full": "http://127.0.0.1:4200/runs/flow-run/1",
}


def test_the_collector_itself_finds_nothing_wrong() -> None:
    command = [str(otelcol()), "validate", "--config", str(CONFIGURATION)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_spans_arrive_without_their_secrets(tmp_path: Path) -> None:
    with grpc_receiver() as jaeger:
        collector = Collector(tmp_path, jaeger=jaeger.endpoint.removeprefix("http://"))
        with collector.running():
            _send(collector, _span(1, {**SECRETS, **HARMLESS}))
            (span,) = _wait_for(jaeger, 1)
            found = attributes_of(span.attributes)
            said = attributes_of(span.events[0].attributes)
            assert "otelcol_receiver_accepted_spans" in collector.own_metrics()
    for told in (found, said):
        assert {name: told[name] for name in HARMLESS} == HARMLESS
        assert {name for name in SECRETS if "****" not in str(told[name])} == set()
        assert not any("hunter2" in str(value) for value in told.values())


def test_what_is_confirmed_survives_an_outage_of_jaeger_and_a_kill(tmp_path: Path) -> None:
    port = free_port()
    collector = Collector(tmp_path, jaeger=f"127.0.0.1:{port}")
    with collector.running() as process:
        for number in range(1, 51):
            _send(collector, _span(number, HARMLESS))
        process.kill()
        process.wait()
    with grpc_receiver() as jaeger:
        again = Collector(tmp_path, jaeger=jaeger.endpoint.removeprefix("http://"))
        with again.running():
            spans = _wait_for(jaeger, 50)
    assert {int.from_bytes(span.span_id, "big") for span in spans} == set(range(1, 51))


def test_status_log_events_go_to_loki(tmp_path: Path) -> None:
    body = ExportLogsServiceRequest()
    record = body.resource_logs.add().scope_logs.add().log_records.add()
    record.event_name = "Scored {model}"
    record.attributes.extend(_pairs({"password": "hunter2", **HARMLESS}))
    with otlp_receiver() as loki:
        collector = Collector(tmp_path, jaeger="127.0.0.1:9", loki=loki.endpoint)
        with collector.running():
            _post(collector, "/v1/logs", body)
            log = loki.wait_for_log("Scored {model}")
    told = attributes_of(log.attributes)
    assert {name: told[name] for name in HARMLESS} == HARMLESS
    assert told["password"] == "****"


def _span(number: int, attributes: dict[str, Any]) -> Span:
    span = Span(
        name="RUN deploy",
        trace_id=number.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        attributes=_pairs(attributes),
    )
    span.events.add(name="Scored {model}", attributes=_pairs(attributes))
    return span


def _pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key,
            value=AnyValue(int_value=value)
            if isinstance(value, int)
            else AnyValue(string_value=value),
        )
        for key, value in attributes.items()
    ]


def _send(collector: Collector, span: Span) -> None:
    body = ExportTraceServiceRequest()
    body.resource_spans.add().scope_spans.add().spans.append(span)
    _post(collector, "/v1/traces", body)


def _post(collector: Collector, path: str, body: Any) -> None:
    """Send BODY, and fail where the collector does not confirm it."""
    headers = {"Content-Type": "application/x-protobuf"}
    answer = httpx.post(
        f"{collector.http}{path}", content=body.SerializeToString(), headers=headers, timeout=10
    )
    assert answer.status_code == 200, answer.text


def _wait_for(jaeger: GrpcReceived, count: int) -> list[Any]:
    wait_for(lambda: len(jaeger.spans) >= count, what=f"{count} spans")
    return list(jaeger.spans)
