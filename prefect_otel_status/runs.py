"""The runs that this process knows, and which of them is speaking."""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context, ContextVar, Token
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
from opentelemetry.context import Context as OtelContext
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prefect.context import FlowRunContext, TaskRunContext

from prefect_otel_status import signals
from prefect_otel_status.buffer import EventBuffer
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.model import Run

if TYPE_CHECKING:
    from prefect_otel_status.envelope import Envelope

_LIVE_LIMIT = 1_000
_ENDED_LIMIT = 512


class SpanOfRun(Protocol):
    """The span of a run, as its handle needs it; `spans.RunSpan` is one."""

    @property
    def finished(self) -> bool:
        """True once nothing more can be added to it."""

    def name_it(self, handle: RunHandle) -> None:
        """Name it after the flow or task, now that it is known."""

    def finish(self) -> None:
        """End it with all that was said."""

    def abandon(self) -> None:
        """End it because the process leaves."""


@dataclass(eq=False)
class RunHandle:
    """What this process keeps of one run while it goes on."""

    run: Run
    prefect_run: Any = None
    span: SpanOfRun | None = None
    span_context: SpanContext = INVALID_SPAN_CONTEXT
    buffer: EventBuffer = field(default_factory=EventBuffer)
    context: Context | None = None
    inherited: dict[str, Any] = field(default_factory=dict)
    last_bound: dict[str, Any] = field(default_factory=dict)
    last_state: Any = None
    states_seen: set[str] = field(default_factory=set)
    started: int = 0
    error_type: str | None = None
    ended: bool = False
    linked: bool = False
    detached: bool = False
    handler_hangs: bool = False
    latest: Envelope | None = None
    _attempt: int = 0
    _sequence: int = 0

    @property
    def takes_events(self) -> bool:
        """False where its span has ended, or is another process's."""
        return self.span is not None and not self.span.finished and not self.detached

    @property
    def attempt(self) -> int:
        """The number of the run's current attempt; the first is 1."""
        return getattr(self.prefect_run, "run_count", 0) or self._attempt or 1

    def adopt_span(self, prefect_run: Any) -> None:
        """Without a span of its own here, take the one that PREFECT_RUN's label names."""
        if not self.span_context.is_valid:
            self.span_context = span_context_of(prefect_run)

    def presume_trace(self, prefect_run: Any) -> None:
        """Without any span, take the trace that a root flow run's process would have made.

        A runner that reports the crash of a process knows no more than the id.
        """
        is_root = getattr(prefect_run, "parent_task_run_id", None) is None
        if is_root and not self.span_context.is_valid:
            self.span_context = SpanContext(trace_id_of(self.run.id), 0, True)

    def close(self) -> None:
        """Let go of what Prefect's contexts hold, the run's parameters and results among it."""
        self._attempt = self.attempt
        self.ended = True
        self.context = self.prefect_run = self.last_state = self.latest = self.span = None
        self.buffer = EventBuffer()

    def next_sequence(self) -> tuple[int, int]:
        """The attempt, and the number of the next status within it."""
        attempt = self.attempt
        if attempt != self._attempt:
            self._attempt, self._sequence = attempt, 0
        self._sequence += 1
        return attempt, self._sequence


class Scope(NamedTuple):
    """Where a status belongs: a run or a stage of it.

    `stage` is the stage whose span it is, `around` the stage that the run was
    called in, which is the default for what it says.
    `forced_over` is set while a hook of ours runs: it names the run that
    Prefect's own context shows at that moment, which may be the parent's.
    """

    handle: RunHandle | None
    span_context: SpanContext
    buffer: EventBuffer
    stage: str | None = None
    around: str | None = None
    forced: bool = False
    forced_over: UUID | None = None


_scope: ContextVar[Scope | None] = ContextVar("prefect_otel_status_scope", default=None)


class Bound(NamedTuple):
    """What is bound in a context, and the run that bound it.

    A plain `bind(...)` lasts for the rest of its run, but a context may outlive
    the run: what an ended run has bound is passed over.
    """

    values: Mapping[str, Any]
    owner: RunHandle | None = None
    outer: Bound | None = None


_UNBOUND = Bound(MappingProxyType({}))
_bound: ContextVar[Bound] = ContextVar("prefect_otel_status_bound", default=_UNBOUND)


class RunRegistry:
    """Finds the handle of a run by its id. Bounded: the oldest are forgotten first."""

    def __init__(self) -> None:
        self._live: OrderedDict[UUID, RunHandle] = OrderedDict()
        self._ended: OrderedDict[UUID, RunHandle] = OrderedDict()
        self._lock = threading.RLock()

    def scope(self) -> Scope | None:
        """Where what is said now belongs; None outside a run and a stage."""
        scope = _scope.get()
        if scope is not None and not is_open(scope):
            scope = _of_run(scope.handle)
        prefect_run, task_context, flow_context = prefect_run_now()
        if prefect_run is None:
            return scope
        if scope is not None and scope.forced and scope.forced_over == prefect_run.id:
            return scope
        handle = self._live.get(prefect_run.id)
        if handle is None or handle.context is None:
            handle = self._enter(prefect_run, task_context, flow_context)
        if handle.prefect_run is not prefect_run and not handle.ended:
            handle.prefect_run = prefect_run
        if scope is not None and scope.handle is handle:
            return scope
        around = stage_of(scope)
        return Scope(handle, handle.span_context, handle.buffer, around=around)

    def open(self, run_id: UUID, kind: str) -> RunHandle:
        """The handle of the run RUN_ID, made where it is new or had ended."""
        with self._lock:
            handle = self._live.get(run_id)
            if handle is None:
                flow_run_id = str(run_id) if kind == "flow" else None
                self._ended.pop(run_id, None)
                handle = RunHandle(Run(kind=kind, id=str(run_id), flow_run_id=flow_run_id))
                self._live[run_id] = handle
                self._make_room(run_id)
            return handle

    def find(self, run_id: UUID) -> RunHandle | None:
        """The handle of the run RUN_ID, live or ended; None where it is not known."""
        return self._live.get(run_id) or self._ended.get(run_id)

    def retire(self, run_id: UUID) -> None:
        """Keep the run RUN_ID among the ended for a while, for what is said late."""
        with self._lock:
            handle = self._live.pop(run_id, None)
            if handle is not None:
                handle.close()
                self._ended[run_id] = handle
                self._trim(self._ended, _ENDED_LIMIT)

    def live(self) -> list[RunHandle]:
        """All runs that have not ended in this process."""
        with self._lock:
            return list(self._live.values())

    def after_fork(self) -> None:
        """Let go of the parent's lock and spans: it is the parent that ends them."""
        self._lock = threading.RLock()
        for handle in self._live.values():
            handle.span = None
            handle.detached = True

    def _enter(self, prefect_run: Any, task_context: Any, flow_context: Any) -> RunHandle:
        kind = "flow" if task_context is None else "task"
        # A late status of an ended run goes to that run, and does not reopen it.
        handle = self.find(prefect_run.id) or self.open(prefect_run.id, kind)
        describe(handle, prefect_run, task_context, flow_context)
        if handle.ended:
            return handle
        handle.prefect_run = prefect_run
        handle.context = contextvars.copy_context()
        handle.adopt_span(prefect_run)
        if handle.span is not None:
            handle.span.name_it(handle)
        return handle

    def _make_room(self, newest: UUID) -> None:
        """Forget the oldest run without a span, but not the NEWEST: those with one go on."""
        if len(self._live) > _LIVE_LIMIT:
            spanless = (
                key for key, handle in self._live.items() if handle.span is None and key != newest
            )
            oldest = next(spanless, None)
            if oldest is not None:
                self._live.pop(oldest)

    def _trim(self, handles: OrderedDict[UUID, RunHandle], limit: int) -> None:
        while len(handles) > limit:
            handles.popitem(last=False)


def stage_of(scope: Scope | None) -> str | None:
    """The name of the stage that SCOPE is in, its own or the one around it."""
    if scope is None:
        return None
    return scope.around if scope.stage is None or scope.buffer.closed else scope.stage


def current_scope() -> Scope | None:
    """The scope set in this context, whatever run it belongs to."""
    return _scope.get()


def enter_scope(scope: Scope | None) -> Token[Scope | None]:
    """Make SCOPE the one in which things are said, until `leave_scope`."""
    return _scope.set(scope)


def leave_scope(token: Token[Scope | None]) -> None:
    """Go back to the scope before. In another context, as with generators, do nothing."""
    with suppress(ValueError):
        _scope.reset(token)


def is_open(scope: Scope) -> bool:
    """False for a stage that has been left, by its thread or in another order than entered."""
    return scope.stage is None or not scope.buffer.closed


def _of_run(handle: RunHandle | None) -> Scope | None:
    return None if handle is None else Scope(handle, handle.span_context, handle.buffer)


def prefect_run_now() -> tuple[Any, Any, Any]:
    """Prefect's current run, with the task and flow contexts that belong to it.

    A subflow called inside a task leaves the task's context in place: the task
    is the current run only if it belongs to the current flow run.
    """
    task_context = TaskRunContext.get()
    flow_context = FlowRunContext.get()
    flow_run = flow_context.flow_run if flow_context is not None else None
    if task_context is not None:
        task_run = task_context.task_run
        if flow_run is None or task_run.flow_run_id == flow_run.id:
            return task_run, task_context, flow_context
    return flow_run, None, flow_context


def describe(handle: RunHandle, prefect_run: Any, task_context: Any, flow_context: Any) -> None:
    """Write what Prefect's contexts say of a run into HANDLE."""
    flow_run = getattr(flow_context, "flow_run", None)
    flow = getattr(flow_context, "flow", None)
    task = getattr(task_context, "task", None)
    flow_run_id = prefect_run.flow_run_id if task is not None else prefect_run.id
    handle.run = msgspec.structs.replace(
        handle.run,
        name=prefect_run.name or "",
        flow_run_id=str(flow_run_id) if flow_run_id else None,
        flow_name=flow.name if flow is not None else "",
        task_name=task.name if task is not None else "",
        deployment_id=_deployment_id(flow_run),
    )
    handle.inherited = {**bound_of(flow_run), **bound_of(prefect_run)}


def _deployment_id(flow_run: Any) -> str | None:
    found = getattr(flow_run, "deployment_id", None)
    return str(found) if found else None


def bound_of(prefect_run: Any) -> dict[str, Any]:
    """What `bind` left in the labels of PREFECT_RUN, here or in another process."""
    labels = getattr(prefect_run, "labels", None) or {}
    prefix = signals.BOUND_LABEL_PREFIX
    return {name[len(prefix) :]: labels[name] for name in labels if name.startswith(prefix)}


def span_context_of(prefect_run: Any) -> SpanContext:
    """The span that Prefect noted in a label of PREFECT_RUN; an invalid one if it did not."""
    labels = getattr(prefect_run, "labels", None) or {}
    carrier = {"traceparent": str(labels.get(signals.TRACEPARENT_LABEL, ""))}
    context = TraceContextTextMapPropagator().extract(carrier, OtelContext())
    return get_current_span(context).get_span_context()


def bound_now(handle: RunHandle | None) -> Mapping[str, Any]:
    """Everything bound for what is said now: from other processes, then from this one."""
    bound = bound_here()
    if handle is None or not handle.inherited:
        return bound
    return {**handle.inherited, **bound}


def bound_here() -> Mapping[str, Any]:
    """What is bound in this context by runs that go on."""
    return _live_bound().values


def _live_bound() -> Bound:
    bound = _bound.get()
    while bound.owner is not None and bound.owner.ended:
        bound = bound.outer or _UNBOUND
    return bound


def context_of_flow_run(flow: Any, flow_run: Any) -> Context:
    """A copy of the current context in which Prefect sees FLOW_RUN as its run.

    In a flow's first hooks Prefect has not yet set its own context, or still
    shows the parent's.
    """
    context = contextvars.copy_context()
    shown = FlowRunContext.model_construct(flow=flow, flow_run=flow_run, parameters={})
    context.run(FlowRunContext.__var__.set, shown)
    no_task: Any = None
    context.run(TaskRunContext.__var__.set, no_task)
    return context


def bind(values: Mapping[str, Any], *, owner: RunHandle | None) -> Token[Bound]:
    """Add VALUES to what is bound in this context, until `unbind` or the end of OWNER."""
    before = _live_bound()
    # Nothing is stacked within one run: its values are merged, and it ends once.
    outer = before.outer if before.owner is owner else before
    return _bound.set(Bound({**before.values, **values}, owner, outer))


def unbind(token: Token[Bound]) -> None:
    """Go back to what was bound before. Raises `ValueError` in another context."""
    _bound.reset(token)


def bound_in_all(handle: RunHandle) -> dict[str, Any]:
    """Everything that was bound in a run, the latest last: what its end is told with."""
    return {**handle.inherited, **handle.last_bound, **bound_here()}


class Carried(NamedTuple):
    """What a thread started by a run must know of it."""

    scope: Scope | None
    bound: Bound


NOTHING = Carried(None, _UNBOUND)


def carry(registry: RunRegistry) -> Carried | None:
    """What belongs to the current run; None where there is none."""
    scope = registry.scope()
    bound = _bound.get()
    return Carried(scope, bound) if scope is not None or bound.values else None


def receive(carried: Carried) -> None:
    """Take what was carried over into this thread's context."""
    _scope.set(carried.scope)
    _bound.set(carried.bound)
