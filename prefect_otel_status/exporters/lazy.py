"""Exporters that are imported and built when the first batch leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from prefect_otel_status.tally import Tally

Factory = Callable[[], Any]


class _Lazy:
    """Builds the real exporter once per process: a parent's is unsafe after a fork."""

    def __init__(self, factory: Factory, tally: Tally, signal: str) -> None:
        self._factory = factory
        self._tally = tally
        self._signal = signal
        self._pid = 0
        self._built: Any = None

    def get(self) -> Any:
        """The real exporter; None, said once and counted, where it cannot be built."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._built = self._build()
        return self._built

    def run(self, call: Callable[[Any], Any], failure: Any, count: int) -> Any:
        """The result of CALL on the exporter; FAILURE, counted, where it cannot be had."""
        exporter = self.get()
        try:
            result = failure if exporter is None else call(exporter)
        except Exception as error:
            self._tally.failed(f"export_{self._signal}", error)
            result = failure
        if result is failure:
            self._tally.dropped(f"export_{self._signal}", count)
        return result

    def close(self) -> None:
        """Shut the exporter down, if this process ever built one."""
        if self._built is not None and self._pid == os.getpid():
            self._built.shutdown()

    def _build(self) -> Any:
        try:
            return self._factory()
        except Exception as error:
            self._tally.failed(f"exporter_{self._signal}", error)
            return None


class LazySpanExporter(SpanExporter):
    """Builds the exporter of FACTORY at the first batch."""

    def __init__(self, factory: Factory, tally: Tally) -> None:
        self._lazy = _Lazy(factory, tally, "traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        failure = SpanExportResult.FAILURE
        result: SpanExportResult = self._lazy.run(
            lambda real: real.export(spans), failure, len(spans)
        )
        return result

    def shutdown(self) -> None:
        self._lazy.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class LazyLogExporter(LogRecordExporter):
    """Builds the exporter of FACTORY at the first batch."""

    def __init__(self, factory: Factory, tally: Tally) -> None:
        self._lazy = _Lazy(factory, tally, "logs")

    def export(self, batch: Any) -> LogRecordExportResult:
        failure = LogRecordExportResult.FAILURE
        result: LogRecordExportResult = self._lazy.run(
            lambda real: real.export(batch), failure, len(batch)
        )
        return result

    def shutdown(self) -> None:
        self._lazy.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class LazyMetricExporter(MetricExporter):
    """Builds the exporter of FACTORY at the first batch.

    Temporality and aggregation are asked for before that, so they come from
    the standard variables here.
    """

    def __init__(self, factory: Factory, tally: Tally, **preferences: Any) -> None:
        super().__init__(**preferences)
        self._home = os.getpid()
        self._lazy = _Lazy(factory, tally, "metrics")

    def export(
        self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        if os.getpid() != self._home:
            return MetricExportResult.SUCCESS  # a parent's totals, which the parent sends
        failure = MetricExportResult.FAILURE
        result: MetricExportResult = self._lazy.run(
            lambda real: real.export(metrics_data, timeout_millis=timeout_millis, **kwargs),
            failure,
            1,
        )
        return result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._lazy.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True
