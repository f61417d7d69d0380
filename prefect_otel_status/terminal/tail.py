"""What the command `tail` does: statuses and changes of state, as they come, until told to stop.

The websocket brings them at once, and may leave some out; the events that the
server keeps are compared with what came every few seconds, and fill the gaps.
"""

from __future__ import annotations

import asyncio
import logging
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeVar

from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.api import UNTIL_EVER
from prefect_otel_status.bridge.connection import RequestRefused, ServerUnavailable, Unauthorized
from prefect_otel_status.bridge.event_pages import OLDEST_FIRST
from prefect_otel_status.bridge.listen import Listener
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.server import PrefectServer, from_prefect_settings
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.settings import Settings
from prefect_otel_status.terminal.lines import Line, as_json, as_text, is_at_least, lines_of
from prefect_otel_status.terminal.memory import Memory
from prefect_otel_status.terminal.prefect import Prefect, prefect
from prefect_otel_status.terminal.target import Wanted, find_targets

__all__ = ["Choice", "Line", "as_json", "as_text", "follow"]

logger = logging.getLogger("prefect_otel_status.terminal")

T = TypeVar("T")

_SECOND = 1_000_000_000
_OVERLAP = 120 * _SECOND
"""How far before the last look the next one begins: for what came late."""

_WRITTEN = 15 * _SECOND
"""By when the server has written what it sent over the websocket: it does so every 5 s."""

_REMEMBERED = 50_000
_EVERY, _EVERY_WITHOUT = 5.0, 2.0
"""Seconds between two looks: with the websocket, and without it."""

_STEP = 0.25
_LATE = 10.0

_AWAY = (ServerUnavailable, Unauthorized, RequestRefused)


class Api(Protocol):
    """The call that following needs; `api.PrefectApi` has it."""

    def events(
        self, *, since_ns: int, until_ns: int = ..., order: str = ...
    ) -> AsyncIterator[tuple[list[wire.Event], int]]: ...


class Chooses(Protocol):
    """Says which lines are wanted; `target.Wanted` does."""

    async def chosen(self, lines: list[Line]) -> list[Line]: ...


class Follower:
    """Writes each line that is wanted once, whichever way it came, and from whichever at first.

    BEGIN, in nanoseconds since 1970, is from when on the server is asked.
    """

    def __init__(
        self,
        api: Api,
        parser: Parser,
        wanted: Chooses,
        write: Callable[[Line], None],
        *,
        level: str,
        begin: int,
        clock: Callable[[], int] = time.time_ns,
        remembered: int = _REMEMBERED,
    ) -> None:
        self._api = api
        self._parser = parser
        self._wanted = wanted
        self._write = write
        self._level = level
        self._begin = self._filled = begin
        self._clock = clock
        self._events: Memory[str] = Memory(remembered)
        self._lines: Memory[tuple[str, str]] = Memory(remembered)
        self._lock = asyncio.Lock()

    async def take(self, events: Sequence[wire.Event]) -> None:
        """Write what is new in EVENTS, by time. Raises as `Connection` does, and then took none."""
        async with self._lock:
            new = [event for event in events if event.id not in self._events]
            found = [line for event in new for line in lines_of(self._parser.event(event))]
            loud = [line for line in found if is_at_least(line, self._level)]
            for line in sorted(await self._wanted.chosen(loud), key=lambda each: each.at):
                if self._lines.add(line.key, line.at):
                    self._write(line)
            for event in new:
                self._events.add(event.id, nanoseconds(event.occurred))

    async def fill(self, *, listening_since: int = 0) -> None:
        """Take what the server has and nobody brought. Raises as `Connection` does.

        LISTENING_SINCE is when the websocket was opened, 0 where it is not. One
        request where nothing is missing, for the server counts what it has.
        """
        now = self._clock()
        settled = now - _WRITTEN
        until = settled if 0 < listening_since < settled else UNTIL_EVER
        since = max(self._begin, self._filled - _OVERLAP)
        if since > until:
            return
        pages = self._api.events(since_ns=since, until_ns=until, order=OLDEST_FIRST)
        async for events, total in pages:
            await self.take(events)
            if self._events.count(since, until) >= total:
                break
        self._filled = min(until, now)


class Outages:
    """Says once that the server is away, and once that it is back."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_away = False

    @property
    def is_away(self) -> bool:
        return self._is_away

    def failed(self, error: Exception) -> None:
        """A look failed."""
        if not self._is_away:
            self._say(f"{error} Waiting for it to come back.")
        self._is_away = True

    def over(self) -> None:
        """A look succeeded."""
        if self._is_away:
            self._say("Prefect's server is back.")
        self._is_away = False


@dataclass(frozen=True)
class Choice:
    """What the person wants to see: of which deployment or flow, empty for all; the least level."""

    deployment: str = ""
    level: str = "info"


class Putting:
    """Hands lines to PUT until that finds that nobody reads them, and then sets STOP."""

    def __init__(self, put: Callable[[Line], None], stop: asyncio.Event, out: IO[str]) -> None:
        self._put = put
        self._stop = stop
        self._out = out
        self.is_closed = False

    def __call__(self, line: Line) -> None:
        """Put LINE, if anybody still reads."""
        if self.is_closed:
            return
        try:
            self._put(line)
        except (BrokenPipeError, SystemExit):  # the latter is what rich makes of the former
            self.close()

    def close(self) -> None:
        """Put nothing more."""
        self.is_closed = True
        self._stop.set()

    def look(self) -> None:
        """Find out whether anybody still reads, without writing."""
        if not self.is_closed and _is_hung_up(self._out):
            self.close()


async def follow(
    settings: Settings,
    choice: Choice,
    put: Callable[[Line], None],
    *,
    since: float = 0.0,
    out: IO[str] | None = None,
    say: Callable[[str], None] = logger.warning,
    server: Callable[[], PrefectServer] = from_prefect_settings,
    stop: asyncio.Event | None = None,
) -> None:
    """PUT what is of CHOICE, from SINCE seconds ago on, until SIGINT, SIGTERM or STOP.

    OUT is where PUT writes to; SAY is told once when the server is away, and once
    when it is back. Raises `BrokenPipeError` once nobody reads OUT, `NotFound`
    for a deployment that there is not, and as `Connection` does where the server
    cannot be read at the start.
    """
    stop = stop or asyncio.Event()
    _stop_on_signals(stop)
    # What it says of outages is for the bridge's log; here SAY is told.
    logging.getLogger("prefect_otel_status.bridge").setLevel(logging.CRITICAL)
    putting = Putting(put, stop, out or sys.stdout)
    begin = time.time_ns() - int(since * 1e9)
    async with prefect(settings, server=server) as history:
        follower = await _unless(stop, _begun(history, choice, putting, begin))
        if follower is not None:
            await _follow(follower, Listener(server), Outages(say), putting, stop)
    if putting.is_closed:
        raise BrokenPipeError


async def _begun(history: Prefect, choice: Choice, put: Putting, begin: int) -> Follower:
    """What follows, once it has put what there is already."""
    name = choice.deployment
    targets = await find_targets(history.connection, history.api, name) if name else ()
    wanted = Wanted(targets, history.api, history.describer)
    follower = Follower(history.api, history.parser, wanted, put, level=choice.level, begin=begin)
    await follower.fill()
    return follower


async def _follow(
    follower: Follower, listener: Listener, outages: Outages, put: Putting, stop: asyncio.Event
) -> None:
    listening = asyncio.create_task(listener.run(follower.take, stop))
    try:
        while not stop.is_set():
            await _look(follower, listener, outages, stop)
            await _pause(listener, outages, put, stop)
    finally:
        stop.set()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(listening, _LATE)


async def _look(
    follower: Follower, listener: Listener, outages: Outages, stop: asyncio.Event
) -> None:
    since = listener.connected_since if listener.connected else 0
    try:
        await _unless(stop, follower.fill(listening_since=since))
    except _AWAY as error:
        outages.failed(error)
    else:
        if not stop.is_set():
            outages.over()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What WORK gives; None where STOP is set before, and then it is cancelled."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    return None


async def _pause(listener: Listener, outages: Outages, put: Putting, stop: asyncio.Event) -> None:
    """Wait for the time of the next look, or until the websocket opens or breaks off."""
    was = listener.connected
    left = _EVERY if was and not outages.is_away else _EVERY_WITHOUT
    while left > 0 and listener.connected == was and not stop.is_set():
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), _STEP)
        left -= _STEP
        put.look()


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has none, and raises KeyboardInterrupt instead; so does any thread but the first.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)


def _is_hung_up(out: IO[str]) -> bool:
    """Whether OUT is a pipe whose other end is closed."""
    if not hasattr(select, "poll"):
        return False
    try:
        poll = select.poll()
        poll.register(out.fileno(), 0)  # errors are told unasked
        return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False
