"""The counts of what went wrong with our own work."""

from __future__ import annotations

import logging
import threading

import pytest

from prefect_otel_status import signals
from prefect_otel_status.tally import Tally
from tests.support.hostile import RaisingText


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_counts_are_kept_by_metric_and_label() -> None:
    tally = Tally()
    tally.add(signals.PROCESS_FLAGS, "unknown_stage")
    tally.add(signals.PROCESS_FLAGS, "unknown_stage", 2)
    tally.add(signals.PROCESS_REDACTIONS, "jwt")
    tally.dropped("queue_full", 5)
    tally.failed("log", ValueError("bad"))
    assert tally.read() == {
        (signals.PROCESS_FLAGS, "unknown_stage"): 3,
        (signals.PROCESS_REDACTIONS, "jwt"): 1,
        (signals.PROCESS_DROPS, "queue_full"): 5,
        (signals.PROCESS_FAILURES, "log"): 1,
    }


def test_a_failure_is_counted_each_time_and_logged_once_a_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tally = Tally()
    for place in ("log", "span", "log"):
        tally.failed(place, ValueError("bad"))
    assert tally.read()[signals.PROCESS_FAILURES, "log"] == 2
    assert caplog.record_tuples == [
        (
            "prefect_otel_status",
            logging.WARNING,
            f"Status telemetry failed at {place} and goes on without: ValueError: bad",
        )
        for place in ("log", "span")
    ]


def test_a_drop_is_logged_once_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    for reason in ("queue_full", "export_traces", "queue_full"):
        tally.dropped(reason)
    assert [record.message for record in caplog.records] == [
        "Status telemetry was dropped: queue_full.",
        "Status telemetry was dropped: export_traces.",
    ]


def test_a_failure_that_cannot_say_itself_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    tally.failed("log", UnspeakableError())
    assert tally.read() == {(signals.PROCESS_FAILURES, "log"): 1}
    assert [record.message for record in caplog.records] == [
        "Status telemetry failed at log and goes on without: "
        "UnspeakableError: (its message cannot be shown)"
    ]


def test_a_long_failure_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    Tally().failed("log", ValueError("x" * 10_000))
    assert caplog.records[0].message.endswith(": ValueError: " + "x" * 499 + "…")


def test_an_argument_that_raises_is_harmless(caplog: pytest.LogCaptureFixture) -> None:
    Tally().failed("log", ValueError(RaisingText()))
    assert len(caplog.records) == 1


def test_a_failure_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    Tally().failed("export_traces", OSError("no route to https://eve:hunter22@collector:4318"))
    assert [record.message for record in caplog.records] == [
        "Status telemetry failed at export_traces and goes on without: "
        "OSError: no route to https://[redacted]@collector:4318"
    ]


def test_a_failure_is_logged_on_lines_that_cannot_be_forged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Tally().failed("log", ValueError("bad\n12:00 | INFO | all is well\x1b[31m"))
    assert not set("\n\x1b") & set(caplog.records[0].message)


def test_counting_from_many_threads_is_exact() -> None:
    tally = Tally()
    threads = [threading.Thread(target=_count, args=(tally, 1000)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert tally.read() == {(signals.PROCESS_FLAGS, "x"): 8000}


def _count(tally: Tally, times: int) -> None:
    for _ in range(times):
        tally.add(signals.PROCESS_FLAGS, "x")


def test_what_was_read_does_not_change_afterwards() -> None:
    tally = Tally()
    before = tally.read()
    tally.dropped("queue_full")
    assert before == {}


def test_a_child_begins_at_zero_and_can_count_although_the_parent_held_the_lock() -> None:
    tally = Tally()
    tally.dropped("queue_full")
    held, release = threading.Event(), threading.Event()
    holder = threading.Thread(target=_hold, args=(tally, held, release))
    holder.start()
    assert held.wait(10)
    tally.after_fork()
    tally.add(signals.PROCESS_FLAGS, "x")
    release.set()
    holder.join(10)
    assert tally.read() == {(signals.PROCESS_FLAGS, "x"): 1}


def _hold(tally: Tally, held: threading.Event, release: threading.Event) -> None:
    with tally._lock:
        held.set()
        release.wait(10)
