"""What is wrong just now, said in the log when it begins, now and then, and when it is over."""

from __future__ import annotations

import logging
from collections.abc import Callable

MINUTE = 60 * 10**9

logger = logging.getLogger("prefect_otel_status.bridge")


class Seldom:
    """Lets a line through once in EVERY nanoseconds for each key."""

    def __init__(self, *, clock: Callable[[], int], every: int) -> None:
        self._clock = clock
        self._every = every
        self._last: dict[str, int] = {}

    def allows(self, key: str) -> bool:
        """Whether a line of KEY may be said now; it counts as said then."""
        now, last = self._clock(), self._last.get(key)
        if last is not None and now - last < self._every:
            return False
        self._last[key] = now
        return True


class Trouble:
    """A state of trouble: at most one line in ten minutes for each kind, and one at its end.

    `sentence` is what is wrong now, or None.
    """

    def __init__(self, *, clock: Callable[[], int]) -> None:
        self.sentence: str | None = None
        self._seldom = Seldom(clock=clock, every=10 * MINUTE)
        self._said = False

    def begin(self, kind: str, sentence: str) -> None:
        """It is wrong, or still wrong: SENTENCE says what and what becomes of the data."""
        self.sentence = sentence
        if self._seldom.allows(kind):
            logger.warning("%s", sentence)
            self._said = True

    def end(self, sentence: str) -> None:
        """It is over. SENTENCE is said where the trouble was."""
        if self._said:
            logger.info("%s", sentence)
        self.sentence, self._said = None, False
