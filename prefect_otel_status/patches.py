"""What is put into Prefect, and how it is taken out again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import prefect.telemetry.run_telemetry as run_telemetry
from opentelemetry.trace import get_tracer
from prefect.client.orchestration import PrefectClient, SyncPrefectClient

from prefect_otel_status import binding, loglines, threads, wrapping
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.signals import PREFECT_RUN_NAME
from prefect_otel_status.spans import RunSpan, RunTracer

_PLACE = "get_tracer"
"""The name by which Prefect's telemetry asks for its tracer, at each run."""

_lock = threading.RLock()
_real_get_tracer: Any = None
_fork_registered = False


def prepare() -> None:
    """Have Prefect's spans mended and its run logs taken in. Safe to repeat.

    Enough for flows and tasks that have our hooks.
    """
    global _real_get_tracer
    _register_fork()
    with _lock:
        if _real_get_tracer is None:
            _real_get_tracer = getattr(run_telemetry, _PLACE)
            setattr(run_telemetry, _PLACE, _get_tracer)
        wrapping.wrap(run_telemetry.RunTelemetry, "update_run_name", _update_run_name)
        for client in (PrefectClient, SyncPrefectClient):
            wrapping.wrap(client, "create_flow_run_from_deployment", _create_flow_run)
        loglines.install()
        threads.install()


def _register_fork() -> None:
    """Have children begin with a free lock: who held it at the fork is not in them."""
    global _fork_registered
    if not _fork_registered and hasattr(os, "register_at_fork"):
        _fork_registered = True
        os.register_at_fork(after_in_child=_free_lock)


def _free_lock() -> None:
    global _lock
    _lock = threading.RLock()


def undo() -> None:
    """Leave Prefect as it was."""
    global _real_get_tracer
    with _lock:
        if _real_get_tracer is not None:
            setattr(run_telemetry, _PLACE, _real_get_tracer)
            _real_get_tracer = None
        wrapping.unwrap(run_telemetry.RunTelemetry, "update_run_name")
        for client in (PrefectClient, SyncPrefectClient):
            wrapping.unwrap(client, "create_flow_run_from_deployment")
        loglines.remove()
        threads.remove()


def _get_tracer(*args: Any, **kwargs: Any) -> Any:
    """The tracer that Prefect asks for at each run, wrapped; Prefect's own if that fails."""
    runtime = runtime_module.get()
    original = _real_get_tracer or get_tracer
    if not runtime.enabled:
        return original(*args, **kwargs)
    # Prefect sets its logging up after plugins have run, and drops our handler.
    runtime.guard("run_logs", loglines.install)

    def wrapped() -> RunTracer:
        return RunTracer(runtime.providers().tracer.get_tracer(*args, **kwargs), runtime)

    return runtime.guard("tracer", wrapped) or original(*args, **kwargs)


def _update_run_name(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Keep the run's name as an attribute: as a span's name it would be one name per run."""
    span = instance.span
    if not isinstance(span, RunSpan):
        return wrapped(*args, **kwargs)
    name = args[0] if args else kwargs.get("name", "")
    return span.set_attribute(PREFECT_RUN_NAME.name, runtime_module.get().cleaner.line(name))


def _create_flow_run(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    return binding.inherit(wrapped, args, kwargs)
