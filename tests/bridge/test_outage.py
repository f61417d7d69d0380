"""Waiting for what is away, and saying so."""

from __future__ import annotations

import logging

import pytest

from prefect_otel_status.bridge.outage import Backoff, Outage


def test_waits_twice_as_long_each_time_up_to_half_a_minute() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next() == 0.5


def test_chance_takes_off_up_to_half() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.next() for _ in range(3)] == [0.25, 0.5, 1.0]


@pytest.mark.fault(13)
def test_logs_the_break_then_once_a_minute_then_the_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter([*range(0, 130, 10), 120, 500])
    outage = Outage("The sea", logger=logging.getLogger("outage"), monotonic=lambda: next(times))
    with caplog.at_level(logging.INFO, "outage"):
        outage.over()
        for _ in range(13):
            outage.failed("Ebb.")
        outage.over()
        outage.over()
        outage.failed("Ebb again.")
    assert caplog.messages == [
        "The sea broke off: Ebb.",
        "The sea is away since 60 s: Ebb.",
        "The sea is away since 120 s: Ebb.",
        "The sea is back after 120 s.",
        "The sea broke off: Ebb again.",
    ]
