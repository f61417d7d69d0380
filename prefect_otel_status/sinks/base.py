"""What a sink is: it gets records in batches, on our own thread, and may raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from prefect_otel_status.envelope import Envelope


@runtime_checkable
class Sink(Protocol):
    """A place that statuses and their kin go to.

    Its methods are called from one thread only, never the flow's. What they
    raise is counted, and harms neither the flow nor the other sinks.
    """

    name: str

    def accept(self, batch: Sequence[Envelope]) -> None:
        """Take BATCH, in the order in which it was said."""

    def flush(self) -> None:
        """Pass on whatever is held back. Called at a run's end and at exit."""

    def after_fork(self) -> None:
        """Forget what a parent process held back: it is the parent that passes it on."""

    def tick(self, now: int) -> int | None:
        """Pass on what is due at NOW; return when to call again, or None. Nanoseconds."""
