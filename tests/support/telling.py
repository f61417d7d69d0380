"""A runtime whose records and spans stay in the process, and Prefect's own runs for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import use_span
from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.telemetry.run_telemetry import RunTelemetry

from prefect_otel_status import instrumentation
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.model import GateResult, LogLine, StageEnd, Status, Transition
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.settings import Settings
from prefect_otel_status.signals import Metric
from prefect_otel_status.spans import RunTracer
from prefect_otel_status.testing import CaptureSink
from tests.support.records import FLOW_RUN_ID, TASK_RUN_ID, ManualClock

R = TypeVar("R")
WAIT = 10.0
UNSAFE = re.compile("[\x00-\x08\x1b\x7f\ud800-\udfff]")


class Told:
    """A runtime, and everything that it was told."""

    def __init__(self, *, sampler: Any = None, **settings: Any) -> None:
        self.clock = ManualClock()
        self.sink = CaptureSink()
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.runtime = Runtime(
            Settings(**settings),
            clock=self.clock,
            tracer_provider=self.provider,
            meter_provider=NoOpMeterProvider(),
            logger_provider=NoOpLoggerProvider(),
            sinks=[self.sink],
        )

    def of(self, kind: type[R]) -> list[R]:
        """The records of KIND, in order, as every sink sees them."""
        assert self.runtime.recorder.flush(WAIT)
        return [record for record in self.sink.records if isinstance(record, kind)]

    @property
    def statuses(self) -> list[Status]:
        return self.of(Status)

    @property
    def messages(self) -> list[str]:
        return [said.message for said in self.statuses]

    @property
    def transitions(self) -> list[Transition]:
        return self.of(Transition)

    @property
    def stages(self) -> list[StageEnd]:
        return self.of(StageEnd)

    @property
    def gates(self) -> list[GateResult]:
        return self.of(GateResult)

    @property
    def lines(self) -> list[LogLine]:
        return self.of(LogLine)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """The finished spans, by name; there must be one of each."""
        found = self.exporter.get_finished_spans()
        by_name = {span.name: span for span in found}
        assert len(by_name) == len(found), [span.name for span in found]
        return by_name

    def tally(self, metric: Metric) -> dict[str, int]:
        """What went wrong, by label."""
        return {
            label: n for (kind, label), n in self.runtime.tally.read().items() if kind is metric
        }

    @contextmanager
    def in_use(self) -> Iterator[Told]:
        """The process's runtime meanwhile, with Prefect instrumented."""
        previous = runtime_module.current()
        runtime_module.use(self.runtime)
        try:
            yield self
        finally:
            instrumentation.uninstrument()
            runtime_module.use(previous)
            self.runtime.recorder.stop(WAIT)
            self.runtime.background.flush(WAIT)

    @contextmanager
    def run_of(self, flow: Flow[..., Any], **changes: Any) -> Iterator[FlowRun]:
        """A flow run as Prefect's engine has it: its span, and its context."""
        flow_run = a_flow_run(**changes)
        with FlowRunContext.model_construct(flow=flow, flow_run=flow_run, parameters={}):
            telemetry = self.telemetry()
            telemetry._start_span(flow_run, {})
            assert telemetry.span is not None
            with use_span(telemetry.span):
                yield flow_run
            telemetry.end_span_on_success()

    @contextmanager
    def in_run_again(self, flow: Flow[..., Any], flow_run: FlowRun) -> Iterator[None]:
        """Prefect's context of FLOW_RUN once more, without a span."""
        with FlowRunContext.model_construct(flow=flow, flow_run=flow_run, parameters={}):
            yield

    def telemetry(self) -> RunTelemetry:
        """Prefect's own telemetry of a run, with our tracer."""
        return RunTelemetry(
            _tracer=RunTracer(self.provider.get_tracer("prefect"), self.runtime), _enabled=True
        )


def a_flow_run(**changes: Any) -> FlowRun:
    """A flow run of Prefect's."""
    usual: dict[str, Any] = {"id": UUID(FLOW_RUN_ID), "flow_id": UUID(int=1), "name": "wise-owl"}
    return FlowRun(**{**usual, **changes})


def a_task_run(**changes: Any) -> TaskRun:
    """A task run of Prefect's, in that flow run."""
    usual: dict[str, Any] = {
        "id": UUID(TASK_RUN_ID),
        "task_key": "score",
        "dynamic_key": "0",
        "name": "score-0",
        "flow_run_id": UUID(FLOW_RUN_ID),
    }
    return TaskRun(**{**usual, **changes})


@contextmanager
def in_task(task: Task[..., Any], task_run: TaskRun) -> Iterator[None]:
    """Prefect's context of TASK_RUN."""
    with TaskRunContext.model_construct(task=task, task_run=task_run, parameters={}):
        yield


def span_of(span: ReadableSpan) -> dict[str, Any]:
    """All of SPAN but its times and ids, to be compared whole."""
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": (span.status.status_code.name, span.status.description),
        "attributes": dict(span.attributes or {}),
        "events": [(event.name, dict(event.attributes or {})) for event in span.events],
        "links": len(span.links),
    }


def texts_in(value: Any) -> Iterator[str]:
    """Every text in VALUE, names of attributes included, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from texts_in(msgspec.structs.asdict(value))
    elif isinstance(value, Mapping):
        yield from texts_in(list(value.items()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)


def is_safe(value: Any) -> bool:
    """Whether every text in VALUE can be encoded, and forges nothing."""
    return not any(UNSAFE.search(text) for text in texts_in(value))
