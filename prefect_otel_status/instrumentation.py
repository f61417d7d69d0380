"""Put ourselves into Prefect, and take ourselves out again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

import prefect.telemetry.run_telemetry as run_telemetry
import wrapt
from opentelemetry.instrumentation.instrumentor import (
    BaseInstrumentor,  # type: ignore[attr-defined]  # its module does not re-export it
)
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.flows import Flow
from prefect.tasks import Task

from prefect_otel_status import binding, loglines, threads
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.hooks import FLOW_HOOKS, TASK_HOOKS, with_ours
from prefect_otel_status.spans import RunSpan, RunTracer

Wrapper = Callable[[Callable[..., Any], Any, Any, Any], Any]

_PLACE = "get_tracer"
"""The name by which Prefect's telemetry asks for its tracer, at each run."""

_lock = threading.RLock()
_real_get_tracer: Any = None


def prepare() -> None:
    """Have Prefect's spans mended and its run logs taken in. Safe to repeat.

    Enough for flows and tasks that have our hooks.
    """
    global _real_get_tracer
    with _lock:
        if _real_get_tracer is None:
            _real_get_tracer = getattr(run_telemetry, _PLACE)
            setattr(run_telemetry, _PLACE, _get_tracer)
        _wrap(run_telemetry.RunTelemetry, "update_run_name", _update_run_name)
        for client in (PrefectClient, SyncPrefectClient):
            _wrap(client, "create_flow_run_from_deployment", _create_flow_run)
        loglines.install()
        threads.install()


def instrument() -> None:
    """Give every flow and task made from now on our state hooks. Safe to repeat."""
    with _lock:
        prepare()
        _wrap(Flow, "__init__", _init_flow)
        _wrap(Task, "__init__", _init_task)


def uninstrument() -> None:
    """Take everything back. Flows and tasks made in between keep their hooks, which do no harm."""
    global _real_get_tracer
    with _lock:
        if _real_get_tracer is not None:
            setattr(run_telemetry, _PLACE, _real_get_tracer)
            _real_get_tracer = None
        _unwrap(run_telemetry.RunTelemetry, "update_run_name")
        for client in (PrefectClient, SyncPrefectClient):
            _unwrap(client, "create_flow_run_from_deployment")
        loglines.remove()
        threads.remove()
        _unwrap(Flow, "__init__")
        _unwrap(Task, "__init__")


class PrefectInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped there
    """What `opentelemetry-instrument` loads."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("prefect >= 3.6, < 4",)

    def _instrument(self, **kwargs: Any) -> None:
        instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        uninstrument()


def _get_tracer(*args: Any, **kwargs: Any) -> Any:
    """The tracer that Prefect asks for at each run, wrapped; Prefect's own if that fails."""
    runtime = runtime_module.get()
    if not runtime.enabled:
        return _original(*args, **kwargs)

    def wrapped() -> RunTracer:
        return RunTracer(runtime.providers().tracer.get_tracer(*args, **kwargs), runtime)

    return runtime.guard("tracer", wrapped) or _original(*args, **kwargs)


def _original(*args: Any, **kwargs: Any) -> Any:
    from opentelemetry.trace import get_tracer

    return (_real_get_tracer or get_tracer)(*args, **kwargs)


def _update_run_name(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Keep the run's name as an attribute: as a span's name it would be one name per run."""
    span = instance.span
    if not isinstance(span, RunSpan):
        return wrapped(*args, **kwargs)
    from prefect_otel_status.signals import PREFECT_RUN_NAME

    name = args[0] if args else kwargs.get("name", "")
    return span.set_attribute(PREFECT_RUN_NAME.name, name)


def _create_flow_run(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    return binding.inherit(wrapped, args, kwargs)


def _init_flow(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    wrapped(*args, **kwargs)
    _add_hooks(instance, "flow", FLOW_HOOKS)


def _init_task(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    wrapped(*args, **kwargs)
    _add_hooks(instance, "task", TASK_HOOKS)


def _add_hooks(instance: Any, kind: str, names: tuple[str, ...]) -> None:
    runtime = runtime_module.get()
    if runtime.enabled:
        runtime.guard("instrument", lambda: _set_hooks(instance, kind, names))


def _set_hooks(instance: Any, kind: str, names: tuple[str, ...]) -> None:
    for name in names:
        attribute = f"{name}_hooks"
        setattr(instance, attribute, with_ours(getattr(instance, attribute, None), kind))


def _wrap(owner: type, name: str, wrapper: Wrapper) -> None:
    home = _home(owner, name)
    if not isinstance(home.__dict__[name], wrapt.FunctionWrapper):
        wrapt.wrap_function_wrapper(home, name, wrapper)


def _unwrap(owner: type, name: str) -> None:
    home = _home(owner, name)
    current = home.__dict__[name]
    if isinstance(current, wrapt.FunctionWrapper):
        setattr(home, name, current.__wrapped__)


def _home(owner: type, name: str) -> type:
    """The class that OWNER has NAME from."""
    return next(base for base in owner.__mro__ if name in base.__dict__)
