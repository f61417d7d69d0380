"""Times and lengths of time, for the eye."""

from __future__ import annotations

import pytest

from prefect_otel_status.web.moments import ago, ahead, iso, utc

NOW = 1_795_514_400 * 10**9  # 2026-11-24T10:00:00Z
SECOND = 10**9
DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (-DAY, "a moment ago"),
        (0, "a moment ago"),
        (SECOND, "1 second ago"),
        (59 * SECOND, "59 seconds ago"),
        (200 * SECOND, "3 minutes ago"),
        (3_600 * SECOND, "1 hour ago"),
        (2 * DAY, "2 days ago"),
    ],
)
def test_how_long_ago_is_said_in_the_largest_unit(before: int, said: str) -> None:
    assert ago(NOW - before, now=NOW) == said


def test_never_is_said_where_there_is_no_time() -> None:
    assert (ago(0, now=NOW), ahead(0, now=NOW)) == ("never", "")


def test_what_is_to_come_is_said_likewise() -> None:
    assert ahead(NOW + 90 * SECOND, now=NOW) == "in 1 minute"
    assert ahead(NOW - SECOND, now=NOW) == "now"


def test_a_time_is_utc() -> None:
    assert (iso(NOW), utc(NOW)) == ("2026-11-24T10:00:00Z", "2026-11-24 10:00:00 UTC")
