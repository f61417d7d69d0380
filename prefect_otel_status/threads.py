"""Let threads that a run starts speak for that run.

Context variables do not travel into new threads. Only what is OpenTelemetry's
and ours is carried over: with all of it, Prefect would take a flow that is
called in a thread for a subflow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opentelemetry import context as context_api

from prefect_otel_status import runs, wrapping
from prefect_otel_status import runtime as runtime_module

_OURS = "prefect-otel-status"
_LIBRARIES = (
    "concurrent.futures",
    "opentelemetry.",
    "prefect.",
    "grpc",
    "anyio",
    "distributed.",
)


class _Baggage:
    """What a new thread is given."""

    __slots__ = ("carried", "otel")

    def __init__(self, carried: runs.Carried, otel: Any) -> None:
        self.carried = carried
        self.otel = otel

    def run(self, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """CALL with what was carried over in place."""
        runs.receive(self.carried)
        token = context_api.attach(self.otel)
        try:
            return call(*args, **kwargs)
        finally:
            context_api.detach(token)
            runs.receive(runs.NOTHING)


def _pack() -> _Baggage | None:
    runtime = runtime_module.get()
    carried = runtime.guard("thread", lambda: runs.carry(runtime.registry))
    return None if carried is None else _Baggage(carried, context_api.get_current())


def _start(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    baggage = None if _is_a_librarys(instance) else _pack()
    if baggage is not None:
        _load(instance, baggage)
    return wrapped(*args, **kwargs)


def _load(thread: threading.Thread, baggage: _Baggage) -> None:
    """Have THREAD run with BAGGAGE: on the object, for its class may have a `run` of its own."""
    run = thread.run

    def carrying() -> None:
        del thread.__dict__["run"]
        baggage.run(run, (), {})

    thread.run = carrying  # type: ignore[method-assign]  # for this one thread only


def _is_a_librarys(thread: threading.Thread) -> bool:
    """Whether THREAD serves more than the run that happens to start it.

    Workers of executors, exporters and Prefect's own services live on; what is
    submitted to an executor carries its own.
    """
    target = getattr(thread, "_target", None)
    home = getattr(target, "__module__", None) or type(thread).__module__
    return home.startswith(_LIBRARIES) or thread.name.startswith(_OURS)


def _submit(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    baggage = _pack() if args else None
    if baggage is None:
        return wrapped(*args, **kwargs)
    call, *rest = args

    def carried(*inner: Any, **named: Any) -> Any:
        return baggage.run(call, inner, named)

    return wrapped(carried, *rest, **kwargs)


_PLACES = (
    (threading.Thread, "start", _start),
    (ThreadPoolExecutor, "submit", _submit),
)


def install() -> None:
    """Carry over from now on. Safe to repeat."""
    for owner, name, wrapper in _PLACES:
        wrapping.wrap(owner, name, wrapper)


def remove() -> None:
    """Stop carrying over."""
    for owner, name, _ in _PLACES:
        wrapping.unwrap(owner, name)
