"""Zero code: every flow and task gets our hooks, and can be rid of them again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # untyped
    BaseInstrumentor,
)
from prefect.flows import Flow
from prefect.tasks import Task

from prefect_otel_status import patches, wrapping
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.hooks import FLOW_HOOKS, TASK_HOOKS, with_ours


def instrument() -> None:
    """Give every flow and task made from now on our state hooks. Safe to repeat."""
    patches.prepare()
    wrapping.wrap(Flow, "__init__", _init_flow)
    wrapping.wrap(Task, "__init__", _init_task)


def uninstrument() -> None:
    """Take everything back. Flows and tasks made in between keep their hooks, which do no harm."""
    patches.undo()
    wrapping.unwrap(Flow, "__init__")
    wrapping.unwrap(Task, "__init__")


class PrefectInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped there
    """What `opentelemetry-instrument` loads."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("prefect >= 3.6, < 4",)

    def _instrument(self, **kwargs: Any) -> None:
        instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        uninstrument()


def _init_flow(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> None:
    wrapped(*args, **kwargs)
    _add_hooks(instance, "flow", FLOW_HOOKS)


def _init_task(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> None:
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
