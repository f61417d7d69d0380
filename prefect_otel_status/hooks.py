"""`flow_hooks` and `task_hooks`: state hooks that tell every change of state."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from prefect_otel_status import patches, runs, signals
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.failure import type_name
from prefect_otel_status.handler import Handler, call_handler
from prefect_otel_status.messages import say
from prefect_otel_status.model import ERROR_RESULTS, FINAL_TYPES, Transition, result_of
from prefect_otel_status.runs import RunHandle, Scope
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.sinks.artifact import link_trace

FLOW_HOOKS = ("on_running", "on_completion", "on_failure", "on_crashed", "on_cancellation")
TASK_HOOKS = ("on_running", "on_completion", "on_failure")

# What Prefect itself writes into states. Only the words of the flow's author
# are status messages; Prefect's are in the transition.
_PREFECTS_WORDS = re.compile(
    r"(?:Flow|Task) run encountered an exception\b.*"
    r"|(?:Flow|Task) run exceeded timeout of [\d.]+ second\(s\)"
    r"|(?:Flow|Task) run failed due to timeout: .*"
    r"|Execution was (?:cancelled|aborted|interrupted) by .*"
    r"|Flow run was cancelled\."
    r"|Flow run (?:process|infrastructure) exited with .*"
    r"|Flow run could not be submitted to infrastructure.*"
    r"|Process (?:for flow run .* )?exited with .*"
    r"|All states completed\."
    r"|\d+/\d+ states (?:failed|are not final|cancelled|paused)\."
    r"|Task rolled back as part of transaction",
    re.DOTALL,
)


def flow_hooks(*, handler: Handler | None = None, **own_hooks: Any) -> dict[str, Any]:
    """Keyword arguments for `@flow` that tell every change of state of its runs.

    `@flow(**flow_hooks(on_failure=[page_me]))`: hooks of your own are taken
    along and run first. HANDLER is the classic `fn(flow, old_state, new_state)`.

    Raises `TypeError` for a hook that flows do not have.
    """
    return _hooks("flow", FLOW_HOOKS, handler, own_hooks)


def task_hooks(*, handler: Handler | None = None, **own_hooks: Any) -> dict[str, Any]:
    """Keyword arguments for `@task` that tell every change of state of its runs.

    `@task(**task_hooks(on_failure=[page_me]), retries=2)`: hooks of your own
    are taken along and run first. HANDLER is the classic
    `fn(task, old_state, new_state)`.

    Raises `TypeError` for a hook that tasks do not have.
    """
    return _hooks("task", TASK_HOOKS, handler, own_hooks)


def _hooks(
    kind: str, names: tuple[str, ...], handler: Handler | None, own_hooks: dict[str, Any]
) -> dict[str, Any]:
    unknown = sorted(set(own_hooks) - set(names))
    if unknown:
        raise TypeError(
            f"{kind}_hooks() got {unknown[0]!r}, which is no hook of a {kind}; "
            f"use {', '.join(names)}."
        )
    _prepare()
    return {name: with_ours(own_hooks.get(name), kind, handler) for name in names}


def with_ours(hooks: Iterable[Any] | None, kind: str, handler: Handler | None = None) -> list[Any]:
    """HOOKS and, at their end, the one of ours; once, even if one is there already.

    At the end, because it ends the span in which the others may still speak.
    """
    found = list(hooks or ())
    ours = [hook for hook in found if isinstance(hook, StatusHook)]
    others = [hook for hook in found if not isinstance(hook, StatusHook)]
    if kind == "flow":
        others = [hook if isinstance(hook, OwnHook) else OwnHook(hook) for hook in others]
    if handler is None and ours:
        return [*others, ours[-1]]
    return [*others, (FlowHook if kind == "flow" else TaskHook)(handler)]


def _prepare() -> None:
    """Have Prefect's spans mended from the next run on. Never raises."""
    runtime = runtime_module.get()
    if runtime.enabled:
        runtime.guard("prepare", patches.prepare)


class StatusHook:
    """A state hook of ours. Safe to pickle; never raises.

    It ends a task's span, which waits for it; see `spans.RunSpan`.
    """

    ends_span = True

    def __init__(self, handler: Handler | None = None) -> None:
        self.handler = handler
        self.__name__ = signals.HOOK_NAME

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.handler)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.handler is getattr(other, "handler", None)

    def __hash__(self) -> int:
        return hash((type(self), self.handler))

    def _run(self, kind: str, obj: Any, prefect_run: Any, state: Any) -> None:
        runtime = runtime_module.get()
        if not runtime.enabled or prefect_run is None or state is None:
            return
        runtime.guard(
            "hook", lambda: HookCall(runtime, kind, obj, prefect_run, state).run(self.handler)
        )
        runtime.guard("hook_end", lambda: _after(runtime, prefect_run.id, state))


class OwnHook:
    """A flow hook of the user's, called so that what it says belongs to its run.

    In a flow's first hooks, and in a runner's process, Prefect shows no run or
    the parent's. What the hook returns and raises is Prefect's to deal with.
    """

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook
        functools.update_wrapper(self, hook, updated=())

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnHook, (self.hook,)

    def __eq__(self, other: object) -> bool:
        return self.hook == getattr(other, "hook", other)

    def __hash__(self) -> int:
        return hash(self.hook)

    def __call__(self, flow: Any, flow_run: Any, state: Any) -> Any:
        runtime = runtime_module.get()
        scope = runtime.guard("own_hook", lambda: _scope_of(runtime, flow, flow_run))
        token = runs.enter_scope(scope or runs.current_scope())
        try:
            result = self.hook(flow, flow_run, state)
        finally:
            runs.leave_scope(token)
        return _within(scope, result) if inspect.iscoroutine(result) else result


def _scope_of(runtime: Runtime, flow: Any, flow_run: Any) -> Scope | None:
    if not runtime.enabled:
        return None
    return forced_scope(_handle_of(runtime, "flow", flow, flow_run))


async def _within(scope: Scope | None, coroutine: Any) -> Any:
    token = runs.enter_scope(scope or runs.current_scope())
    try:
        return await coroutine
    finally:
        runs.leave_scope(token)


class FlowHook(StatusHook):
    """The hook of flows. Prefect's engine calls it positionally, its runner by keyword."""

    def __call__(self, flow: Any, flow_run: Any, state: Any) -> None:
        self._run("flow", flow, flow_run, state)


class TaskHook(StatusHook):
    """The hook of tasks."""

    def __call__(self, task: Any, task_run: Any, state: Any) -> None:
        self._run("task", task, task_run, state)


def _rebuild(kind: Callable[..., StatusHook], handler: Handler | None) -> StatusHook:
    # A worker process gets its tasks pickled: it must mend their spans too.
    _prepare()
    return kind(handler)


class HookCall:
    """One call of a hook: the transition, the state's own message, the handler."""

    def __init__(self, runtime: Runtime, kind: str, obj: Any, prefect_run: Any, state: Any) -> None:
        self._runtime = runtime
        self._obj = obj
        self._prefect_run = prefect_run
        self._state = state
        self._handle = _handle_of(runtime, kind, obj, prefect_run)

    def run(self, handler: Handler | None) -> None:
        """Tell the transition once, whatever Prefect repeats."""
        handle, state = self._handle, self._state
        state_id = str(state.id)
        if state_id in handle.states_seen:
            return
        handle.states_seen.add(state_id)
        old_state, handle.last_state = handle.last_state, state
        token = runs.enter_scope(forced_scope(handle))
        try:
            self._runtime.put(self._transition(old_state), handle.context)
            self._say_message()
            link_trace(
                handle,
                address=self._runtime.settings.trace_url,
                background=self._runtime.background,
            )
            if handler is not None and not handle.handler_hangs:
                self._handle_classically(handler, old_state)
        finally:
            runs.leave_scope(token)

    def _handle_classically(self, handler: Handler, old_state: Any) -> None:
        in_time = call_handler(
            handler,
            self._obj,
            old_state,
            self._state,
            timeout=self._runtime.settings.handler_timeout,
            tally=self._runtime.tally,
        )
        # One that hung once would hold each later transition up as well.
        self._handle.handler_hangs = not in_time

    def _transition(self, old_state: Any) -> Transition:
        handle, state = self._handle, self._state
        kind = state.type.value
        result = result_of(kind, state.name or "") if kind in FINAL_TYPES else None
        span = handle.span_context
        return Transition(
            run=handle.run,
            state_id=str(state.id),
            state_type=kind,
            state_name=state.name or kind.title(),
            message=state.message or "",
            previous=old_state.name if old_state is not None else None,
            attempt=handle.attempt,
            timestamp=_nanoseconds(state.timestamp),
            duration=self._duration() if result else None,
            result=result,
            error_type=self._error_type(result),
            bound=dict(self._runtime.bound_in_all(handle)),
            trace_id=span.trace_id,
            span_id=span.span_id,
            sampled=span.trace_flags.sampled,
        )

    def _duration(self) -> float | None:
        started = getattr(self._prefect_run, "start_time", None)
        if started is not None:
            seconds: float = (self._state.timestamp - started).total_seconds()
            return max(0.0, seconds)
        if self._handle.started:
            return max(0.0, (_nanoseconds(self._state.timestamp) - self._handle.started) / 1e9)
        return None

    def _error_type(self, result: str | None) -> str | None:
        if result not in ERROR_RESULTS:
            return None
        return self._handle.error_type or _error_type_of(self._state) or self._state.name

    def _say_message(self) -> None:
        """Say what the run's author wrote into the state, as in `Completed(message=...)`."""
        message = self._state.message
        if not message or _PREFECTS_WORDS.fullmatch(message):
            return
        failed = result_of(self._state.type.value, self._state.name or "") in ERROR_RESULTS
        say(self._runtime, message, {}, level="error" if failed else "info", origin="state")


def forced_scope(handle: RunHandle) -> Scope:
    """The scope of HANDLE's run, whatever run Prefect shows while a hook runs."""
    shown = runs.prefect_run_now()[0]
    return Scope(
        handle,
        handle.span_context,
        handle.buffer,
        around=runs.stage_of(runs.current_scope()),
        forced=True,
        forced_over=shown.id if shown is not None else None,
    )


def _handle_of(runtime: Runtime, kind: str, obj: Any, prefect_run: Any) -> RunHandle:
    known = runtime.registry.find(prefect_run.id)
    handle = known if known is not None else runtime.registry.open(prefect_run.id, kind)
    if handle.ended:
        return handle
    handle.prefect_run = prefect_run
    if kind == "flow" and (handle.context is None or not handle.run.flow_name):
        context = runs.context_of_flow_run(obj, prefect_run)
        handle.context = context
        context.run(lambda: runs.describe(handle, *runs.prefect_run_now()))
        handle.adopt_span(prefect_run)
        handle.presume_trace(prefect_run)
        if handle.span is not None:
            handle.span.name_it(handle)
    elif handle.context is None:
        runtime.registry.scope()
    return handle


def _error_type_of(state: Any) -> str | None:
    data = getattr(state, "data", None)
    data = getattr(data, "result", data)
    return type_name(data) if isinstance(data, BaseException) else None


def _nanoseconds(timestamp: Any) -> int:
    return int(timestamp.timestamp() * 1e9)


def _after(runtime: Runtime, run_id: UUID, state: Any) -> None:
    """End the span that waited for us; pass everything on when a top-level run is over."""
    if state.type.value not in FINAL_TYPES:
        return
    handle = runtime.registry.find(run_id)
    if handle is None:
        return
    if handle.span is None:
        runtime.registry.retire(run_id)
    elif handle.run.is_task:
        handle.span.finish()
    if not handle.run.is_task or handle.run.flow_run_id is None:
        runtime.run_ended()
