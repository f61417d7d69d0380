"""Steps added up beside the series that exist, so that a transaction may yet fail."""

from __future__ import annotations

import logging
import math
from functools import cache
from typing import Any, Protocol

from prefect_otel_status import signals
from prefect_otel_status.bridge.folding import Folding, Labels
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.values import (
    Buckets,
    Exemplar,
    Exemplars,
    Series,
    Value,
    bucket_of,
    zero,
)
from prefect_otel_status.signals import Kind, Metric

logger = logging.getLogger("prefect_otel_status.bridge")

Key = tuple[str, Labels]
"""A series: the OpenTelemetry name of its metric, and its label values."""

_WITH_EXEMPLARS = frozenset({signals.RUN_ERRORS.name})
"""Counters that keep an exemplar; histograms all do."""


class Existing(Protocol):
    """The series that exist."""

    def find(self, key: Key) -> Series | None:
        """The series KEY, if it exists."""

    def exemplars_of(self, key: Key) -> Exemplars | None:
        """The exemplars of the series KEY, if it has any."""

    def is_held(self, key: Key) -> bool:
        """Whether KEY does not follow its true value yet."""

    def folding(self) -> Folding:
        """Names for series to come, within the budget."""


class Staging:
    """Adds up what is stepped, and leaves what exists as it is."""

    def __init__(self, existing: Existing, now: int) -> None:
        self._existing = existing
        self._now = now
        self._folding = existing.folding()
        self.rows: dict[Key, Series] = {}
        self.exemplars: dict[Key, Exemplars] = {}

    def step(self, step: Step) -> None:
        """Add STEP. Raises `ValueError` for a metric or labels that do not exist."""
        metric = _metric_of(step)
        if not math.isfinite(step.value):
            logger.warning("A step of %s is not a number and was passed over", metric.name)
            return
        key = self._admit(metric, step.labels)
        if metric.kind is Kind.GAUGE:
            self._read(key, step)
        else:
            self._count(metric, key, step)

    def _admit(self, metric: Metric, labels: Labels) -> Key:
        key = (metric.name, labels)
        if self._find(key) is not None:
            return key
        folded, overflow = self._folding.fold(metric, labels)
        if overflow:
            self.step(Step(signals.BRIDGE_OVERFLOW.name, (metric.name,), float(overflow)))
        return (metric.name, folded)

    def _find(self, key: Key) -> Series | None:
        return self.rows.get(key) or self._existing.find(key)

    def _read(self, key: Key, step: Step) -> None:
        at = step.at or self._now
        before = self._find(key)
        if before is None or at >= before.stepped:
            self.rows[key] = Series(float(step.value), float(step.value), at)

    def _count(self, metric: Metric, key: Key, step: Step) -> None:
        before = self._find(key) or Series(zero(metric), zero(metric))
        amount = max(0.0, step.value)  # a clock that was set back must not make a sum fall
        value = _stepped(before.value, amount)
        held = self._existing.find(key) is None or self._existing.is_held(key)
        self.rows[key] = Series(value, before.shown if held else value, self._now)
        if step.trace_id and (isinstance(value, Buckets) or metric.name in _WITH_EXEMPLARS):
            self._exemplify(key, value, Exemplar(step.trace_id, amount, step.at or self._now))

    def _exemplify(self, key: Key, value: Value, exemplar: Exemplar) -> None:
        places, place = (1, 0)
        if isinstance(value, Buckets):
            places, place = len(value.counts), bucket_of(exemplar.value)
        before = self.exemplars.get(key) or self._existing.exemplars_of(key) or (None,) * places
        self.exemplars[key] = (*before[:place], exemplar, *before[place + 1 :])


def _stepped(value: Value, amount: float) -> Value:
    return value.seeing(amount) if isinstance(value, Buckets) else value + amount


@cache
def metrics_by_name() -> dict[str, Metric]:
    """Every metric, by its OpenTelemetry name, in the order of `signals`."""
    declared: list[Any] = signals.declared(Metric)
    return {metric.name: metric for metric in declared}


def _metric_of(step: Step) -> Metric:
    metric = metrics_by_name().get(step.metric)
    if metric is None:
        raise ValueError(f"no metric is named {step.metric!r}")
    if len(step.labels) != len(metric.labels):
        raise ValueError(f"{step.metric} has {len(metric.labels)} labels, not {len(step.labels)}")
    return metric
