"""The bridge's metrics as an OTLP message: what a scrape may see, for those who push."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage

from prefect_otel_status import signals
from prefect_otel_status.bridge.exposition import Family
from prefect_otel_status.bridge.folding import Labels
from prefect_otel_status.bridge.otlp import Resource
from prefect_otel_status.bridge.values import Buckets, Exemplar, Exemplars, Value
from prefect_otel_status.signals import DURATION_BOUNDS, Kind, Metric
from prefect_otel_status.version import VERSION

_CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
_BATCH = 2_000
"""Data points of one message; with histograms of 19 buckets it stays far below 4 MiB."""


def messages(
    families: Iterable[Family], resource: Resource, *, since: int, now: int
) -> Iterator[bytes]:
    """FAMILIES as `ResourceMetrics`, each a part of a request. Totals count from SINCE."""
    batch: list[pb.Metric] = []
    size = 0
    for family in families:
        for start in range(0, len(family.samples), _BATCH):
            samples = family.samples[start : start + _BATCH]
            if size + len(samples) > _BATCH and batch:
                yield _framed(batch, resource)
                batch, size = [], 0
            batch.append(_metric(family, samples, since, now))
            size += len(samples)
    if batch:
        yield _framed(batch, resource)


def _framed(metrics: list[pb.Metric], resource: Resource) -> bytes:
    scope = InstrumentationScope(name=signals.SCOPE, version=VERSION)
    of_resource = [_pair(name, value) for name, value in resource.attributes]
    message = pb.ResourceMetrics(
        resource=ResourceMessage(attributes=of_resource),
        scope_metrics=[pb.ScopeMetrics(scope=scope, metrics=metrics)],
    )
    # Only the part: `otlp.request` joins parts into a request.
    return message.SerializeToString(deterministic=True)


def _metric(family: Family, samples: Any, since: int, now: int) -> pb.Metric:
    metric = family.metric
    found = pb.Metric(name=metric.name, unit=metric.unit, description=metric.description)
    if metric.kind is Kind.HISTOGRAM:
        points = [
            _histogram(metric, labels, value, family.exemplars.get(labels, ()), since, now)
            for labels, value in samples
        ]
        found.histogram.aggregation_temporality = _CUMULATIVE
        found.histogram.data_points.extend(points)
        return found
    numbers = [_number(metric, labels, value, since, now) for labels, value in samples]
    if metric.kind is Kind.GAUGE:
        found.gauge.data_points.extend(numbers)
    else:
        found.sum.aggregation_temporality = _CUMULATIVE
        found.sum.is_monotonic = metric.kind is Kind.COUNTER
        found.sum.data_points.extend(numbers)
    return found


def _number(metric: Metric, labels: Labels, value: Value, since: int, now: int) -> Any:
    assert not isinstance(value, Buckets)  # only histograms have them
    return pb.NumberDataPoint(
        attributes=_attributes(metric, labels),
        start_time_unix_nano=0 if metric.kind is Kind.GAUGE else since,
        time_unix_nano=now,
        as_double=value,
    )


def _histogram(
    metric: Metric, labels: Labels, value: Value, exemplars: Exemplars, since: int, now: int
) -> pb.HistogramDataPoint:
    assert isinstance(value, Buckets)  # the value of each histogram
    return pb.HistogramDataPoint(
        attributes=_attributes(metric, labels),
        start_time_unix_nano=since,
        time_unix_nano=now,
        count=sum(value.counts),
        sum=value.sum,
        bucket_counts=value.counts,
        explicit_bounds=DURATION_BOUNDS,
        exemplars=[_exemplar(exemplar) for exemplar in exemplars if exemplar],
    )


def _exemplar(exemplar: Exemplar) -> pb.Exemplar:
    return pb.Exemplar(
        time_unix_nano=exemplar.at,
        as_double=exemplar.value,
        trace_id=bytes.fromhex(exemplar.trace_id),
    )


def _attributes(metric: Metric, labels: Labels) -> list[KeyValue]:
    pairs = zip(metric.labels, labels, strict=True)
    return [_pair(attribute.name, value) for attribute, value in pairs if value]


def _pair(name: str, value: object) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=str(value)))
