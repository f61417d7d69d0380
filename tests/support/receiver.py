"""A real OTLP receiver over HTTP: everything it was sent, to be read back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.support.server import free_port, wait_for


@dataclass
class Received:
    """What a receiver was sent so far."""

    endpoint: str
    spans: list[Span] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)

    def wait_for_spans(self, *names: str, timeout: float = 30.0) -> dict[str, Span]:
        """The spans of NAMES, by name, once all of them came."""

        def complete() -> dict[str, Span] | None:
            found = {span.name: span for span in list(self.spans)}
            return found if set(names) <= set(found) else None

        what = f"spans {names} (came: {sorted({span.name for span in self.spans})})"
        found = wait_for(complete, timeout=timeout, what=what)
        assert found is not None
        return found

    def wait_for_log(self, event_name: str, *, timeout: float = 30.0) -> LogRecord:
        """The first log event of this name, once it came."""
        return wait_for(
            lambda: next((log for log in list(self.logs) if log.event_name == event_name), None),
            timeout=timeout,
            what=f"log event {event_name!r}",
        )  # type: ignore[return-value]  # wait_for gives no false value

    def wait_for_metric(self, name: str, *, timeout: float = 30.0) -> Metric:
        """The latest metric of this name, once one came."""
        return wait_for(
            lambda: next((m for m in reversed(list(self.metrics)) if m.name == name), None),
            timeout=timeout,
            what=f"metric {name!r}",
        )  # type: ignore[return-value]  # wait_for gives no false value


@contextmanager
def otlp_receiver() -> Iterator[Received]:
    """Receive OTLP over HTTP on a free loopback port."""
    received = Received(f"http://127.0.0.1:{free_port()}")
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_receive(received, ready, stop)), daemon=True
    )
    thread.start()
    assert ready.wait(10), "the OTLP receiver did not start"
    try:
        yield received
    finally:
        stop.set()
        thread.join(10)


async def _receive(received: Received, ready: threading.Event, stop: threading.Event) -> None:
    port = int(received.endpoint.rpartition(":")[2])
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port)
    async with OtelTapHttpProtobufReceiver(settings) as tap:
        tasks = [
            asyncio.create_task(_collect(tap.stream_traces(), received.spans.append)),
            asyncio.create_task(_collect(tap.stream_logs(), received.logs.append)),
            asyncio.create_task(_collect(tap.stream_metrics(), received.metrics.append)),
        ]
        await asyncio.sleep(0)  # lets the collectors subscribe
        ready.set()
        await asyncio.to_thread(stop.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _collect(stream: Any, keep: Callable[[Any], None]) -> None:
    async for item in stream:
        keep(item)


def value_of(value: AnyValue) -> Any:
    """VALUE as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """PAIRS of an OTLP message as a dictionary."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def span_as_dict(span: Span) -> dict[str, Any]:
    """All of SPAN but times and ids, to be compared whole."""
    return {
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind),
        "status": (span.status.code, span.status.message),
        "attributes": attributes_of(span.attributes),
        "events": [(event.name, attributes_of(event.attributes)) for event in span.events],
        "links": len(span.links),
    }
