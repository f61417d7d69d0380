"""Temporality and aggregation of metrics, by the standard variables."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    InMemoryMetricReader,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData

from prefect_otel_status.exporters.preferences import from_environment

TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
AGGREGATION = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
DELTA = AggregationTemporality.DELTA


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (None, []),
        ("", []),
        ("cumulative", []),
        ("sideways", []),
        ("delta", [Counter, Histogram, ObservableCounter]),
        (" Delta ", [Counter, Histogram, ObservableCounter]),
        ("LowMemory", [Counter, Histogram]),
    ],
)
def test_the_kinds_that_are_sent_as_deltas(wanted: str | None, kinds: list[type]) -> None:
    environ = {} if wanted is None else {TEMPORALITY: wanted}
    found = from_environment(environ)
    assert found == {"preferred_temporality": dict.fromkeys(kinds, DELTA)}
    assert not {UpDownCounter, ObservableUpDownCounter} & set(found["preferred_temporality"])


@pytest.mark.parametrize("wanted", ["explicit_bucket_histogram", "", "round"])
def test_histograms_have_their_declared_bounds_unless_others_are_asked_for(wanted: str) -> None:
    assert from_environment({AGGREGATION: wanted}) == {"preferred_temporality": {}}


def test_a_meter_follows_what_the_variables_ask_for() -> None:
    environ = {TEMPORALITY: "delta", AGGREGATION: "Base2_Exponential_Bucket_Histogram"}
    reader = InMemoryMetricReader(**from_environment(environ))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    meter.create_counter("count").add(1)
    meter.create_histogram("time").record(1.0)
    found = {metric.name: metric.data for metric in _metrics(reader)}
    assert {name: type(data) for name, data in found.items()} == {
        "count": Sum,
        "time": ExponentialHistogram,
    }
    assert {data.aggregation_temporality for data in found.values()} == {DELTA}
    provider.shutdown()


def test_a_meter_without_a_preference_is_cumulative() -> None:
    reader = InMemoryMetricReader(**from_environment({}))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_histogram("time").record(1.0)
    (found,) = _metrics(reader)
    assert type(found.data) is HistogramData
    assert found.data.aggregation_temporality == AggregationTemporality.CUMULATIVE
    provider.shutdown()


def _metrics(reader: InMemoryMetricReader):  # type: ignore[no-untyped-def]  # an SDK list
    data = reader.get_metrics_data()
    assert data is not None
    return data.resource_metrics[0].scope_metrics[0].metrics
