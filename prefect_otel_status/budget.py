"""A budget of distinct values for each free-form label of a metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from prefect_otel_status.signals import OTHER


class LabelBudgets:
    """Lets the first LIMIT distinct values of each label through, and folds the rest.

    Totals stay exact: what is folded is counted under `__other__`.
    `on_overflow` is called each time that a value is folded.
    """

    def __init__(self, limit: int, *, on_overflow: Callable[[], None]) -> None:
        self._limit = limit
        self._on_overflow = on_overflow
        self._seen: defaultdict[str, set[str]] = defaultdict(set)

    def admit(self, label: str, value: str) -> str:
        """VALUE, or `__other__` where the budget of LABEL is spent on other values."""
        seen = self._seen[label]
        if value in seen:
            return value
        if len(seen) < self._limit:
            seen.add(value)
            return value
        self._on_overflow()
        return OTHER
