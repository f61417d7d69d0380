"""Times and lengths of time as a page shows them. Times are nanoseconds since 1970, 0 for none."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STEPS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def iso(nanoseconds: int) -> str:
    """NANOSECONDS in ISO 8601: UTC, to the second."""
    return f"{_moment(nanoseconds):%Y-%m-%dT%H:%M:%SZ}"


def utc(nanoseconds: int) -> str:
    """NANOSECONDS for the eye, in UTC."""
    return f"{_moment(nanoseconds):%Y-%m-%d %H:%M:%S} UTC"


def ago(nanoseconds: int, *, now: int) -> str:
    """How long before NOW that was, in its largest unit; `never` for none."""
    return f"{_largest(now - nanoseconds)} ago" if nanoseconds else "never"


def ahead(nanoseconds: int, *, now: int) -> str:
    """In how long that will be, in its largest unit; empty for none, `now` for what is due."""
    if not nanoseconds:
        return ""
    return f"in {_largest(nanoseconds - now)}" if nanoseconds > now else "now"


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _largest(nanoseconds: int) -> str:
    seconds = max(0, nanoseconds) // 1_000_000_000
    for size, unit in _STEPS:
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "a moment"
