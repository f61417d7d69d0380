"""`stage`: a named part of a run, as a child span that is sent as soon as it closes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from contextvars import Token
from types import TracebackType
from typing import Any, TypeVar

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode
from opentelemetry.trace import Status as SpanStatus

from prefect_otel_status import runs, signals
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.buffer import EventBuffer
from prefect_otel_status.failure import exception_attributes, type_name
from prefect_otel_status.model import StageEnd, StageStart
from prefect_otel_status.runs import RunHandle, Scope
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.sinks import attributes as attributes_of
from prefect_otel_status.sinks.span import write_events, write_latest

F = TypeVar("F", bound=Callable[..., Any])


class _Open:
    """One entry of a stage, until it is left."""

    __slots__ = (
        "buffer",
        "otel_context",
        "otel_token",
        "parent_span_id",
        "scope_token",
        "span",
        "started",
    )

    def __init__(self, span: Span, buffer: EventBuffer, started: int) -> None:
        self.span = span
        self.buffer = buffer
        self.started = started
        self.parent_span_id = 0
        self.otel_context: Any = None
        self.otel_token: Any = None
        self.scope_token: Token[Scope | None] | None = None


class stage:  # noqa: N801  (used like a function)
    """Mark a part of a run: a child span, a duration, and the stage of what is said inside.

    A context manager and a decorator, for sync and async code::

        with stage("evaluate", dataset="digits"):
            ...

        @stage("promote")
        async def promote(): ...

    ATTRIBUTES become attributes of the span. An exception marks it as failed
    and passes through unchanged. Stages nest; spans of other instrumentations
    that are made inside it hang below it. The same object may be entered again
    inside itself.
    """

    def __init__(self, name: str, /, **attributes: Any) -> None:
        self._name = name
        self._attributes = attributes
        self._entered: list[_Open | None] = []

    def __enter__(self) -> stage:
        self._entered.append(self._enter())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered = self._entered.pop() if self._entered else None
        if entered is not None:
            self._leave(entered, error)

    async def __aenter__(self) -> stage:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """FUNCTION, each call of which is a stage of its own."""
        decorated: F = _decorate(function, lambda: stage(self._name, **self._attributes))
        return decorated

    def _enter(self) -> _Open | None:
        runtime = runtime_module.get()
        return (
            runtime.guard("stage_start", lambda: self._open(runtime)) if runtime.enabled else None
        )

    def _open(self, runtime: Runtime) -> _Open:
        outer = runtime.registry.scope()
        name = runtime.cleaner.line(self._name)
        context = _parent(outer)
        span = runtime.tracer().start_span(
            name, context=context, attributes=self._span_attributes(runtime, outer, name)
        )
        opened = _Open(span, EventBuffer(), runtime.clock())
        opened.parent_span_id = trace.get_current_span(context).get_span_context().span_id
        handle = outer.handle if outer is not None else None
        scope = Scope(handle, span.get_span_context(), opened.buffer, name)
        if outer is not None and outer.forced:
            scope = scope._replace(forced=True, forced_over=outer.forced_over)
        opened.scope_token = runs.enter_scope(scope)
        opened.otel_context = trace.set_span_in_context(span)
        opened.otel_token = context_api.attach(opened.otel_context)
        self._tell(runtime, handle, opened, name)
        return opened

    def _tell(self, runtime: Runtime, handle: RunHandle | None, opened: _Open, name: str) -> None:
        """Tell that it opened: where the process is killed, that is how its span is known."""
        if handle is not None:
            span_id = opened.span.get_span_context().span_id
            start = StageStart(name, handle.run, opened.started, span_id, opened.parent_span_id)
            runtime.put(start, handle.context)

    def _span_attributes(self, runtime: Runtime, outer: Scope | None, name: str) -> dict[str, Any]:
        handle = outer.handle if outer is not None else None
        found = runtime.cleaner.attributes({**runtime.bound(handle), **self._attributes})
        run = handle.run if handle is not None else None
        found.update(attributes_of.of_run(runtime.cleaner.run(run)))
        found[signals.STAGE.name] = name
        return found

    def _leave(self, opened: _Open, error: BaseException | None) -> None:
        runtime = runtime_module.get()
        if opened.scope_token is not None:
            runs.leave_scope(opened.scope_token)
        # A generator may be closed in another context than it was opened in;
        # there is nothing to detach there.
        if context_api.get_current() is opened.otel_context:
            context_api.detach(opened.otel_token)
        runtime.guard("stage_end", lambda: self._close(runtime, opened, error))

    def _close(self, runtime: Runtime, opened: _Open, error: BaseException | None) -> None:
        failed = error is not None and not isinstance(error, GeneratorExit)
        result = "failure" if failed else "success"
        span = opened.span
        span.set_attribute(signals.RESULT.name, result)
        if failed and error is not None:
            _mark_failed(runtime, span, error)
        latest = 0
        opened.buffer.close()
        if span.is_recording():
            write_latest(span, opened.buffer.latest)
            latest = write_events(span, opened.buffer)
        now = runtime.clock()
        span.end(max(now, latest))
        self._measure(runtime, opened, result, now)

    def _measure(self, runtime: Runtime, opened: _Open, result: str, now: int) -> None:
        scope = runtime.registry.scope()
        handle = scope.handle if scope is not None else None
        run = handle.run if handle is not None else None
        bound = dict(runtime.bound(handle))
        end = StageEnd(
            self._name,
            max(0.0, (now - opened.started) / 1e9),
            result,
            run,
            bound,
            opened.started,
            now,
            opened.span.get_span_context().span_id,
            opened.parent_span_id,
        )
        runtime.put(end, handle.context if handle is not None else None)


def _parent(outer: Scope | None) -> context_api.Context | None:
    """The context below which a stage's span belongs: what is current, else the run's own span."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid or outer is None or not outer.span_context.is_valid:
        return None
    return trace.set_span_in_context(trace.NonRecordingSpan(outer.span_context))


def _mark_failed(runtime: Runtime, span: Span, error: BaseException) -> None:
    words = exception_attributes(error, clean=runtime.cleaner.text)
    span.set_attribute(signals.ERROR_TYPE.name, type_name(error))
    description = f"{type_name(error)}: {words['exception.message']}"
    span.set_status(SpanStatus(StatusCode.ERROR, description))
    with suppress(Exception):  # the SDK asks the exception for its words once more
        span.record_exception(error, words)


def _decorate(function: Any, make: Callable[[], stage]) -> Any:
    if inspect.isasyncgenfunction(function):
        return _decorate_async_generator(function, make)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with make():
                return await function(*args, **kwargs)

        return call_async
    if inspect.isgeneratorfunction(function):
        return _decorate_generator(function, make)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return call


def _decorate_generator(function: Any, make: Callable[[], stage]) -> Any:
    @functools.wraps(function)
    def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with make():
            return (yield from function(*args, **kwargs))

    return generate


def _decorate_async_generator(function: Any, make: Callable[[], stage]) -> Any:
    @functools.wraps(function)
    async def generate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with make():
            async with aclosing(function(*args, **kwargs)) as inner:
                step = inner.asend(None)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = inner.asend((yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # thrown in: the inner one's to deal with
                        step = inner.athrow(error)

    return generate
