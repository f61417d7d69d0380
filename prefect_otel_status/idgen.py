"""Give a root span the trace id that follows from its run id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

_planned: ContextVar[int | None] = ContextVar("prefect_otel_status_trace_id", default=None)


@contextmanager
def planned_trace_id(trace_id: int | None) -> Iterator[None]:
    """Let the next root span started in this context have TRACE_ID."""
    token = _planned.set(trace_id)
    try:
        yield
    finally:
        _planned.reset(token)


class RunIdGenerator(IdGenerator):
    """The given generator, but for trace ids that were planned from a run id."""

    def __init__(self, inner: Any = None) -> None:
        self._inner = inner or RandomIdGenerator()

    def generate_span_id(self) -> int:
        return int(self._inner.generate_span_id())

    def generate_trace_id(self) -> int:
        planned = _planned.get()
        return int(self._inner.generate_trace_id()) if planned is None else planned

    def is_trace_id_random(self) -> bool:
        """False for a planned id: its bits follow from the run id."""
        if _planned.get() is not None:
            return False
        inner = getattr(self._inner, "is_trace_id_random", None)
        return bool(inner()) if inner else False


def install(tracer: Any) -> bool:
    """Let TRACER, of whatever provider, take planned trace ids; tell whether it can."""
    for _ in range(4):
        generator = getattr(tracer, "id_generator", None)
        if generator is not None:
            if not isinstance(generator, RunIdGenerator):
                tracer.id_generator = RunIdGenerator(generator)
            return True
        tracer = getattr(tracer, "_tracer", None) or getattr(tracer, "tracer", None)
    return False
