"""How often a deployment is due."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_otel_status.bridge.schedules import schedule_interval
from prefect_otel_status.bridge.wire import Deployment, Schedule
from tests.support.records import NOW

HOUR, DAY = 3600.0, 86_400.0


def due(*schedules: dict[str, Any], paused: bool = False, active: bool = True) -> float:
    made = [Schedule(active=active, schedule=schedule) for schedule in schedules]
    return schedule_interval(Deployment("d", paused=paused, schedules=made), now=NOW)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"interval": 900.0, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "UTC"}, 900.0),
        ({"cron": "*/5 * * * *", "timezone": "UTC", "day_or": True}, 300.0),
        ({"cron": "@daily", "timezone": None}, DAY),
        ({"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}, 3 * DAY),
        ({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, DAY),
        ({"cron": "0 0 1 * *", "timezone": "Nowhere/Atlantis"}, 0.0),
        ({"cron": "nonsense"}, 0.0),
        ({"rrule": "FREQ=DAILY", "timezone": "UTC"}, 0.0),
        ({"interval": -1}, 0.0),
        ({}, 0.0),
    ],
)
def test_of_one_schedule(schedule: dict[str, Any], expected: float) -> None:
    assert due(schedule) == expected


def test_the_least_of_several_counts() -> None:
    assert due({"rrule": "FREQ=DAILY"}, {"interval": DAY}, {"cron": "0 * * * *"}) == HOUR


def test_what_is_paused_is_never_due() -> None:
    assert due({"interval": HOUR}, paused=True) == 0.0
    assert due({"interval": HOUR}, active=False) == 0.0
    assert due() == 0.0
