"""Temporality and aggregation of metrics, by the standard variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_AGGREGATION = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The preferences that a metric exporter is made with, as ENVIRON asks for them."""
    wanted = environ.get(_TEMPORALITY, "").strip().lower()
    delta = AggregationTemporality.DELTA
    kinds: tuple[type, ...] = ()
    if wanted == "delta":
        kinds = (Counter, Histogram, ObservableCounter)
    elif wanted == "lowmemory":
        kinds = (Counter, Histogram)
    found: dict[str, Any] = {"preferred_temporality": dict.fromkeys(kinds, delta)}
    if environ.get(_AGGREGATION, "").strip().lower() == "base2_exponential_bucket_histogram":
        found["preferred_aggregation"] = {Histogram: ExponentialBucketHistogramAggregation()}
    return found
