"""A span with ten events to OTLP bytes: the bridge's way against the SDK's.

`python -m benchmarks.encoding_cost [--rounds 9] [--spans 300]`. The SDK builds the span, adds the
events, ends it and encodes it; the bridge has the record and encodes it.
"""

from __future__ import annotations

import argparse
import time

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.rounds import in_turns, report
from prefect_otel_status.bridge import otlp
from prefect_otel_status.bridge.otlp import Resource
from prefect_otel_status.bridge.records import SpanEvent, SpanRecord

EVENTS = 10
SAID = {
    "prefect_status.message": "Scored bert: 93.0%",
    "prefect_status.template": "Scored {model}: {accuracy:.1%}",
    "prefect_status.level": "info",
    "prefect_status.stage": "evaluate",
    "model": "bert",
    "accuracy": 0.93,
}
OF_RUN = {
    "cicd.pipeline.name": "deploy",
    "cicd.pipeline.run.id": "a" * 36,
    "cicd.pipeline.result": "success",
}


def ours(spans: int) -> float:
    """Microseconds of CPU a span."""
    resource = Resource((("service.name", "bench"),))
    record = SpanRecord(
        name="RUN deploy",
        kind="SERVER",
        trace_id=2**100 + 7,
        span_id=2**50 + 7,
        start=10**18,
        end=10**18 + 10**9,
        attributes=OF_RUN,
        events=tuple(SpanEvent("Scored", 10**18 + i, SAID) for i in range(EVENTS)),
    )
    began = time.process_time()
    for _ in range(spans):
        otlp.encode_span(record, resource)
    return (time.process_time() - began) / spans * 1e6


def sdk(spans: int) -> float:
    """The same with the SDK."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=SdkResource.create({"service.name": "bench"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")
    began = time.process_time()
    for _ in range(spans):
        span = tracer.start_span("RUN deploy", attributes=OF_RUN)
        for i in range(EVENTS):
            span.add_event("Scored", SAID, timestamp=10**18 + i)
        span.end()
        encode_spans(exporter.get_finished_spans()).SerializeToString()
        exporter.clear()
    return (time.process_time() - began) / spans * 1e6


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--spans", type=int, default=300)
    chosen = parser.parse_args()
    sides = {
        "SDK, built and encoded": lambda: sdk(chosen.spans),
        "bridge": lambda: ours(chosen.spans),
    }
    found = in_turns(sides, rounds=chosen.rounds)
    report(
        "A span with 10 events to bytes, CPU",
        found,
        of="SDK, built and encoded",
        to="bridge",
        unit="µs",
    )


if __name__ == "__main__":
    main()
