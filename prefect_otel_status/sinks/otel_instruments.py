"""The metrics as instruments of OpenTelemetry's meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import Meter

from prefect_otel_status.signals import DURATION_BOUNDS, Kind, Metric
from prefect_otel_status.sinks.metric import Labels


class OtelInstruments:
    """Makes each instrument when it is first used. `meter` is asked for then, not before."""

    def __init__(self, meter: Callable[[], Meter]) -> None:
        self._meter = meter
        self._made: dict[Metric, Any] = {}

    def count(self, metric: Metric, labels: Labels, amount: int) -> None:
        self._instrument(metric).add(amount, _attributes(labels))

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        self._instrument(metric).set(value, _attributes(labels))

    def observe(self, metric: Metric, labels: Labels, value: float, trace_id: str | None) -> None:
        self._instrument(metric).record(value, _attributes(labels))

    def after_fork(self) -> None:
        """Let go of the parent's instruments."""
        self._made = {}

    def _instrument(self, metric: Metric) -> Any:
        if metric not in self._made:
            self._made[metric] = self._make(metric)
        return self._made[metric]

    def _make(self, metric: Metric) -> Any:
        meter = self._meter()
        if metric.kind is Kind.COUNTER:
            return meter.create_counter(metric.name, metric.unit, metric.description)
        if metric.kind is Kind.GAUGE:
            return meter.create_gauge(metric.name, metric.unit, metric.description)
        return meter.create_histogram(
            metric.name,
            metric.unit,
            metric.description,
            explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS),
        )


def _attributes(labels: Labels) -> dict[str, str]:
    return {name: value for name, value in labels if value}
