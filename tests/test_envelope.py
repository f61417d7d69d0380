"""A record on its way to the sinks."""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.cleaner import Cleaner
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally
from tests.support.records import cleaner, envelope, status


def test_an_envelope_keeps_the_raw_record_and_its_context() -> None:
    said, context = status("a\nb"), copy_context()
    kept = Envelope(said, cleaner(), context)
    assert kept.record is said
    assert kept.context is context
    assert envelope(said).context is None


def test_a_record_is_cleaned_once() -> None:
    tally = Tally()
    kept = Envelope(status("t", message="pwd=hunter22"), cleaner(tally=tally))
    assert tally.read() == {}
    assert kept.clean() is kept.clean()
    assert kept.clean() == status("t", message="pwd=[redacted]")
    assert tally.read() == {(signals.PROCESS_REDACTIONS, "password"): 1}


class SlowCleaner(Cleaner):
    """Waits in the middle of its work until as many threads as BARRIER counts are there."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__(Settings(), Tally())
        self._barrier = barrier

    def clean(self, record: Any) -> Any:
        self._barrier.wait(10)
        return super().clean(record)


def test_two_threads_at_once_get_equal_records() -> None:
    kept = Envelope(status("a\nb"), SlowCleaner(threading.Barrier(2)))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(kept.clean())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [status("a b", message="a\nb")] * 2
