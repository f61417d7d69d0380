"""Whether the bridge does its work: by when each part of it last succeeded."""

from __future__ import annotations

from typing import Any

import msgspec


class Check(msgspec.Struct, frozen=True):
    """A part of the work: when it last succeeded (nanoseconds, 0 for never), what is wrong now.

    Having nothing to do is a success too.
    """

    succeeded: int = 0
    trouble: str = ""


class Health(msgspec.Struct, frozen=True):
    """What the parts of the bridge say of themselves. A standby waits for the lease."""

    sweep: Check = Check()
    commit: Check = Check()
    export: Check = Check()
    holds_lease: bool = False


class Limits(msgspec.Struct, frozen=True):
    """How old the last success of each part may be, in seconds."""

    sweep: float = 60.0
    commit: float = 60.0
    export: float = 300.0


class Readiness(msgspec.Struct, frozen=True):
    """Whether it is ready, and the reasons."""

    ready: bool
    report: dict[str, Any]


_PARTS = ("sweep", "commit", "export")
_WAITS = "Another bridge does this: this one waits for the lease."


def readiness(health: Health, *, limits: Limits, now: int) -> Readiness:
    """Whether every part succeeded lately. A standby that waits is ready: it has no work."""
    if not health.holds_lease:
        waiting = {part: _report(True, None, _WAITS) for part in _PARTS}
        return Readiness(True, {"ready": True, "lease": "waiting", **waiting})
    checks = {
        part: _judge(part, getattr(health, part), getattr(limits, part), now) for part in _PARTS
    }
    ready = all(check["ok"] for check in checks.values())
    return Readiness(ready, {"ready": ready, "lease": "working", **checks})


def _judge(part: str, check: Check, limit: float, now: int) -> dict[str, Any]:
    reason = f": {check.trouble}" if check.trouble else "."
    if not check.succeeded:
        return _report(False, None, f"No {part} has succeeded yet{reason}")
    age = round(max(0, now - check.succeeded) / 1e9, 3)
    if age > limit:
        return _report(False, age, f"No {part} has succeeded for {age:.0f} s{reason}")
    return _report(True, age, f"The last {part} succeeded {age:.0f} s ago.")


def _report(ok: bool, age: float | None, sentence: str) -> dict[str, Any]:
    return {"ok": ok, "age_seconds": age, "sentence": sentence}
