"""Exporters that are built when the first batch leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from prefect_otel_status import signals
from prefect_otel_status.exporters.lazy import (
    LazyLogExporter,
    LazyMetricExporter,
    LazySpanExporter,
)
from prefect_otel_status.tally import Tally

Lazy = Callable[..., Any]

CASES = [
    pytest.param(LazySpanExporter, SpanExportResult, "traces", ["a", "b"], 2, id="spans"),
    pytest.param(LazyLogExporter, LogRecordExportResult, "logs", ["a", "b", "c"], 3, id="logs"),
    pytest.param(LazyMetricExporter, MetricExportResult, "metrics", object(), 1, id="metrics"),
]
each_signal = pytest.mark.parametrize(("lazy", "results", "signal", "batch", "count"), CASES)


class Exporter:
    """A real exporter's shape: answers with what it was made with, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.batches: list[Any] = []
        self.is_shut_down = False

    def export(self, batch: Any, **options: Any) -> Any:
        self.batches.append((batch, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def shutdown(self) -> None:
        self.is_shut_down = True


class Factory:
    """Makes exporters and counts them."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.made: list[Exporter] = []

    def __call__(self) -> Exporter:
        self.made.append(Exporter(self.answer))
        return self.made[-1]


def broken() -> Any:
    raise OSError("no such certificate")


@each_signal
def test_the_exporter_is_built_once_at_the_first_batch(
    lazy: Lazy, results: Any, signal: str, batch: Any, count: int
) -> None:
    tally, factory = Tally(), Factory(results.SUCCESS)
    exporter = lazy(factory, tally)
    assert factory.made == []
    assert [exporter.export(batch), exporter.export(batch)] == [results.SUCCESS] * 2
    assert [[given for given, _ in made.batches] for made in factory.made] == [[batch, batch]]
    assert tally.read() == {}


@each_signal
def test_a_batch_that_fails_is_counted_by_its_records(
    lazy: Lazy, results: Any, signal: str, batch: Any, count: int
) -> None:
    tally = Tally()
    assert lazy(Factory(results.FAILURE), tally).export(batch) is results.FAILURE
    assert tally.read() == {(signals.PROCESS_DROPS, f"export_{signal}"): count}


@each_signal
def test_an_exporter_that_raises_is_counted(
    lazy: Lazy, results: Any, signal: str, batch: Any, count: int
) -> None:
    tally = Tally()
    assert lazy(Factory(ValueError("no")), tally).export(batch) is results.FAILURE
    assert tally.read() == {
        (signals.PROCESS_FAILURES, f"export_{signal}"): 1,
        (signals.PROCESS_DROPS, f"export_{signal}"): count,
    }


@each_signal
def test_an_exporter_that_cannot_be_built_is_said_once_and_its_batches_counted(
    lazy: Lazy,
    results: Any,
    signal: str,
    batch: Any,
    count: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tally = Tally()
    exporter = lazy(broken, tally)
    assert [exporter.export(batch), exporter.export(batch)] == [results.FAILURE] * 2
    exporter.shutdown()
    assert tally.read() == {
        (signals.PROCESS_FAILURES, f"exporter_{signal}"): 1,
        (signals.PROCESS_DROPS, f"export_{signal}"): 2 * count,
    }
    assert [record.message for record in caplog.records] == [
        f"Status telemetry failed at exporter_{signal} and goes on without: "
        "OSError: no such certificate",
        f"Status telemetry was dropped: export_{signal}.",
    ]


@each_signal
def test_shutdown_reaches_an_exporter_that_was_built(
    lazy: Lazy, results: Any, signal: str, batch: Any, count: int
) -> None:
    factory = Factory(results.SUCCESS)
    exporter = lazy(factory, Tally())
    exporter.shutdown()
    assert factory.made == []
    exporter.export(batch)
    exporter.shutdown()
    assert [made.is_shut_down for made in factory.made] == [True]
    assert exporter.force_flush() is True


def test_a_parents_totals_are_not_sent_by_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = Factory(MetricExportResult.SUCCESS)
    exporter = LazyMetricExporter(factory, Tally())
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert exporter.export("data") is MetricExportResult.SUCCESS
    assert factory.made == []


@each_signal
def test_a_child_leaves_its_parents_alone_and_sends_what_is_its_own(
    lazy: Lazy,
    results: Any,
    signal: str,
    batch: Any,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = Factory(results.SUCCESS)
    exporter = lazy(factory, Tally())
    exporter.export(batch)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    exporter.shutdown()
    assert [made.is_shut_down for made in factory.made] == [False]
    assert exporter.export(batch) is results.SUCCESS
    exporter.shutdown()
    # A parent's totals are the parent's to send.
    own = [] if signal == "metrics" else [True]
    assert [made.is_shut_down for made in factory.made] == [False, *own]
    assert [len(made.batches) for made in factory.made] == [1] * (1 + len(own))


def test_metrics_are_exported_with_their_bound_and_preferences() -> None:
    factory = Factory(MetricExportResult.SUCCESS)
    wanted = {Counter: AggregationTemporality.DELTA}
    exporter = LazyMetricExporter(factory, Tally(), preferred_temporality=wanted)
    assert exporter._preferred_temporality == wanted
    exporter.export("data", timeout_millis=1234)
    exporter.shutdown(timeout_millis=5, more=True)
    assert factory.made[0].batches == [("data", {"timeout_millis": 1234})]
    assert factory.made[0].is_shut_down
