"""Counts of what went wrong with our own work, so that nothing is lost in silence."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from prefect_otel_status import sanitize, signals
from prefect_otel_status.redact import Redactor
from prefect_otel_status.signals import Metric

logger = logging.getLogger("prefect_otel_status")


class Tally:
    """Counts drops, flags, failures, overflows and redactions of this process.

    A failure is logged the first time that its place fails, and counted every
    time. Safe from any thread and after a fork.
    """

    def __init__(self, *, redact: Callable[[str], str] | None = None) -> None:
        self._redact = redact or Redactor()
        self._lock = threading.RLock()  # a signal handler may count while we do
        self._counts: Counter[tuple[Metric, str]] = Counter()
        self._logged: set[str] = set()

    def add(self, metric: Metric, label: str, count: int = 1) -> None:
        """Count COUNT more of METRIC (one of `signals.PROCESS_*`) under LABEL."""
        with self._lock:
            self._counts[metric, label] += count

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count COUNT records that could not be passed on, and say so once."""
        self.add(signals.PROCESS_DROPS, reason, count)
        self._log_once(f"drop:{reason}", "Status telemetry was dropped: %s.", reason)

    def failed(self, place: str, error: BaseException) -> None:
        """Count a failure of our own at PLACE, and log it the first time."""
        self.add(signals.PROCESS_FAILURES, place)
        self._log_once(
            f"fail:{place}",
            "Status telemetry failed at %s and goes on without: %s: %s",
            place,
            type(error).__name__,
            sanitize.line(self._redact(_words_of(error)), limit=500),
        )

    def read(self) -> dict[tuple[Metric, str], int]:
        """All counts so far, by metric and label."""
        with self._lock:
            return dict(self._counts)

    def after_fork(self) -> None:
        """Forget the parent's counts and lock."""
        self._lock = threading.RLock()  # a signal handler may count while we do
        self._counts = Counter()

    def _log_once(self, key: str, message: str, *arguments: object) -> None:
        if key not in self._logged:
            self._logged.add(key)
            logger.warning(message, *arguments)


def _words_of(error: BaseException) -> str:
    try:
        return str(error)[:2500]
    except Exception:
        return "(its message cannot be shown)"
