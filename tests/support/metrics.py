"""Whole metric families, as a scrape shows them and as a metric reader does."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from prefect_otel_status.signals import DURATION_BOUNDS, Metric

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Family(NamedTuple):
    """All series of one metric: its type, its help, and each sample by name and labels."""

    kind: str
    help: str
    samples: Samples


def scrape(registry: CollectorRegistry) -> dict[str, Family]:
    """What a scrape of REGISTRY shows, by family, without the times of creation."""
    text = generate_latest(registry).decode("utf-8")
    found = {
        family.name: Family(
            family.type,
            family.documentation,
            {(sample.name, _sorted(sample.labels)): sample.value for sample in family.samples},
        )
        for family in text_string_to_metric_families(text)
    }
    return {name: family for name, family in found.items() if not name.endswith("_created")}


def counter(metric: Metric, *series: tuple[dict[str, str], float]) -> dict[str, Family]:
    """The family of the counter METRIC with these SERIES."""
    name = metric.prometheus_name
    samples = {(name, _sorted(labels)): value for labels, value in series}
    return {name.removesuffix("_total"): Family("counter", metric.description, samples)}


def gauge(metric: Metric, *series: tuple[dict[str, str], float]) -> dict[str, Family]:
    """The family of the gauge METRIC with these SERIES."""
    name = metric.prometheus_name
    samples = {(name, _sorted(labels)): value for labels, value in series}
    return {name: Family("gauge", metric.description, samples)}


def histogram(metric: Metric, *series: tuple[dict[str, str], list[float]]) -> dict[str, Family]:
    """The family of the histogram METRIC whose SERIES saw these values."""
    name = metric.prometheus_name
    samples: Samples = {}
    for labels, values in series:
        for bound in (*DURATION_BOUNDS, math.inf):
            le = "+Inf" if bound == math.inf else str(bound)
            key = (f"{name}_bucket", _sorted({**labels, "le": le}))
            samples[key] = float(sum(value <= bound for value in values))
        samples[f"{name}_count", _sorted(labels)] = float(len(values))
        samples[f"{name}_sum", _sorted(labels)] = sum(values)
    return {name: Family("histogram", metric.description, samples)}


def read(reader: InMemoryMetricReader) -> dict[str, dict[str, Any]]:
    """What READER collects: each metric's unit, description and points, times left out."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    found = data.resource_metrics[0].scope_metrics[0].metrics
    return {
        metric.name: {
            "unit": metric.unit,
            "description": metric.description,
            "kind": type(metric.data).__name__,
            "points": {_sorted(dict(p.attributes)): _value(p) for p in metric.data.data_points},
        }
        for metric in found
    }


def _value(point: Any) -> Any:
    if hasattr(point, "value"):
        return point.value
    return {"count": point.count, "sum": point.sum, "bounds": point.explicit_bounds}


def _sorted(labels: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))
