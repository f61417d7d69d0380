"""Times of Prefect's API."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status.bridge.times import iso, nanoseconds

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
WHOLE = 1_795_544_005_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T18:13:25.724941Z", WHOLE + 724_941_000),
        ("2026-11-24T18:13:25.724941+00:00", WHOLE + 724_941_000),
        ("2026-11-24T18:13:25Z", WHOLE),
        ("2026-11-24T18:13:25.7Z", WHOLE + 700_000_000),
        ("2026-11-24T18:13:25.123456789Z", WHOLE + 123_456_789),
        ("2026-11-24T18:13:25.1234567899999Z", WHOLE + 123_456_789),
        ("2026-11-24T23:43:25.5+05:30", WHOLE + 500_000_000),
        ("2026-11-24T10:13:25.000001-0800", WHOLE + 1_000),
        ("2026-11-24 18:13:25", WHOLE),
        ("1970-01-01T00:00:00.000000Z", 0),
        ("1969-12-31T23:59:59.500000Z", -500_000_000),
    ],
)
def test_reads_exactly(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "yesterday",
        "2026-11-24",
        "2026-13-24T18:13:25.724941Z",
        "2026-11-24T18:13:61.724941Z",
        "2026-11-24T18:13:25.+24941Z",
        "2026-11-24T18:13:25.72_941Z",
        "2026-11-24T18:13:25.724941X",
        "2026-11-24T18:13:25.724941+99:99",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00.000000Z",
    ],
)
def test_is_zero_where_it_cannot_be_read_or_kept(text: str | None) -> None:
    assert nanoseconds(text) == 0


@given(st.text())
def test_takes_any_text(text: str) -> None:
    assert isinstance(nanoseconds(text), int)


@given(
    st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2262, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_agrees_with_datetime(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact = (zoned - EPOCH) // timedelta(microseconds=1) * 1000
    assert nanoseconds(zoned.isoformat()) == exact
    assert nanoseconds(iso(exact)) == exact


def test_writes_utc_with_microseconds() -> None:
    assert iso(WHOLE + 724_941_999) == "2026-11-24T18:13:25.724941Z"
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
