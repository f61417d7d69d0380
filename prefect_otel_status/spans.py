"""Prefect's own spans, used and mended: name, kind, trace id, result, statuses.

Prefect makes one span per run and names it after the run. The tracer that it
asks for is wrapped here, so that nothing is drawn twice. Whatever fails in the
wrapper falls back to what Prefect would have done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from prefect.context import FlowRunContext, TaskRunContext

from prefect_otel_status import idgen, runs, signals
from prefect_otel_status.failure import exception_attributes, type_name
from prefect_otel_status.ids import run_span_id_of, trace_id_of
from prefect_otel_status.model import ERROR_RESULTS, FINAL_TYPES, result_of
from prefect_otel_status.runs import RunHandle
from prefect_otel_status.sinks.span import write_events, write_latest

if TYPE_CHECKING:
    from prefect_otel_status.runtime import Runtime


class RunTracer(Tracer):
    """Prefect's tracer, with the spans of runs mended as they start."""

    def __init__(self, real: Tracer, runtime: Runtime) -> None:
        self._real = real
        self._runtime = runtime
        self._takes_ids = idgen.install(real)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start the span of a run, mended; any other span as it is asked for."""
        try:
            return self._start_run_span(context, dict(attributes or {}), start_time)
        except Exception as error:
            self._runtime.tally.failed("span_start", error)
            return self._real.start_span(
                name,
                context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            )

    @contextmanager
    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Iterator[Span]:  # type: ignore[override]  # agnostic context manager
        """As the real tracer does."""
        with self._real.start_as_current_span(*args, **kwargs) as span:
            yield span

    def _start_run_span(
        self, context: Context | None, attributes: dict[str, Any], start_time: int | None
    ) -> Span:
        run_id = UUID(attributes[signals.PREFECT_RUN_ID.name])
        kind = attributes[signals.PREFECT_RUN_TYPE.name]
        handle = self._runtime.registry.open(run_id, kind)
        if kind == "task":
            _describe_task(handle, run_id)
        plan = self._plan(handle, context)
        with idgen.planned_trace_id(plan.trace_id if self._takes_ids else None):
            span = self._real.start_span(
                span_name(handle, self._runtime),
                context=plan.context,
                kind=plan.kind,
                attributes={**self._prefects(attributes), **self._attributes(handle)},
                links=plan.links,
                start_time=start_time,
            )
        return self._wrap(span, handle)

    def _wrap(self, span: Span, handle: RunHandle) -> Span:
        handle.started = handle.started or self._runtime.clock()
        handle.ended = False
        handle.span_context = span.get_span_context()
        if not handle.span_context.is_valid:
            return span
        handle.span = RunSpan(span, handle, self._runtime)
        return handle.span

    def _plan(self, handle: RunHandle, context: Context | None) -> _Plan:
        # Without a label Prefect gives no context: then a span of the caller's own
        # that is current is the parent, as everywhere in OpenTelemetry.
        current = trace.get_current_span(context)
        if context is None and isinstance(current, RunSpan) and current.finished:
            current = trace.INVALID_SPAN  # left behind by a run that is over
        parent_context = current.get_span_context()
        if handle.run.is_task and not parent_context.is_valid:
            parent_context = _flow_run_span()
            context = set_span_in_context(NonRecordingSpan(parent_context), Context())
        own = trace_id_of(handle.run.id)
        if handle.run.kind == "flow" and self._runtime.bridge_owns_root:
            return self._below_the_bridge(handle, parent_context.trace_id or own)
        kind = SpanKind.SERVER if handle.run.kind == "flow" else SpanKind.INTERNAL
        if not parent_context.is_valid:
            return _Plan(Context(), kind, own)
        if handle.run.kind == "flow" and parent_context.trace_id == own:
            # An earlier process of this very run wrote the label. Its span may
            # never have been sent, so it is no parent: same trace, and a link.
            return _Plan(Context(), kind, own, (Link(parent_context),))
        return _Plan(self._innermost(parent_context, context), kind, None)

    def _innermost(self, parent: SpanContext, context: Context | None) -> Context | None:
        """The stage that a run was called in is its parent, below the run that Prefect says."""
        scope = runs.current_scope()
        if scope is None or scope.stage is None or scope.handle is None:
            return context
        within = scope.handle.span_context.span_id == parent.span_id
        if within and scope.span_context.trace_id == parent.trace_id:
            return set_span_in_context(NonRecordingSpan(scope.span_context), context)
        return context

    def _below_the_bridge(self, handle: RunHandle, trace_id: int) -> _Plan:
        sampled = self._sampled(trace_id)
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        parent = SpanContext(trace_id, run_span_id_of(handle.run.id), True, flags)
        context = set_span_in_context(NonRecordingSpan(parent), Context())
        return _Plan(context, SpanKind.INTERNAL, None)

    def _sampled(self, trace_id: int) -> bool:
        sampler = getattr(self._real, "sampler", None)
        if sampler is None:
            return True
        decision = sampler.should_sample(None, trace_id, "RUN", SpanKind.SERVER, {}, [])
        return bool(decision.decision.is_sampled())

    def _prefects(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Prefect's own attributes; names of runs and labels may hold anything."""
        clean = self._runtime.cleaner.attributes(_without_internal(attributes))
        tags = attributes.get("prefect.tags")
        return {**clean, "prefect.tags": [self._runtime.cleaner.line(tag) for tag in tags or ()]}

    def _attributes(self, handle: RunHandle) -> dict[str, Any]:
        return run_attributes(handle, self._runtime)


class _Plan:
    """How a run's span is to be started."""

    def __init__(
        self,
        context: Context | None,
        kind: SpanKind,
        trace_id: int | None,
        links: Sequence[Link] = (),
    ) -> None:
        self.context = context
        self.kind = kind
        self.trace_id = trace_id
        self.links = links


class RunSpan(Span):
    """The span of a run, as Prefect and the flow see it.

    It ends with its statuses and its result. A task's span outlives Prefect's
    `end()` until the task's terminal hooks have run, where one of them is ours.
    """

    def __init__(self, real: Span, handle: RunHandle, runtime: Runtime) -> None:
        self._real = real
        self._handle = handle
        self._runtime = runtime
        self._state: Mapping[str, Any] = {}
        self._end_time: int | None = None
        self._finished = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @property
    def finished(self) -> bool:
        """True once nothing more can be added to it."""
        return self._finished

    def get_span_context(self) -> SpanContext:
        return self._real.get_span_context()

    def is_recording(self) -> bool:
        return self._real.is_recording()

    def set_attributes(self, attributes: Any) -> None:
        self._real.set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self._real.set_attribute(key, value)

    def update_name(self, name: str) -> None:
        self._real.update_name(name)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        self._real.add_link(context, attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event; Prefect's own, one for each state, also tell how the run stands."""
        if not attributes or signals.STATE_TYPE.name not in attributes:
            self._real.add_event(name, attributes, timestamp)
            return
        safe = self._runtime.guard("span_state", lambda: _safe_state(attributes, self._runtime))
        self._real.add_event(self._runtime.cleaner.line(name), safe or {}, timestamp)
        if safe is not None:
            self._runtime.guard("span_state", lambda: self._enter_state(safe))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        def record() -> None:
            self._handle.error_type = type_name(exception)
            words = exception_attributes(exception, clean=self._runtime.cleaner.text)
            self._real.record_exception(exception, {**words, **(attributes or {})}, timestamp)

        self._runtime.guard("span_exception", record)

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Set the status, but for OK on a run whose state says that it failed."""
        self._runtime.guard("span_status", lambda: self._set_status(status, description))

    def _set_status(self, status: Any, description: str | None) -> None:
        code = status.status_code if isinstance(status, Status) else status
        if code is StatusCode.OK and self.result in ERROR_RESULTS:
            words = self._state.get(signals.STATE_MESSAGE.name) or "Run failed"
            self._real.set_status(Status(StatusCode.ERROR, self._runtime.cleaner.text(words)))
        elif isinstance(status, Status) and status.description:
            safe = self._runtime.cleaner.text(status.description)
            self._real.set_status(Status(status.status_code, safe))
        else:
            safe_words = None if description is None else self._runtime.cleaner.text(description)
            self._real.set_status(status, safe_words)

    @property
    def result(self) -> str | None:
        """How the run ended, as far as its latest state says."""
        kind = self._state.get(signals.STATE_TYPE.name, "")
        return result_of(_plain(kind), self._state.get(signals.STATE_NAME.name, ""))

    def end(self, end_time: int | None = None) -> None:
        """End the span, or wait for the terminal hooks of ours that are still to run."""
        if self._finished or self._end_time is not None:
            return
        self._end_time = end_time or time.time_ns()
        if not self._runtime.guard("span_end", self._waits_for_hook):
            self.finish()

    def finish(self) -> None:
        """End the span now, with everything that was said in its run. Safe to repeat."""
        if self._finished:
            return
        self._finished = True
        self._runtime.guard("span_finish", self._complete)
        latest = self._runtime.guard("span_events", self._write_statuses) or 0
        self._real.end(max(self._end_time or time.time_ns(), latest))
        self._runtime.registry.retire(UUID(self._handle.run.id))

    def abandon(self) -> None:
        """End the span because the process leaves; Prefect never will."""
        if not self._finished:
            self._real.set_attribute(signals.INCOMPLETE.name, True)
            self.finish()

    def name_it(self, handle: RunHandle) -> None:
        """Name the span once the flow's or task's name is known."""
        self._runtime.guard(
            "span_name", lambda: self._real.update_name(span_name(handle, self._runtime))
        )

    def _enter_state(self, state: Mapping[str, Any]) -> None:
        self._state = state
        never_ended = state.get(signals.STATE_NAME.name) in ("TimedOut", "NotReady")
        if never_ended and self._handle.run.is_task:
            # Prefect forgets these two. Hooks of a timed-out task still run.
            self.set_status(Status(StatusCode.OK if self.result == "skip" else StatusCode.ERROR))
            self.end()

    def _waits_for_hook(self) -> bool:
        kind = _plain(self._state.get(signals.STATE_TYPE.name, ""))
        if not self._handle.run.is_task or kind not in ("COMPLETED", "FAILED"):
            return False
        context = TaskRunContext.get()
        if context is None or str(context.task_run.id) != self._handle.run.id:
            return False
        task = context.task
        hooks = task.on_completion_hooks if kind == "COMPLETED" else task.on_failure_hooks
        return any(getattr(hook, "ends_span", False) for hook in hooks or ())

    def _complete(self) -> None:
        handle = self._handle
        _describe_flow(handle)
        self.name_it(handle)
        self._real.set_attributes(run_attributes(handle, self._runtime))
        result = self.result
        if result is not None:
            name = signals.TASK_RESULT if handle.run.is_task else signals.RESULT
            self._real.set_attribute(name.name, result)
        if result in ERROR_RESULTS:
            state_name = str(self._state.get(signals.STATE_NAME.name, ""))
            self._real.set_attribute(signals.ERROR_TYPE.name, handle.error_type or state_name)

    def _write_statuses(self) -> int:
        if not self._real.is_recording():
            return 0
        write_latest(self._real, self._handle.latest)
        return write_events(self._real, self._handle.buffer)


def span_name(handle: RunHandle, runtime: Runtime) -> str:
    """The low-cardinality name of a run's span: `RUN <flow>`, `ATTEMPT <n>`, or the task's."""
    run = runtime.cleaner.run(handle.run) or handle.run
    if run.is_task:
        return run.task_name or "task"
    if runtime.bridge_owns_root:
        return f"ATTEMPT {handle.attempt}"
    return f"RUN {run.flow_name}".rstrip()


def run_attributes(handle: RunHandle, runtime: Runtime) -> dict[str, Any]:
    """What is known of the run now, under the conventions' names."""
    run = runtime.cleaner.run(handle.run) or handle.run
    found: dict[str, Any] = dict(runtime.cleaner.attributes(runtime.bound_in_all(handle)))
    if run.flow_name:
        found[signals.PIPELINE_NAME.name] = run.flow_name
    if deployment := runtime.deployments.name_of(run):
        found[signals.DEPLOYMENT.name] = deployment
    if run.is_task:
        found[signals.TASK_NAME.name] = run.task_name
        found[signals.TASK_RUN_ID.name] = run.id
        found[signals.TASK_RUN_URL.name] = runtime.urls.of_run("task", run.id)
    if run.flow_run_id:
        found[signals.RUN_ID.name] = run.flow_run_id
    if not run.is_task:
        found[signals.RUN_URL.name] = runtime.urls.of_run("flow", run.id)
    found[signals.ATTEMPT.name] = handle.attempt
    return {name: value for name, value in found.items() if value is not None}


def _safe_state(state: Mapping[str, Any], runtime: Runtime) -> dict[str, Any]:
    # A failed run's state repeats the words of its exception.
    message = runtime.cleaner.text(state.get(signals.STATE_MESSAGE.name, ""))
    return {
        **state,
        signals.STATE_MESSAGE.name: message,
        signals.STATE_NAME.name: runtime.cleaner.line(state.get(signals.STATE_NAME.name, "")),
        signals.STATE_TYPE.name: _plain(state[signals.STATE_TYPE.name]),
    }


def _plain(kind: Any) -> str:
    return str(getattr(kind, "value", kind))


def is_final(kind: Any) -> bool:
    """Whether a state of the type KIND ends a run."""
    return _plain(kind) in FINAL_TYPES


def _describe_task(handle: RunHandle, run_id: UUID) -> None:
    context = TaskRunContext.get()
    if context is not None and context.task_run.id == run_id:
        runs.describe(handle, context.task_run, context, FlowRunContext.get())
        handle.prefect_run = context.task_run


def _flow_run_span() -> SpanContext:
    """The span of the flow run that the current task belongs to, by the flow run's label.

    In a process pool and on Dask no span is current, and Prefect looks for its
    label on the task run itself, which has none yet.
    """
    context = FlowRunContext.get()
    return runs.span_context_of(context.flow_run if context is not None else None)


def _describe_flow(handle: RunHandle) -> None:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    if not handle.run.is_task and flow_run is not None and str(flow_run.id) == handle.run.id:
        runs.describe(handle, flow_run, None, context)


def _without_internal(attributes: dict[str, Any]) -> dict[str, Any]:
    # Prefect writes every label of the run on the span; those of `bind` come
    # under their own names.
    prefix = signals.BOUND_LABEL_PREFIX
    return {name: value for name, value in attributes.items() if not name.startswith(prefix)}
