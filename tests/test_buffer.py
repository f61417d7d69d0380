"""The statuses of one span."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_otel_status.buffer import EventBuffer, span_event_limit
from prefect_otel_status.envelope import Envelope
from tests.support.records import NOW, cleaner, status

VARIABLE = "OTEL_SPAN_EVENT_COUNT_LIMIT"
CLEANER = cleaner()


def fill(buffer: EventBuffer, levels: list[str]) -> list[Envelope]:
    """Append a status of each of LEVELS to BUFFER, a nanosecond apart."""
    made = [
        Envelope(status(f"m{number}", level=level, timestamp=NOW + number), CLEANER)
        for number, level in enumerate(levels)
    ]
    for envelope in made:
        buffer.append(envelope, is_error=envelope.record.is_error)
    return made


def messages(envelopes: Any) -> list[str]:
    return [envelope.record.message for envelope in envelopes]


def test_without_overflow_everything_is_kept_in_order() -> None:
    buffer = EventBuffer(9)
    made = fill(buffer, ["info", "error", "info"])
    assert messages(buffer) == messages(made)
    assert (buffer.appended, buffer.dropped, buffer.latest) == (3, 0, made[-1])


def test_an_empty_buffer_has_no_latest() -> None:
    buffer = EventBuffer(9)
    assert (list(buffer), buffer.appended, buffer.dropped, buffer.latest) == ([], 0, 0, None)


def test_an_error_status_survives_a_full_buffer() -> None:
    buffer = EventBuffer(9)
    fill(buffer, ["info"] * 5 + ["error"] + ["info"] * 94)
    assert messages(buffer) == ["m0", "m1", "m2", "m5", "m97", "m98", "m99"]
    assert (buffer.appended, buffer.dropped) == (100, 93)


def test_among_too_many_errors_the_newest_survive() -> None:
    buffer = EventBuffer(9)
    fill(buffer, ["info"] * 3 + ["critical", "error"] * 10 + ["info"])
    assert messages(buffer) == ["m0", "m1", "m2", "m20", "m21", "m22", "m23"]


@settings(deadline=None)
@given(
    levels=st.lists(st.sampled_from(["info", "debug", "error"]), max_size=200),
    limit=st.integers(1, 60),
)
def test_first_last_and_errors_up_to_their_share_survive(levels: list[str], limit: int) -> None:
    buffer = EventBuffer(limit)
    made = fill(buffer, levels)
    kept, share = list(buffer), max(3, limit) // 3
    rest = made[share:]
    assert buffer.appended == len(made) == len(kept) + buffer.dropped
    assert len(kept) <= max(3, limit)
    assert kept[:share] == made[:share]
    assert set(kept[share:]) == {
        *[envelope for envelope in rest if envelope.record.is_error][-share:],
        *[envelope for envelope in rest if not envelope.record.is_error][-share:],
    }
    assert buffer.latest is (made[-1] if made else None)


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 100), max_size=40))
def test_what_was_kept_comes_in_the_order_of_time(times: list[int]) -> None:
    buffer = EventBuffer(30)
    for offset in times:
        buffer.append(Envelope(status(timestamp=NOW + offset), CLEANER), is_error=False)
    kept = [envelope.record.timestamp for envelope in buffer]
    assert kept == sorted(kept)
    assert (buffer.latest.record.timestamp if buffer.latest else None) == max(kept, default=None)


@pytest.mark.parametrize(
    ("text", "limit"),
    [(None, 102), ("", 102), ("10", 8), ("1000", 800), ("many", 102), ("0", 0), ("none", 102)],
)
def test_the_limit_follows_the_sdk_and_leaves_a_part_to_prefect(
    text: str | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(VARIABLE, text)
    assert span_event_limit() == limit


@pytest.mark.parametrize(("text", "kept"), [("128", 102), ("0", 3), ("-7", 3)])
def test_a_buffer_holds_what_the_sdk_lets_it(
    text: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    buffer = EventBuffer()
    fill(buffer, ["info"] * 100 + ["error"] * 100 + ["info"] * 100)
    assert len(list(buffer)) == kept
