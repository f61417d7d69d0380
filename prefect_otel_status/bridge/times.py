"""Prefect's times as nanoseconds since 1970, and back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = 1_000_000_000
_LARGEST = 2**63 - 1
_UTC = ("Z", "+00:00")
"""What follows the microseconds in nearly all of Prefect's times."""

_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}):(\d{2})(?:[.,](\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))?",
    re.ASCII,
)


def nanoseconds(text: str | None) -> int:
    """TEXT, in ISO 8601, as nanoseconds since 1970, exactly; 0 where it cannot be read.

    Without an offset it is UTC. Times that 64 bits do not hold, from the year
    2262 on and before 1677, count as unreadable: no database could keep them.
    """
    if not text:
        return 0
    if text[26:] in _UTC:
        second, micros = _second(text[:20]), text[20:26]
        if second and micros.isdecimal():
            return second + int(micros) * 1000
    return _any(text)


def iso(nanoseconds: int) -> str:
    """NANOSECONDS since 1970 in ISO 8601: UTC, with microseconds and a Z."""
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@lru_cache(maxsize=4096)
def _second(prefix: str) -> int:
    """The second in PREFIX (`2026-11-24T18:13:25.`). Events come in order: few are asked for."""
    return _any(f"{prefix}0Z")


def _any(text: str) -> int:
    found = _ISO.fullmatch(text)
    if found is None:
        return 0
    day, minute, second, fraction, *offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{second}+00:00") - _offset(*offset)
    except (ValueError, OverflowError):
        return 0
    whole = (moment - _EPOCH) // timedelta(seconds=1)
    exact = whole * _SECOND + int((fraction or "")[:9].ljust(9, "0"))
    return exact if -_LARGEST <= exact <= _LARGEST else 0


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> timedelta:
    if sign is None:
        return timedelta(0)
    size = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return -size if sign == "-" else size
