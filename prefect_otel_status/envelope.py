"""A record on its way to the sinks, cleaned once, by whoever needs it first."""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any

from prefect_otel_status.model import Record

if TYPE_CHECKING:
    from prefect_otel_status.cleaner import Cleaner


class Envelope:
    """A raw record with the context in which it was said.

    `context` is the copy of the flow's context in which Prefect must be called
    for it: from a bare thread Prefect would attach the wrong run.
    """

    __slots__ = ("_clean", "_cleaner", "context", "record")

    def __init__(self, record: Any, cleaner: Cleaner, context: Context | None = None) -> None:
        self.record = record
        self.context = context
        self._cleaner = cleaner
        self._clean: Record | None = None

    def clean(self) -> Any:
        """The record, safe for every sink. Two threads at once get equal records."""
        found = self._clean
        if found is None:
            found = self._clean = self._cleaner.clean(self.record)
        return found
