"""How long to wait between tries, and what to log while something is away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

_LOG_EVERY = 60.0


@dataclass
class Backoff:
    """Seconds to wait before the next try: doubled each time, spread by chance."""

    random: Callable[[], float]
    least: float = 0.5
    most: float = 30.0
    _failures: int = 0

    def next(self) -> float:
        """The next wait: between half and all of what is due."""
        due: float = min(self.most, self.least * 2 ** min(self._failures, 16))
        self._failures += 1
        return due * (0.5 + 0.5 * self.random())

    def reset(self) -> None:
        """Begin again with the shortest wait."""
        self._failures = 0


class Outage:
    """Logs that WHAT is away: when it breaks, once a minute while it lasts, when it is over."""

    def __init__(
        self, what: str, *, logger: logging.Logger, monotonic: Callable[[], float]
    ) -> None:
        self._what = what
        self._logger = logger
        self._monotonic = monotonic
        self._began: float | None = None
        self._logged = 0.0
        self._why = ""

    @property
    def sentence(self) -> str:
        """What is wrong now; empty while all is well."""
        return "" if self._began is None else f"{self._what} fails: {self._why}"

    def failed(self, why: str) -> None:
        """It is away, or still away, because of WHY."""
        self._why = why
        now = self._monotonic()
        if self._began is None:
            self._began = self._logged = now
            self._logger.warning("%s broke off: %s", self._what, why)
        elif now - self._logged >= _LOG_EVERY:
            self._logged = now
            away = now - self._began
            self._logger.warning("%s is away since %.0f s: %s", self._what, away, why)

    def over(self) -> None:
        """It works, or works again."""
        if self._began is not None:
            away = self._monotonic() - self._began
            self._logger.info("%s is back after %.0f s.", self._what, away)
            self._began = None
