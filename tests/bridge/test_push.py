"""Metrics that are pushed are those that a scrape would see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import otlp_metrics
from prefect_otel_status.bridge.endpoint import endpoint_of
from prefect_otel_status.bridge.exposition import Family
from prefect_otel_status.bridge.otlp import Resource
from prefect_otel_status.bridge.push import Pusher
from prefect_otel_status.bridge.senders.base import Kind, Outcome
from prefect_otel_status.bridge.senders.folder import FolderSender
from prefect_otel_status.bridge.senders.grpc import GrpcSender
from prefect_otel_status.bridge.senders.http import HttpSender
from prefect_otel_status.bridge.values import Buckets, Exemplar
from prefect_otel_status.signals import DURATION_BOUNDS
from tests.support.grpc_receiver import grpc_receiver
from tests.support.receiver import Received, attributes_of

RESOURCE = Resource((("service.name", "prefect-otel-bridge"),))
TRACE = "0af7651916cd43dd8448eb211c80319c"
BUCKETS = Buckets().seeing(0.2).seeing(7.0)
OF_RUN = ("deploy", "prod", "")
FAMILIES = [
    Family(signals.RUN_ERRORS, [((*OF_RUN, "ValueError"), 3.0)]),
    Family(
        signals.QUEUE_DURATION,
        [(OF_RUN, BUCKETS)],
        {OF_RUN: (None, Exemplar(TRACE, 0.2, 11))},
    ),
    Family(signals.RUN_ACTIVE, [((*OF_RUN, "executing"), 2.0)]),
    Family(signals.BRIDGE_LAG, [((), 1.5)]),
]


def _pusher(sender: Any, families: list[Family] | None = FAMILIES) -> Pusher:
    async def shown() -> list[Family] | None:
        return families

    return Pusher(
        sender,
        families=shown,
        since=lambda: 5,
        resource=RESOURCE,
        interval=60,
        clock=lambda: 9,
    )


class Taking:
    """Answers with one outcome, and keeps what it was sent."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.sent: list[bytes] = []

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        assert signal == "metrics"
        self.sent += bodies
        return self.outcome

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_receiver_gets_whole_metrics_over_http(received: Received) -> None:
    endpoint = endpoint_of("metrics", {"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint})
    assert endpoint is not None
    sender = HttpSender(endpoint)
    assert await _pusher(sender).push()
    await sender.close()
    received.wait_for_metric("prefect_status.bridge.lag")
    found = {metric.name: metric for metric in received.metrics}
    errors = found["cicd.pipeline.run.errors"]
    (point,) = errors.sum.data_points
    assert (errors.unit, errors.sum.is_monotonic, errors.sum.aggregation_temporality) == (
        "{error}",
        True,
        2,
    )
    assert (point.start_time_unix_nano, point.time_unix_nano, point.as_double) == (5, 9, 3.0)
    assert attributes_of(point.attributes) == {
        "cicd.pipeline.name": "deploy",
        "prefect.deployment.name": "prod",
        "error.type": "ValueError",
    }
    (histogram,) = found["prefect.flow_run.queue.duration"].histogram.data_points
    assert tuple(histogram.explicit_bounds) == DURATION_BOUNDS
    assert tuple(histogram.bucket_counts) == BUCKETS.counts
    assert (histogram.count, histogram.sum) == (2, 7.2)
    (exemplar,) = histogram.exemplars
    assert (exemplar.trace_id.hex(), exemplar.as_double) == (TRACE, 0.2)
    assert found["cicd.pipeline.run.active"].sum.is_monotonic is False
    (lag,) = found["prefect_status.bridge.lag"].gauge.data_points
    assert (lag.start_time_unix_nano, lag.as_double) == (0, 1.5)


async def test_a_receiver_gets_them_over_grpc() -> None:
    with grpc_receiver() as received:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
        endpoint = endpoint_of("metrics", environ)
        assert endpoint is not None
        sender = GrpcSender(endpoint)
        assert await _pusher(sender).push()
        await sender.close()
        assert [metric.name for metric in received.metrics] == [f.metric.name for f in FAMILIES]


async def test_without_an_endpoint_they_go_to_the_folder(tmp_path: Any) -> None:
    assert await _pusher(FolderSender(tmp_path, size=1_000_000)).push()
    assert b"cicd.pipeline.run.errors" in (tmp_path / "metrics.jsonl").read_bytes()


def test_many_series_are_several_messages() -> None:
    samples = [((*OF_RUN, f"E{number}"), 1.0) for number in range(4_500)]
    family = Family(signals.RUN_ERRORS, samples)
    parts = list(otlp_metrics.messages([family], RESOURCE, since=0, now=1))
    assert len(parts) == 3
    assert all(len(part) < 1_000_000 for part in parts)


async def test_a_standby_pushes_nothing() -> None:
    sender = Taking(Outcome(Kind.DELIVERED))
    assert await _pusher(sender, None).push()
    assert sender.sent == []


async def test_a_push_that_is_refused_is_said_and_the_next_makes_up_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = Taking(Outcome(Kind.RETRY, "the receiver is busy"))
    pusher = _pusher(sender)
    with caplog.at_level("INFO", "prefect_otel_status.bridge"):
        assert not await pusher.push()
        sender.outcome = Outcome(Kind.DELIVERED)
        assert await pusher.push()
    assert [record.message.partition(" after")[0] for record in caplog.records] == [
        "Pushing metrics broke off: the receiver is busy",
        "Pushing metrics is back",
    ]


async def test_it_pushes_once_more_when_it_stops() -> None:
    sender = Taking(Outcome(Kind.DELIVERED))
    stop = asyncio.Event()
    running = asyncio.create_task(_pusher(sender).run(stop))
    while not sender.sent:
        await asyncio.sleep(0)
    stop.set()
    await running
    assert len(sender.sent) == 2


async def test_a_failure_of_our_own_is_said_and_raises_nothing() -> None:
    async def failing() -> list[Family] | None:
        raise RuntimeError("no store")

    pusher = Pusher(
        Taking(Outcome(Kind.DELIVERED)),
        families=failing,
        since=lambda: 0,
        resource=RESOURCE,
        interval=1,
    )
    assert not await pusher.push()
