"""The budget of distinct values of each free-form label, over all series that exist."""

from __future__ import annotations

from collections import Counter, defaultdict

from prefect_otel_status import signals
from prefect_otel_status.sanitize import line
from prefect_otel_status.signals import OTHER, Metric

Labels = tuple[str, ...]
"""The values of a metric's labels, in its order."""

_Place = tuple[str, int]
"""A label: the name of its metric, and its place in it."""

_FIXED = frozenset(
    {
        signals.LEVEL,
        signals.RESULT,
        signals.TASK_RESULT,
        signals.DECISION,
        signals.STATE_TYPE,
        signals.RUN_STATE,
        signals.METRIC,
        signals.PATH,
        signals.OUTCOME,
    }
)
"""Labels whose values are few by nature, and need no budget."""


class KnownValues:
    """The label values that have series, with how many; so a value keeps its name over restarts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: defaultdict[_Place, Counter[str]] = defaultdict(Counter)

    def of(self, place: _Place) -> Counter[str]:
        """The values at PLACE that have series."""
        return self._known[place]

    def add(self, metric: Metric, labels: Labels) -> None:
        """A series of METRIC with LABELS exists from now on."""
        for place, value in _free(metric, labels):
            self._known[place][value] += 1

    def remove(self, metric: Metric, labels: Labels) -> None:
        """It is gone: a value that no other series has makes room for another."""
        for place, value in _free(metric, labels):
            known = self._known[place]
            known[value] -= 1
            if known[value] <= 0:
                del known[value]


class Folding:
    """Admits the labels of new series within the budget, and leaves what is known as it is."""

    def __init__(self, known: KnownValues) -> None:
        self._known = known
        self._new: defaultdict[_Place, set[str]] = defaultdict(set)

    def fold(self, metric: Metric, labels: Labels) -> tuple[Labels, int]:
        """LABELS with `__other__` for each value beyond the budget, and how many these were."""
        folded = [line(value) for value in labels]
        overflow = 0
        for place, value in _free(metric, tuple(folded)):
            if not self._admits(place, value):
                folded[place[1]] = OTHER
                overflow += 1
        return tuple(folded), overflow

    def _admits(self, place: _Place, value: str) -> bool:
        known, new = self._known.of(place), self._new[place]
        if value in known or value in new:
            return True
        if len(known) + len(new) >= self._known.limit:
            return False
        new.add(value)
        return True


def _free(metric: Metric, labels: Labels) -> list[tuple[_Place, str]]:
    return [
        ((metric.name, index), value)
        for index, (label, value) in enumerate(zip(metric.labels, labels, strict=True))
        if label not in _FIXED and value not in ("", OTHER)
    ]
