"""After three heartbeats that did not come a run is taken for dead, and not before."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefect_otel_status.bridge.records import ACTIVE, ENDED, PLANNED, RunRow
from prefect_otel_status.bridge.silence import is_silent, silent_rows
from tests.support.records import NOW, SECOND

PERIOD = 180.0


def _row(**changes: Any) -> RunRow:
    usual = {"state_type": "RUNNING", "phase": ACTIVE, "heartbeat_at": NOW}
    return RunRow("a-run", **{**usual, **changes})


@pytest.mark.parametrize(
    ("row", "seconds"),
    [
        (_row(), 540),
        (_row(heartbeat_period=60 * SECOND), 180),
        (_row(heartbeat_period=5 * SECOND), 90),  # Prefect allows no less than 30 s
        (_row(state_type="CANCELLING"), 540),
        (_row(state_at=NOW + 10 * SECOND), 550),
    ],
)
def test_three_heartbeats_may_be_missed(row: RunRow, seconds: int) -> None:
    last = NOW + seconds * SECOND
    assert is_silent(row, last, PERIOD) is False
    assert is_silent(row, last + 1, PERIOD) is True


@pytest.mark.parametrize(
    "row",
    [
        _row(heartbeat_at=0),
        *(_row(state_type=t) for t in ("SCHEDULED", "PENDING", "PAUSED", "COMPLETED", "CRASHED")),
    ],
)
def test_what_sends_none_cannot_be_judged(row: RunRow) -> None:
    assert is_silent(row, NOW + 10**6 * SECOND, PERIOD) is False


def test_its_own_clock_being_ahead_does_not_keep_it_alive() -> None:
    said_in_the_future = _row(said_at=NOW + 3600 * SECOND)
    assert is_silent(said_in_the_future, NOW + 541 * SECOND, PERIOD) is True


def test_a_clock_of_ours_that_was_set_back_kills_nobody() -> None:
    assert is_silent(_row(), NOW - 3600 * SECOND, PERIOD) is False


def test_the_silent_are_to_be_read_once_more_and_the_others_left_alone() -> None:
    now = NOW + 541 * SECOND
    silent, alive = _row(), _row(heartbeat_at=now)
    planned, ended = _row(phase=PLANNED), _row(phase=ENDED)
    expected = msgspec.structs.replace(silent, phase=ENDED, inferred=True, due=now)
    assert silent_rows([alive, silent, planned, ended], now, PERIOD) == [expected]
