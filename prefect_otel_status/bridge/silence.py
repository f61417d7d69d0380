"""Runs whose heartbeats stopped: killed together with whoever would have reported it."""

from __future__ import annotations

import msgspec

from prefect_otel_status.bridge.records import ACTIVE, ENDED, RunRow

MISSED = 3
"""Heartbeats that may be missed before a run is taken for dead."""

_SECOND = 1_000_000_000
_LEAST = 30.0
"""Seconds: the least period that Prefect allows."""


def is_silent(row: RunRow, now: int, default_period: float) -> bool:
    """Whether the process of ROW gave no sign of life for three heartbeats.

    The period is learned from the run's own heartbeats. A run that never sent
    one cannot be judged: older engines send none.
    """
    if row.state_type not in ("RUNNING", "CANCELLING") or not row.heartbeat_at:
        return False
    learned = row.heartbeat_period / _SECOND
    period = max(_LEAST, learned or default_period)
    # Not when it last spoke: that is by its own clock, which may be hours off.
    latest = max(row.heartbeat_at, row.state_at)
    return now - latest > MISSED * period * _SECOND


def presumed_dead(row: RunRow, now: int) -> RunRow:
    """ROW, to be read once more and then closed without anybody's report."""
    return msgspec.structs.replace(row, phase=ENDED, inferred=True, due=now)


def silent_rows(rows: list[RunRow], now: int, default_period: float) -> list[RunRow]:
    """Those of ROWS that must be presumed dead, changed accordingly."""
    return [
        presumed_dead(row, now)
        for row in rows
        if row.phase == ACTIVE and is_silent(row, now, default_period)
    ]
