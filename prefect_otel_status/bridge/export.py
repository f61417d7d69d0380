"""From the outbox to the receiver: what it confirms is deleted, in one step with its count.

Nothing leaves the outbox before. So a death between the two means a resend,
which is identical to the bit, and never a loss.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import outbox
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.outbox import Cap, Row
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.senders.base import Kind, Outcome, Sender
from prefect_otel_status.bridge.trouble import MINUTE, Seldom, Trouble

DELIVERED, PARTIAL, RETRIED, SET_ASIDE = "delivered", "partial", "retried", "set_aside"
"""What becomes of an item at an export."""

logger = logging.getLogger("prefect_otel_status.bridge")

T = TypeVar("T")
Work = Callable[[Connection], None]
Commit = Callable[[Work, list[Step]], Awaitable[None]]
"""Does WORK and applies the steps in one transaction. It reads the steps after WORK ran."""

_LONGEST_WAIT = 60.0
_LONGEST_ASKED = 3600.0
_BOUNDED_TRIES = 5
_LOOK_ANYWAY = 5.0  # seconds; what another process has released tells nobody
_CUT_SHORT = Outcome(Kind.RETRY, "the bridge stops")


class Store(Protocol):
    """Runs a function in one transaction."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What WORK returns."""


class Limits(msgspec.Struct, frozen=True):
    """How much one request may hold: below the 4 MiB that gRPC receivers take by default."""

    max_bytes: int = 3_500_000
    max_items: int = 512


class Progress(msgspec.Struct, frozen=True):
    """What one step did: how many items it dealt with, and how long to wait before the next."""

    items: int = 0
    wait: float = 0.0


def backoff(failures: int, *, random: Callable[[], float], asked: float | None = None) -> float:
    """Seconds to wait after FAILURES in a row: up to 1, 2, 4, ... 60, at random.

    At least as long as the receiver ASKED for, up to an hour.
    """
    ceiling = min(_LONGEST_WAIT, 2.0 ** min(max(failures - 1, 0), 6))
    return max(random() * ceiling, min(asked or 0.0, _LONGEST_ASKED))


class Exporter:
    """Sends what waits of one SIGNAL, in order, one request at a time.

    What the receiver refuses is halved until the item at fault is alone; that
    is set aside, and the rest flows. `last_success` is in nanoseconds, 0 for never.
    """

    def __init__(
        self,
        *,
        signal: str,
        store: Store,
        sender: Sender,
        commit: Commit,
        cap: Cap = Cap(),  # noqa: B008  (it is frozen)
        limits: Limits = Limits(),  # noqa: B008  (it is frozen)
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.last_success = 0
        self._signal = signal
        self._store = store
        self._sender = sender
        self._commit = commit
        self._cap = cap
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._pieces: deque[Sequence[Row]] = deque()
        self._failures = 0
        self._news = asyncio.Event()
        self._trouble = Trouble(clock=clock)
        self._seldom = Seldom(clock=clock, every=MINUTE)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the export, or None."""
        return self._trouble.sentence

    def notify(self) -> None:
        """Look at the outbox soon: something was put there."""
        self._news.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Export until STOP is set. A request that is on its way then is given up.

        Raises `LeaseLostError` where another bridge has taken over.
        """
        while not stop.is_set():
            self._news.clear()
            progress = await self._step(stop)
            if progress.wait:
                await self._pause(progress.wait, stop.wait())
            elif not progress.items:
                await self._pause(_LOOK_ANYWAY, stop.wait(), self._news.wait())

    async def drain(self, seconds: float) -> bool:
        """Export for at most SECONDS; tell whether nothing waits any more."""
        late = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(seconds, late.set)
        try:
            while not late.is_set():
                progress = await self._step(late)
                if progress.wait:
                    await self._pause(progress.wait, late.wait())
                elif not progress.items and not late.is_set():
                    return True
            return False
        finally:
            timer.cancel()

    async def run_once(self, stop: asyncio.Event | None = None) -> Progress:
        """Send one request and apply what became of it. Raises what the store raises."""
        piece = await self._next()
        if not piece:
            return Progress()
        outcome = await self._send(piece, stop or asyncio.Event())
        if outcome is _CUT_SHORT:
            return Progress()
        return await self._apply(piece, outcome)

    async def _step(self, stop: asyncio.Event) -> Progress:
        try:
            return await self.run_once(stop)
        except LeaseLostError:
            self._pieces.clear()  # whoever has it now decides what becomes of them
            raise
        except Exception as error:
            # A full disk, a database that restarts: what was sent is sent again.
            self._failures += 1
            self._trouble.begin("store", f"The store cannot be used: {type(error).__name__}.")
            return Progress(wait=backoff(self._failures, random=self._random) or 0.1)

    async def _next(self) -> Sequence[Row]:
        """The rest of what was halved, or else a new batch."""
        if not self._pieces:
            limits = msgspec.structs.asdict(self._limits)
            taken = await self._store.run(partial(outbox.take, signal=self._signal, **limits))
            if taken:
                self._pieces.append(taken)
        return self._pieces[0] if self._pieces else ()

    async def _send(self, piece: Sequence[Row], stop: asyncio.Event) -> Outcome:
        sending = asyncio.ensure_future(self._outcome_of(piece))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else _CUT_SHORT
        finally:
            await _end(sending, stopping)

    async def _outcome_of(self, piece: Sequence[Row]) -> Outcome:
        try:
            return await self._sender.send(self._signal, [row.body for row in piece])
        except Exception as error:
            return Outcome(Kind.RETRY, f"unexpected {type(error).__name__}")

    async def _apply(self, piece: Sequence[Row], outcome: Outcome) -> Progress:
        if outcome.kind in (Kind.DELIVERED, Kind.PARTIAL):
            return await self._confirm(piece, outcome)
        if outcome.kind in (Kind.REFUSED, Kind.TOO_LARGE) or self._is_given_up(piece, outcome):
            return await self._refused(piece, outcome)
        return await self._later(piece, outcome)

    def _is_given_up(self, piece: Sequence[Row], outcome: Outcome) -> bool:
        return outcome.bounded and max(row.attempts for row in piece) + 1 >= _BOUNDED_TRIES

    async def _confirm(self, piece: Sequence[Row], outcome: Outcome) -> Progress:
        steps: list[Step] = []

        def work(conn: Connection) -> None:
            # What the cap has dropped meanwhile is counted there already.
            there = outbox.confirm(conn, [row.id for row in piece])
            lost = min(outcome.rejected, there)
            steps[:] = self._steps({DELIVERED: there - lost, PARTIAL: lost})

        await self._commit(work, steps)
        self._pieces.popleft()
        self._went_well()
        self._tell_words(piece, outcome)
        return Progress(len(piece))

    async def _refused(self, piece: Sequence[Row], outcome: Outcome) -> Progress:
        if len(piece) > 1:
            half = len(piece) // 2
            self._pieces.popleft()
            self._pieces.extendleft((piece[half:], piece[:half]))
            return Progress(len(piece))
        await self._set_aside(piece[0], outcome.message)
        return Progress(1)

    async def _set_aside(self, row: Row, reason: str) -> None:
        steps: list[Step] = []

        def work(conn: Connection) -> None:
            steps.clear()
            if outbox.get(conn, row.id) is None:
                return  # the cap has dropped it meanwhile, and counted it
            drops = outbox.set_aside(conn, [row.id], reason, cap=self._cap)
            steps[:] = [*self._steps({SET_ASIDE: 1}), *self._steps(drops, of=signals.BRIDGE_DROPS)]

        await self._commit(work, steps)
        self._pieces.popleft()
        if self._seldom.allows(SET_ASIDE):
            logger.warning(
                "The receiver of %s refused item %d and it was set aside: %s. "
                "`prefect-otel-status bridge --set-aside` lists what is.",
                *(self._signal, row.id, reason),
            )

    async def _later(self, piece: Sequence[Row], outcome: Outcome) -> Progress:
        steps = self._steps({RETRIED: len(piece)})
        ids = [row.id for row in piece] if outcome.bounded else []
        await self._commit(lambda conn: outbox.failed(conn, ids), steps)
        if outcome.bounded:
            self._pieces[0] = [_tried(row) for row in piece]
        self._failures += 1
        self._tell_trouble(outcome)
        wait = backoff(self._failures, random=self._random, asked=outcome.retry_after)
        return Progress(len(piece), wait)

    def _went_well(self) -> None:
        self.last_success = self._clock()
        self._failures = 0
        self._trouble.end(f"The receiver of {self._signal} takes them again.")

    def _tell_words(self, piece: Sequence[Row], outcome: Outcome) -> None:
        if not outcome.message or not self._seldom.allows(outcome.kind.value):
            return
        if outcome.kind is Kind.DELIVERED:
            logger.warning("The receiver of %s says: %s", self._signal, outcome.message)
            return
        text = "The receiver of %s rejected %d of %d: %s"
        logger.warning(text, self._signal, outcome.rejected, len(piece), outcome.message)

    def _tell_trouble(self, outcome: Outcome) -> None:
        if outcome.kind is Kind.UNAUTHORIZED:
            self._trouble.begin(
                "unauthorized",
                f"The receiver of {self._signal} turns us away: {outcome.message}. "
                "Check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS; "
                "the data is kept and tried again.",
            )
        elif self._failures > 1:  # once is a connection that had grown old
            self._trouble.begin(
                "retry",
                f"The receiver of {self._signal} takes nothing: {outcome.message}. "
                "The data is kept and tried again.",
            )

    def _steps(
        self, counts: dict[str, int], *, of: signals.Metric = signals.BRIDGE_EXPORTS
    ) -> list[Step]:
        now = self._clock()
        return [
            Step(metric=of.name, labels=(label,), value=count, at=now)
            for label, count in counts.items()
            if count
        ]

    async def _pause(self, seconds: float, *until: Awaitable[Any]) -> None:
        """Wait SECONDS, or until the first of UNTIL."""
        waits = [asyncio.ensure_future(wait) for wait in (self._sleep(seconds), *until)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(*waits)


def _tried(row: Row) -> Row:
    return msgspec.structs.replace(row, attempts=row.attempts + 1)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
