"""How often a deployment is due, by its schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import import_module
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.bridge.wire import Deployment

_FIRES = 32
"""How many fire times of a cron schedule are looked at: a month of workdays."""


def schedule_interval(deployment: Deployment, *, now: int) -> float:
    """The seconds within which DEPLOYMENT is due again, 0 where that is not known.

    Of several schedules the least counts. Of a cron schedule it is the longest
    gap between the next fire times, so that a weekend is not a missed run. A
    paused deployment is never due. NOW is in nanoseconds since 1970.
    """
    if deployment.paused:
        return 0.0
    active = [schedule.schedule for schedule in deployment.schedules if schedule.active]
    return min(filter(None, (_interval(schedule, now) for schedule in active)), default=0.0)


def next_due(deployment: Deployment, *, now: int) -> int:
    """When DEPLOYMENT is due next by its schedules, in nanoseconds; 0 where that is not known."""
    if deployment.paused:
        return 0
    active = [schedule.schedule for schedule in deployment.schedules if schedule.active]
    return min(filter(None, (_next(schedule, now) for schedule in active)), default=0)


def _next(schedule: Mapping[str, Any], now: int) -> int:
    seconds = schedule.get("interval")
    if isinstance(seconds, (int, float)) and seconds > 0:
        anchor, step = nanoseconds(schedule.get("anchor_date")), int(seconds * 1e9)
        return now + step - (now - anchor) % step
    return _next_fire(schedule, now) if isinstance(schedule.get("cron"), str) else 0


def _next_fire(schedule: Mapping[str, Any], now: int) -> int:
    try:
        zone = ZoneInfo(schedule.get("timezone") or "UTC")
        fire: datetime = _fires(schedule, now, zone).get_next(datetime)
        return int(fire.replace(tzinfo=zone).timestamp()) * 1_000_000_000
    except Exception:  # as below
        return 0


def _interval(schedule: Mapping[str, Any], now: int) -> float:
    seconds = schedule.get("interval")
    if isinstance(seconds, (int, float)) and seconds > 0:
        return float(seconds)
    return _cron_gap(schedule, now) if isinstance(schedule.get("cron"), str) else 0.0


def _cron_gap(schedule: Mapping[str, Any], now: int) -> float:
    try:
        fires = _fires(schedule, now, ZoneInfo(schedule.get("timezone") or "UTC"))
        times: list[datetime] = [fires.get_next(datetime) for _ in range(_FIRES)]
        return max((later - earlier).total_seconds() for earlier, later in pairwise(times))
    except Exception:  # a schedule that only its server understands
        return 0.0


def _fires(schedule: Mapping[str, Any], now: int, zone: ZoneInfo) -> Any:
    croniter: Any = import_module("prefect._vendor.croniter").croniter  # as its scheduler does
    # Without the zone, as Prefect does it: an hour of summer time is no gap.
    start = datetime.fromtimestamp(now / 1e9, timezone.utc).astimezone(zone)
    return croniter(
        schedule["cron"], start.replace(tzinfo=None), day_or=schedule.get("day_or", True)
    )
