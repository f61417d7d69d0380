"""`track`: progress at most once a second, the first and the last always."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_otel_status import signals, track
from prefect_otel_status.tracking import Progress
from tests.support.hostile import VALUES
from tests.support.telling import Told

Tell = Callable[..., Told]
Said = tuple[str, float | None, dict[str, Any]]


class Seconds:
    """A clock of seconds that shows what it is set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Artifact:
    """Keeps what it is to show."""

    def __init__(self) -> None:
        self.shown: list[tuple[float, str]] = []

    def show(self, fraction: float, description: str) -> None:
        self.shown.append((fraction, description))


def steps(told: Told, template: str, total: int | None, seconds: list[float]) -> list[Said]:
    """What is said of steps that take so many SECONDS each."""
    clock = Seconds()
    progress = Progress(template, total, {"model": "bert"}, clock=clock, runtime=told.runtime)
    progress.start()
    for taken in seconds:
        clock.now += taken
        progress.step()
        progress.start()
    progress.finish()
    return [(said.message, said.progress, said.attributes) for said in told.statuses]


# --- what is said and when ----------------------------------------------------


def test_progress_is_told_whole(told: Told) -> None:
    said = steps(told, "{model}: {done} of {total} at {rate}/s, {remaining} s left", 4, [2.0, 2.0])
    ours = "prefect_status.track."
    assert said == [
        (
            "bert: 0 of 4 at 0.0/s, {remaining} s left",
            0.0,
            {"model": "bert", ours + "done": 0, ours + "rate": 0.0, ours + "total": 4},
        ),
        (
            "bert: 1 of 4 at 0.5/s, 6.0 s left",
            0.25,
            {
                "model": "bert",
                ours + "done": 1,
                ours + "rate": 0.5,
                ours + "total": 4,
                ours + "remaining": 6.0,
            },
        ),
        (
            "bert: 2 of 4 at 0.5/s, 4.0 s left",
            0.5,
            {
                "model": "bert",
                ours + "done": 2,
                ours + "rate": 0.5,
                ours + "total": 4,
                ours + "remaining": 4.0,
            },
        ),
    ]
    assert {one.origin for one in told.statuses} == {"track"}
    assert {one.template for one in told.statuses} == {
        "{model}: {done} of {total} at {rate}/s, {remaining} s left"
    }


def test_at_most_one_status_a_second_the_first_and_the_last_always(told: Told) -> None:
    said = steps(told, "{done}", 1000, [0.01] * 1000)
    assert [message for message, _, _ in said] == [
        *("0", "100", "200", "300", "400", "500", "600", "700", "800", "900"),
        "1000",
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.floats(0, 3), max_size=60))
def test_however_long_steps_take_statuses_are_a_second_apart(
    told: Told, seconds: list[float]
) -> None:
    told.of(object)
    told.sink.records.clear()
    said = steps(told, "{done}", len(seconds), seconds)
    counts = [attributes["prefect_status.track.done"] for _, _, attributes in said]
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (0, len(seconds))
    ends = [sum(seconds[:count]) for count in counts]
    assert all(later - earlier > 0.999 for earlier, later in pairwise(ends[:-1]))


def test_without_a_total_there_is_no_fraction(told: Told) -> None:
    said = steps(told, "{done} of {total}", None, [2.0])
    assert [(message, fraction) for message, fraction, _ in said] == [
        ("0 of {total}", None),
        ("1 of {total}", None),
    ]


@pytest.mark.parametrize("total", [0, -1])
def test_a_total_of_nothing_is_none(told: Told, total: int) -> None:
    assert steps(told, "{done}", total, [2.0])[-1][1] is None


def test_more_steps_than_the_total_are_all_of_it(told: Told) -> None:
    assert [fraction for _, fraction, _ in steps(told, "x", 1, [2.0, 2.0])] == [0.0, 1.0, 1.0]


def test_a_clock_that_goes_backwards_makes_no_negative_rate(told: Told) -> None:
    said = steps(told, "{rate}", 10, [-5.0])
    assert [message for message, _, _ in said] == ["0.0", "0.0"]


def test_an_own_attribute_stands_over_ours(told: Told) -> None:
    list(track([1], "{done}", done="mine"))
    assert told.messages == ["mine", "mine"]


# --- iterables ----------------------------------------------------------------


def test_items_pass_through(told: Told) -> None:
    assert list(track(["a", "b"], "{done} of {total}")) == ["a", "b"]
    assert (told.messages[0], told.messages[-1]) == ("0 of 2", "2 of 2")


def test_the_total_is_the_one_given(told: Told) -> None:
    assert list(track(iter("ab"), "{done} of {total}", total=4)) == ["a", "b"]
    assert told.messages[-1] == "2 of 4"


def test_nothing_to_do_is_said_once(told: Told) -> None:
    assert list(track([], "{done} done")) == []
    assert told.messages == ["0 done"]


def test_an_iterable_that_does_not_know_its_length_has_no_total(told: Told) -> None:
    class Odd:
        def __len__(self) -> int:
            raise RuntimeError("no length")

        def __iter__(self) -> Iterator[int]:
            return iter([1])

    assert list(track(Odd(), "{done}")) == [1]
    assert {said.progress for said in told.statuses} == {None}


def test_what_the_iterable_raises_passes_and_tells_how_far_it_came(told: Told) -> None:
    error = ValueError("as it was raised")

    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise error

    with pytest.raises(ValueError) as caught:
        list(track(failing(), "{done}", total=4))
    assert caught.value is error
    assert (told.messages[-1], told.statuses[-1].progress) == ("2", 0.5)


def test_what_the_work_raises_passes_and_tells_how_far_it_came(told: Told) -> None:
    running = track([1, 2, 3], "{done} of {total}")
    error = ValueError("as it was raised")
    next(running)
    with pytest.raises(ValueError) as caught:
        running.throw(error)  # type: ignore[attr-defined]  # it is a generator
    assert caught.value is error
    assert told.messages == ["0 of 3"]


def test_leaving_early_tells_how_far_it_came(told: Told) -> None:
    for item in track([1, 2, 3], "{done} of {total}"):
        if item == 3:
            break
    assert told.messages[-1] == "2 of 3"


def test_what_is_no_iterable_is_the_callers_error(told: Told) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(track(42, "x"))  # type: ignore[call-overload]


async def test_an_async_iterable_gives_an_async_iterator(told: Told) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert [item async for item in track(numbers(), "{done} of {total}", total=2)] == [1, 2]
    assert (told.messages[0], told.messages[-1]) == ("0 of 2", "2 of 2")


async def test_what_an_async_iterable_raises_passes(told: Told) -> None:
    error = ValueError("as it was raised")

    async def failing() -> AsyncIterator[int]:
        yield 1
        raise error

    with pytest.raises(ValueError) as caught:
        [item async for item in track(failing(), "{done}")]
    assert caught.value is error
    assert told.messages[-1] == "1"


# --- faults -------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_hostile_template_or_attribute_harms_nothing(told: Told, value: Any) -> None:
    assert list(track([1], value, value=value)) == [1]
    assert len(told.messages) == 2
    assert told.tally(signals.PROCESS_FAILURES) == {}


def test_disabled_it_only_passes_items_through(tell: Tell) -> None:
    told = tell(enabled=False)
    assert list(track([1, 2], "x")) == [1, 2]
    assert told.of(object) == []


def test_a_failure_of_ours_does_not_stop_the_work(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr("prefect_otel_status.tracking.say", refuse)
    assert list(track([1, 2], "x")) == [1, 2]
    assert told.tally(signals.PROCESS_FAILURES) == {"track": 2}


# --- the artifact -------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "total", "shown"),
    [
        (False, 2, []),
        (True, None, []),
        (True, 2, [(0.0, "0 done"), (0.5, "1 done"), (1.0, "2 done")]),
    ],
)
def test_a_progress_artifact_is_shown_where_it_is_set(
    tell: Tell, wanted: bool, total: int | None, shown: list[tuple[float, str]]
) -> None:
    told, clock, artifact = tell(progress_artifact=wanted), Seconds(), Artifact()
    progress = Progress("{done} done", total, {}, clock=clock, runtime=told.runtime)
    progress._artifact = artifact  # type: ignore[assignment]
    progress.start()
    for _ in range(2):
        clock.now += 2
        progress.step()
    progress.finish()
    assert artifact.shown == shown
