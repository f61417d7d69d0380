"""The statuses of one span, until it ends: never more than a span can hold."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

from prefect_otel_status.envelope import Envelope

# The SDK keeps 128 events on a span and drops the oldest. Prefect adds one for
# each state and exception, so a part is left to it.
_SPAN_LIMIT = "OTEL_SPAN_EVENT_COUNT_LIMIT"
_SHARE = 0.8


class EventBuffer:
    """Keeps the first, the last and the error statuses of a span; counts the others.

    Appending is cheap and safe from any thread: it happens on the flow's own.
    """

    __slots__ = ("_errors", "_first", "_last", "_limit", "appended", "closed")

    def __init__(self, limit: int | None = None) -> None:
        self._limit = max(3, limit or span_event_limit()) // 3
        self._first: list[Envelope] = []
        self._last: deque[Envelope] = deque(maxlen=self._limit)
        self._errors: deque[Envelope] = deque(maxlen=self._limit)
        self.appended = 0
        self.closed = False

    def append(self, envelope: Envelope, *, is_error: bool) -> None:
        """Keep ENVELOPE, at the cost of one from the middle where there is no room."""
        self.appended += 1
        if len(self._first) < self._limit:
            self._first.append(envelope)
        elif is_error:
            self._errors.append(envelope)
        else:
            self._last.append(envelope)

    def close(self) -> None:
        """Mark its span as ended: what is said from now on belongs elsewhere."""
        self.closed = True

    def __iter__(self) -> Iterator[Envelope]:
        """What was kept, in the order of time."""
        kept = [*self._first, *self._errors, *self._last]
        return iter(sorted(kept, key=lambda envelope: envelope.record.timestamp))

    @property
    def latest(self) -> Envelope | None:
        """The newest of them, if any."""
        kept = list(self)
        return kept[-1] if kept else None

    @property
    def dropped(self) -> int:
        """How many were left out."""
        return self.appended - len(self._first) - len(self._last) - len(self._errors)


def span_event_limit() -> int:
    """How many statuses a span may hold: the SDK's limit, less Prefect's share."""
    try:
        limit = int(os.environ.get(_SPAN_LIMIT, "") or 128)
    except ValueError:
        limit = 128
    return int(limit * _SHARE)
