"""`track`: progress of long work, at most one status a second."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status import signals
from prefect_otel_status.messages import say
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.sinks.artifact import ProgressArtifact

T = TypeVar("T")
INTERVAL = 1.0
"""Seconds between two statuses of one `track`."""


@overload
def track(
    iterable: Iterable[T], template: str, /, *, total: int | None = None, **attributes: Any
) -> Iterator[T]: ...
@overload
def track(
    iterable: AsyncIterable[T], template: str, /, *, total: int | None = None, **attributes: Any
) -> AsyncIterator[T]: ...
def track(iterable: Any, template: str, /, *, total: int | None = None, **attributes: Any) -> Any:
    """Yield the items of ITERABLE, and say how far the work is.

    At most one status a second, the first and the last always. Each carries
    what is done, the total, the rate in items a second and the seconds that
    remain; TEMPLATE may use them as `{done}`, `{total}`, `{rate}` and
    `{remaining}` beside ATTRIBUTES. `total` is taken from `len()` where it can
    be. Async iterables give async iterators. What the work raises passes
    through; the last status then tells how far it came.
    """
    progress = Progress(template, total if total is not None else _length(iterable), attributes)
    return (
        _track_async(iterable, progress)
        if hasattr(iterable, "__aiter__")
        else _track(iterable, progress)
    )


def _track(iterable: Iterable[T], progress: Progress) -> Iterator[T]:
    try:
        for item in iterable:
            progress.start()
            yield item
            progress.step()
    finally:
        progress.finish()


async def _track_async(iterable: AsyncIterable[T], progress: Progress) -> AsyncIterator[T]:
    try:
        async for item in iterable:
            progress.start()
            yield item
            progress.step()
    finally:
        progress.finish()


def _length(iterable: Any) -> int | None:
    try:
        return len(iterable)
    except Exception:
        return None


class Progress:
    """Counts steps, and says so at most once an interval. Never raises."""

    def __init__(
        self,
        template: str,
        total: int | None,
        attributes: dict[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
        runtime: Runtime | None = None,
    ) -> None:
        self._template = template
        self._total = total if isinstance(total, (int, float)) and total > 0 else None
        self._attributes = attributes
        self._clock = clock
        self._runtime = runtime or runtime_module.get()
        self._artifact = ProgressArtifact(self._runtime.background)
        self._done = 0
        self._said = -1
        self._began = self._next = clock()

    def start(self) -> None:
        """Say that the work begins, once."""
        if self._said < 0:
            self._say()

    def step(self) -> None:
        """Count one item as done, and say so when it is time."""
        self._done += 1
        if self._clock() >= self._next:
            self._say()

    def finish(self) -> None:
        """Say where the work ended, unless that was the last thing said."""
        if self._said != self._done:
            self._say()

    def _say(self) -> None:
        self._said = self._done
        self._next = self._clock() + INTERVAL
        self._runtime.guard("track", self._say_now)

    def _say_now(self) -> None:
        if not self._runtime.enabled:
            return
        facts = self._facts()
        fraction = min(1.0, self._done / self._total) if self._total else None
        fields = {
            **{name.rpartition(".")[2]: value for name, value in facts.items()},
            **self._attributes,
        }
        attributes = {**self._attributes, **facts}
        said = say(
            self._runtime,
            self._template,
            _Fields(attributes, fields),
            progress=fraction,
            origin="track",
        )
        if fraction is not None and self._runtime.settings.progress_artifact:
            self._artifact.show(fraction, self._runtime.cleaner.text(said.message))

    def _facts(self) -> dict[str, Any]:
        seconds = self._clock() - self._began
        rate = self._done / seconds if seconds > 0 else 0.0
        facts: dict[str, Any] = {signals.DONE.name: self._done, signals.RATE.name: round(rate, 3)}
        if self._total is not None:
            facts[signals.TOTAL.name] = self._total
            if rate > 0:
                left = max(0, self._total - self._done)
                facts[signals.REMAINING.name] = round(left / rate, 3)
        return facts


class _Fields(dict[str, Any]):
    """Attributes under their full names, whose short names fill a template as well."""

    def __init__(self, attributes: dict[str, Any], fields: dict[str, Any]) -> None:
        super().__init__(attributes)
        self._fields = fields

    def __missing__(self, name: str) -> Any:
        return self._fields[name]
