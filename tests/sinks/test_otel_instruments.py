"""The metrics as instruments of OpenTelemetry's meter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from prefect_otel_status import signals
from prefect_otel_status.signals import DURATION_BOUNDS, Kind, Metric, declared
from prefect_otel_status.sinks.otel_instruments import OtelInstruments
from tests.support.metrics import read

METRICS = [
    metric for metric in declared(Metric) if isinstance(metric, Metric) and not metric.bridge_only
]


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def meter(reader: InMemoryMetricReader) -> Iterator[Callable[[], Meter]]:
    """Gives the meter of a real provider."""
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield lambda: provider.get_meter("test")
    provider.shutdown()


def test_a_counter_adds_up_by_its_labels(
    reader: InMemoryMetricReader, meter: Callable[[], Meter]
) -> None:
    instruments = OtelInstruments(meter)
    for label, amount in (("a", 1), ("b", 2), ("a", 3)):
        instruments.count(signals.PROCESS_DROPS, (("prefect_status.reason", label),), amount)
    assert read(reader) == {
        "prefect_status.process.drops": {
            "unit": "{record}",
            "description": "What this process could not pass on, by reason.",
            "kind": "Sum",
            "points": {
                (("prefect_status.reason", "a"),): 4,
                (("prefect_status.reason", "b"),): 2,
            },
        }
    }


def test_a_gauge_shows_the_latest_value(
    reader: InMemoryMetricReader, meter: Callable[[], Meter]
) -> None:
    instruments = OtelInstruments(meter)
    labels = (("cicd.pipeline.name", "train"), ("prefect_status.stage", "load"))
    instruments.set(signals.PROGRESS_RATIO, labels, 0.25)
    instruments.set(signals.PROGRESS_RATIO, labels, 0.5)
    assert read(reader) == {
        "prefect_status.progress": {
            "unit": "1",
            "description": "Latest progress, from 0 to 1.",
            "kind": "Gauge",
            "points": {labels: 0.5},
        }
    }


def test_a_histogram_has_the_declared_bounds(
    reader: InMemoryMetricReader, meter: Callable[[], Meter]
) -> None:
    instruments = OtelInstruments(meter)
    labels = (("cicd.pipeline.name", "train"),)
    for seconds in (0.05, 2.0):
        instruments.observe(signals.STAGE_DURATION, labels, seconds, "f" * 32)
    assert read(reader) == {
        "prefect_status.stage.duration": {
            "unit": "s",
            "description": "Duration of stages.",
            "kind": "Histogram",
            "points": {labels: {"count": 2, "sum": 2.05, "bounds": DURATION_BOUNDS}},
        }
    }


def test_empty_labels_are_left_out(
    reader: InMemoryMetricReader, meter: Callable[[], Meter]
) -> None:
    labels = (("cicd.pipeline.name", ""), ("prefect_status.reason", "a"))
    OtelInstruments(meter).count(signals.PROCESS_DROPS, labels, 1)
    (found,) = read(reader).values()
    assert found["points"] == {(("prefect_status.reason", "a"),): 1}


def test_the_meter_is_asked_for_at_the_first_use_of_each_metric(
    meter: Callable[[], Meter],
) -> None:
    asked: list[int] = []

    def ask() -> Meter:
        asked.append(1)
        return meter()

    instruments = OtelInstruments(ask)
    assert asked == []
    for metric in (signals.PROCESS_DROPS, signals.PROCESS_DROPS, signals.PROCESS_FLAGS):
        instruments.count(metric, (), 1)
    assert len(asked) == 2


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_can_be_made_and_keeps_its_name_unit_and_description(
    metric: Metric, reader: InMemoryMetricReader, meter: Callable[[], Meter]
) -> None:
    instruments = OtelInstruments(meter)
    use: dict[Kind, Callable[[], Any]] = {
        Kind.COUNTER: lambda: instruments.count(metric, (), 1),
        Kind.GAUGE: lambda: instruments.set(metric, (), 1.0),
        Kind.HISTOGRAM: lambda: instruments.observe(metric, (), 1.0, None),
    }
    use[metric.kind]()
    found = {name: (data["unit"], data["description"]) for name, data in read(reader).items()}
    assert found == {metric.name: (metric.unit, metric.description)}
