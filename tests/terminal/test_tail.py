"""Following: each line once, whichever way it came; what fills gaps; what is said of outages."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from prefect_otel_status.bridge.api import UNTIL_EVER
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.times import iso, nanoseconds
from prefect_otel_status.bridge.wire import Event
from prefect_otel_status.settings import Settings
from prefect_otel_status.signals import PREFECT_EVENT
from prefect_otel_status.tally import Tally
from prefect_otel_status.terminal.lines import Line
from prefect_otel_status.terminal.tail import Follower, Outages, Putting
from tests.support.records import FLOW_RUN_ID, NOW, SECOND

PAGE = 50
MINUTE = 60 * SECOND


def event(number: int, *messages: str, at: int = NOW, level: str = "info") -> Event:
    """An event of the time AT, with a status of the same time for each of MESSAGES."""
    statuses = [
        {
            "template": message,
            "message": message,
            "level": level,
            "attempt": 1,
            "sequence": 1000 * number + place,
            "timestamp": at + place,
        }
        for place, message in enumerate(messages or (f"said {number}",))
    ]
    return Event(
        id=f"event-{number}",
        event=PREFECT_EVENT,
        occurred=iso(at),
        resource={"prefect.resource.id": f"prefect.flow-run.{FLOW_RUN_ID}"},
        payload={"version": 1, "statuses": statuses},
    )


class Stored:
    """The events that a server keeps; counts the pages that were read of them."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.windows: list[tuple[int, int]] = []
        self.pages = 0
        self.error: Exception | None = None

    async def each(
        self, since_ns: int, until_ns: int, order: str
    ) -> AsyncIterator[tuple[list[Event], int]]:
        assert order == "ASC"
        self.windows.append((since_ns, until_ns))
        if self.error is not None:
            raise self.error
        found = [e for e in self.events if since_ns <= nanoseconds(e.occurred) <= until_ns]
        found.sort(key=lambda e: e.occurred)
        for start in range(0, max(1, len(found)), PAGE):
            self.pages += 1
            yield found[start : start + PAGE], len(found)


class Api:
    """The call of `PrefectApi`, answered from what is stored."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def events(
        self, *, since_ns: int, until_ns: int = UNTIL_EVER, order: str = "DESC"
    ) -> AsyncIterator[tuple[list[Event], int]]:
        return self._stored.each(since_ns, until_ns, order)


class All:
    """Wants every line, unless it is told to fail."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def chosen(self, lines: list[Line]) -> list[Line]:
        if self.error is not None:
            raise self.error
        return lines


class Scene:
    """A follower, what the server keeps, and what was printed."""

    def __init__(self, *events: Event, level: str = "debug", remembered: int = 1_000) -> None:
        self.stored = Stored(*events)
        self.now = NOW
        self.printed: list[str] = []
        self.wanted = All()
        self.follower = Follower(
            Api(self.stored),
            Parser(Cleaning(Settings(), tally=Tally()), on_bad=lambda reason: None),
            self.wanted,
            lambda line: self.printed.append(line.message),
            level=level,
            begin=NOW - MINUTE,
            clock=lambda: self.now,
            remembered=remembered,
        )


async def test_what_comes_twice_is_printed_once() -> None:
    scene = Scene()
    await scene.follower.take([event(1), event(2)])
    await scene.follower.take([event(2), event(3), event(3)])
    assert scene.printed == ["said 1", "said 2", "said 3"]


async def test_the_same_status_in_another_event_is_printed_once() -> None:
    scene = Scene()
    again = Event(**{**{f: getattr(event(1), f) for f in Event.__struct_fields__}, "id": "other"})
    await scene.follower.take([event(1)])
    await scene.follower.take([again])
    assert scene.printed == ["said 1"]


async def test_what_comes_together_is_printed_by_its_time() -> None:
    scene = Scene()
    await scene.follower.take([event(2, "later", at=NOW + SECOND), event(1, "a", "b")])
    assert scene.printed == ["a", "b", "later"]


async def test_what_is_too_quiet_is_not_printed() -> None:
    scene = Scene(level="warning")
    await scene.follower.take([event(1), event(2, level="warning"), event(3, level="critical")])
    assert scene.printed == ["said 2", "said 3"]


async def test_what_could_not_be_judged_is_taken_again() -> None:
    scene = Scene()
    scene.wanted.error = ServerUnavailable("away")
    with pytest.raises(ServerUnavailable):
        await scene.follower.take([event(1)])
    assert scene.printed == []
    scene.wanted.error = None
    await scene.follower.take([event(1)])
    assert scene.printed == ["said 1"]


async def test_a_gap_is_filled_from_what_the_server_keeps() -> None:
    scene = Scene(*(event(n, at=NOW + n) for n in range(120)))
    await scene.follower.take([event(n, at=NOW + n) for n in (0, 1, 2, 117, 118, 119)])
    await scene.follower.fill()
    assert sorted(scene.printed) == sorted(f"said {n}" for n in range(120))
    assert scene.stored.pages == 3


async def test_where_nothing_is_missing_one_page_is_read() -> None:
    scene = Scene(*(event(n, at=NOW + n * 1_000) for n in range(120)))
    await scene.follower.take(scene.stored.events)
    await scene.follower.fill()
    assert (scene.stored.pages, len(scene.printed)) == (1, 120)


async def test_while_it_listens_it_looks_only_at_what_the_server_must_have_written() -> None:
    """What the websocket brought and is not stored yet would hide as many missing ones."""
    scene = Scene(event(1, at=NOW - 20 * SECOND))
    await scene.follower.take([event(2, at=NOW)])
    await scene.follower.fill(listening_since=NOW - 30 * SECOND)
    assert scene.stored.windows == [(NOW - MINUTE, NOW - 15 * SECOND)]
    assert scene.printed == ["said 2", "said 1"]


@pytest.mark.parametrize("since", [0, NOW - 5 * SECOND])
async def test_without_the_websocket_or_just_after_it_looks_at_all(since: int) -> None:
    scene = Scene()
    await scene.follower.fill(listening_since=since)
    assert scene.stored.windows == [(NOW - MINUTE, UNTIL_EVER)]


async def test_each_look_overlaps_the_one_before_and_none_goes_before_the_beginning() -> None:
    scene = Scene()
    await scene.follower.fill()
    scene.now += 10 * MINUTE
    await scene.follower.fill()
    scene.now += MINUTE
    await scene.follower.fill()
    begins = [since for since, _ in scene.stored.windows]
    assert begins == [NOW - MINUTE, NOW - MINUTE, NOW + 8 * MINUTE]


async def test_a_look_that_failed_is_made_up_for() -> None:
    scene = Scene()
    await scene.follower.fill()
    scene.stored.error = ServerUnavailable("away")
    scene.now += 30 * MINUTE
    with pytest.raises(ServerUnavailable):
        await scene.follower.fill()
    scene.stored.error = None
    scene.stored.events = [event(n, at=NOW + n * MINUTE) for n in range(1, 30)]
    await scene.follower.fill()
    assert scene.printed == [f"said {n}" for n in range(1, 30)]


async def test_its_memory_is_bounded() -> None:
    scene = Scene(remembered=10)
    await scene.follower.take([event(n, at=NOW + n * 1_000) for n in range(100)])
    await scene.follower.take([event(99, at=NOW + 99_000)])
    assert len(scene.printed) == 100
    assert (len(scene.follower._events), len(scene.follower._lines)) == (10, 10)


async def test_two_who_deliver_at_once_print_each_line_once() -> None:
    scene = Scene()
    events = [event(n) for n in range(20)]
    await asyncio.gather(*(scene.follower.take(events) for _ in range(5)))
    assert len(scene.printed) == 20


def test_an_outage_is_said_once_and_its_end_once() -> None:
    said: list[str] = []
    outages = Outages(said.append)
    outages.over()
    for _ in range(3):
        outages.failed(ServerUnavailable("It is away."))
    for _ in range(3):
        outages.over()
    outages.failed(ServerUnavailable("It is away."))
    away = "It is away. Waiting for it to come back."
    assert said == [away, "Prefect's server is back.", away]


LINE = Line(("a", "b"), NOW, "status", "info", "said")


@pytest.mark.parametrize("error", [BrokenPipeError(), SystemExit(1)])
def test_once_nobody_reads_it_stops(error: BaseException) -> None:
    calls: list[Line] = []

    def put(line: Line) -> None:
        calls.append(line)
        raise error

    stop = asyncio.Event()
    putting = Putting(put, stop, io.StringIO())
    putting(LINE)
    putting(LINE)
    assert (len(calls), putting.is_closed, stop.is_set()) == (1, True, True)


def test_a_pipe_whose_reader_has_gone_is_found_out_without_writing() -> None:
    reading, writing = os.pipe()
    stop = asyncio.Event()
    with os.fdopen(writing, "w") as out:
        putting = Putting(lambda line: None, stop, out)
        putting.look()
        assert not stop.is_set()
        os.close(reading)
        putting.look()
        assert (putting.is_closed, stop.is_set()) == (True, True)


def test_a_file_is_no_pipe(tmp_path: Path) -> None:
    stop = asyncio.Event()
    with (tmp_path / "out").open("w") as out:
        Putting(lambda line: None, stop, out).look()
    assert not stop.is_set()
