"""Which series are held at an old value, until Prometheus has surely seen it."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")


class Holding(Generic[Key]):
    """Holds each series until PERIOD nanoseconds after the first scrape that showed it.

    Prometheus' `increase()` does not see the first sample of a series. A series
    that is new, or was not shown for a while, must therefore be scraped at its
    old value before it may go up.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._unseen: set[Key] = set()
        self._seen: dict[Key, int] = {}  # in the order of the scrapes

    def __contains__(self, key: Key) -> bool:
        return key in self._unseen or key in self._seen

    def hold(self, key: Key) -> None:
        """Hold KEY from now on."""
        self._seen.pop(key, None)
        self._unseen.add(key)

    def release(self, key: Key) -> None:
        """Let KEY follow its true value. Safe to repeat."""
        self._unseen.discard(key)
        self._seen.pop(key, None)

    def note_scrape(self, now: int) -> None:
        """A scrape showed every series that is held."""
        self._seen.update(dict.fromkeys(self._unseen, now))
        self._unseen.clear()

    def due(self, now: int) -> list[Key]:
        """The series that were held for long enough."""
        due = []
        for key, seen in self._seen.items():
            if now - seen < self._period:
                break
            due.append(key)
        return due
