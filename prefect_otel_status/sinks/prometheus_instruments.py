"""The metrics in a registry of `prometheus_client`, for processes that Prometheus scrapes."""

from __future__ import annotations

import re
import threading
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from prefect_otel_status.signals import DURATION_BOUNDS, Kind, Metric
from prefect_otel_status.sinks.metric import Labels

_made: WeakKeyDictionary[CollectorRegistry, dict[Metric, Any]] = WeakKeyDictionary()
_lock = threading.Lock()
_RESERVED = frozenset({"le", "quantile"})
_FREE = re.compile(r"(?!__)[a-zA-Z_]")


class PrometheusInstruments:
    """Makes each metric of REGISTRY when it is first used, once per registry.

    With `PROMETHEUS_MULTIPROC_DIR` set it works across processes, as
    `prometheus_client` documents; gauges then show the most recent value.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def count(self, metric: Metric, labels: Labels, amount: int) -> None:
        self._child(metric, labels).inc(amount)

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        self._child(metric, labels).set(value)

    def observe(self, metric: Metric, labels: Labels, value: float, trace_id: str | None) -> None:
        exemplar = {"trace_id": trace_id} if trace_id else None
        self._child(metric, labels).observe(value, exemplar)

    def after_fork(self) -> None:
        """Have a lock of our own: a thread that the child has not may have held the parent's.

        The rest is `prometheus_client`'s, which knows its own process.
        """
        global _lock
        _lock = threading.Lock()

    def _child(self, metric: Metric, labels: Labels) -> Any:
        return self._family(metric, labels).labels(*(value for _, value in labels))

    def _family(self, metric: Metric, labels: Labels) -> Any:
        with _lock:
            families = _made.setdefault(self._registry, {})
            if metric not in families:
                families[metric] = self._make(metric, [_label(name) for name, _ in labels])
            return families[metric]

    def _make(self, metric: Metric, names: list[str]) -> Any:
        name = metric.prometheus_name.removesuffix("_total")
        if metric.kind is Kind.COUNTER:
            return Counter(name, metric.description, names, registry=self._registry)
        if metric.kind is Kind.GAUGE:
            return Gauge(
                name,
                metric.description,
                names,
                registry=self._registry,
                multiprocess_mode="mostrecent",
            )
        return Histogram(
            name, metric.description, names, registry=self._registry, buckets=DURATION_BOUNDS
        )


def _label(name: str) -> str:
    """NAME as Prometheus allows it; `le` and names with two leading underscores are its own."""
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"bound_{safe.lstrip('_')}" if safe in _RESERVED or not _FREE.match(safe) else safe
