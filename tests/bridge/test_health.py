"""Readiness by the last success of each part."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_otel_status.bridge.health import Check, Health, Limits, Readiness, readiness

SECOND = 10**9
LIMITS = Limits(sweep=60, commit=30, export=300)
FINE = {"ok": True, "age_seconds": 2.5, "sentence": "The last commit succeeded 2 s ago."}


def report(**parts: Check) -> Readiness:
    given = {part: Check(1_000 * SECOND) for part in ("sweep", "commit", "export")}
    health = Health(**{**given, **parts}, holds_lease=True)
    return readiness(health, limits=LIMITS, now=1_002 * SECOND + SECOND // 2)


def test_a_bridge_whose_parts_succeeded_lately_is_ready() -> None:
    assert report() == Readiness(
        True,
        {
            "ready": True,
            "lease": "working",
            "sweep": {**FINE, "sentence": "The last sweep succeeded 2 s ago."},
            "commit": FINE,
            "export": {**FINE, "sentence": "The last export succeeded 2 s ago."},
        },
    )


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (Check(), (False, None, "No sweep has succeeded yet.")),
        (
            Check(0, "401 from Prefect"),
            (False, None, "No sweep has succeeded yet: 401 from Prefect"),
        ),
        (
            Check(900 * SECOND, "The server is down."),
            (False, 102.5, "No sweep has succeeded for 102 s: The server is down."),
        ),
        (Check(900 * SECOND), (False, 102.5, "No sweep has succeeded for 102 s.")),
        # A failure in between does not matter yet.
        (Check(1_000 * SECOND, "A hiccup."), (True, 2.5, "The last sweep succeeded 2 s ago.")),
        # The clock was set back.
        (Check(2_000 * SECOND), (True, 0.0, "The last sweep succeeded 0 s ago.")),
    ],
)
def test_each_part_says_how_it_is(check: Check, expected: tuple[Any, ...]) -> None:
    found = report(sweep=check)
    assert tuple(found.report["sweep"].values()) == expected
    assert (found.ready, found.report["ready"]) == (expected[0], expected[0])
    assert found.report["commit"] == FINE


def test_the_limit_itself_is_still_fine() -> None:
    health = Health(*[Check(10 * SECOND)] * 3, holds_lease=True)
    assert readiness(health, limits=LIMITS, now=40 * SECOND).ready
    assert not readiness(health, limits=LIMITS, now=40 * SECOND + 10**7).ready


def test_a_standby_is_ready_and_says_that_it_waits() -> None:
    waits = {
        "ok": True,
        "age_seconds": None,
        "sentence": "Another bridge does this: this one waits for the lease.",
    }
    assert readiness(Health(), limits=LIMITS, now=0) == Readiness(
        True,
        {"ready": True, "lease": "waiting", "sweep": waits, "commit": waits, "export": waits},
    )
