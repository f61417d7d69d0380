"""The bridge as a whole: wires its parts, waits for the lease, works, stops in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.bridge import cards, ledger, recent, views
from prefect_otel_status.bridge.api import PrefectApi
from prefect_otel_status.bridge.cards import Look
from prefect_otel_status.bridge.catalogue import Key
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.connection import Connection, ServerUnavailable, Unauthorized
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.export import Exporter
from prefect_otel_status.bridge.gauges import Gauges, read_gauges
from prefect_otel_status.bridge.health import Check, Health
from prefect_otel_status.bridge.housekeeping import Housekeeper
from prefect_otel_status.bridge.ingest import WEBSOCKET
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.listen import Listener
from prefect_otel_status.bridge.outage import Outage
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.push import Pusher
from prefect_otel_status.bridge.recent import EndedRun
from prefect_otel_status.bridge.scrape import Scrape
from prefect_otel_status.bridge.senders.base import Sender
from prefect_otel_status.bridge.settle import Settler
from prefect_otel_status.bridge.silence import silent_rows
from prefect_otel_status.bridge.spans import UrlOf
from prefect_otel_status.bridge.sweep import Sweeper
from prefect_otel_status.bridge.wire import Event
from prefect_otel_status.web.overview import Card

logger = logging.getLogger("prefect_otel_status.bridge")

DRAIN = 5.0
"""Seconds for which a bridge that is told to stop goes on exporting."""

_TICK = 1.0
_LISTENING = 3
_DEPLOYMENTS_EVERY = 60.0
_WORKERS_EVERY = 30.0
_FORGET_EVERY = 3600.0


class Bridge:
    """One bridge. `run` is its life; `once` a single pass."""

    def __init__(
        self,
        core: Core,
        connection: Connection,
        listener: Listener,
        exporters: list[Exporter],
        clean: Cleaning,
        *,
        sampled: Callable[[int], bool],
        url_of: UrlOf,
        on_progress: Callable[[int], None] = lambda count: None,
        pushes: Sender | None = None,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.core = core
        self.working = False
        self.url_of = url_of
        self.connection = connection
        self._listener = listener
        self._exporters = exporters
        self._monotonic = monotonic
        api = PrefectApi(connection, on_bad=core.bad)
        parser = Parser(clean, on_bad=core.bad)
        describer = Describer(api, clean)
        listening = self._is_listening
        self._parser = parser
        self._sweeper = Sweeper(
            core, api, describer, parser, is_listening=listening, on_progress=on_progress
        )
        self._settler = Settler(
            core, api, describer, parser, sampled=sampled, url_of=url_of, is_listening=listening
        )
        self._keeper = Housekeeper(core, api, describer, clean)
        self._sweep_trouble = _outage("Reading Prefect's history")
        self._settle_trouble = _outage("Reading the runs that have ended")
        self._store_trouble = _outage("The store")
        self._due: dict[str, int] = {}
        self.scrape = Scrape(
            core.series, gauges=self.gauges, working=lambda: self.working, clock=monotonic
        )
        self._pushers = [self._pusher(pushes)] if pushes is not None else []
        core.on_outbox = self._notify
        core.listening_since = lambda: listener.connected_since

    # --- a life ------------------------------------------------------------
    async def run(self, stop: asyncio.Event) -> None:
        """Work while the lease is ours, wait while it is another's, until STOP is set."""
        while not stop.is_set():
            if await self._wait_for_lease(stop):
                await self._work(stop)
        await self.connection.close()

    async def once(self) -> int:
        """Sweep, settle and export until all is delivered; how many items still wait.

        Raises where the server cannot be read.
        """
        if not await self._take_lease():
            raise LeaseLostError
        await self.core.load()
        self.working = True
        try:
            await self._keeper.look_at_deployments()
            await self._sweeper.sweep()
            while (settled := await self._settler.settle_due()) or await self._not_settled():
                await asyncio.sleep(0 if settled else 0.2)
            return await self._deliver()
        finally:
            self.working = False
            await self._end_lease()
            await self.connection.close()

    async def _not_settled(self) -> int:
        return await self.core.store.read(ledger.count_unsettled)

    async def _deliver(self) -> int:
        delivered = [await exporter.drain(60.0) for exporter in self._exporters]
        return 0 if all(delivered) else 1

    async def _wait_for_lease(self, stop: asyncio.Event) -> bool:
        waits = False
        while not stop.is_set():
            taken = await self._take_lease()
            if taken:
                return True
            if taken is False and not waits:
                waits = True
                logger.info("Another bridge works on this store; this one waits for its turn.")
            await _pause(stop, _TICK)
        return False

    async def _take_lease(self) -> bool | None:
        """Whether the lease is ours now; None where the store cannot be used."""
        try:
            taken = await self.core.store.run(self.core.lease.try_take)
        except Exception as error:
            self._store_trouble.failed(_words_of(error))
            return None
        self._store_trouble.over()
        return taken

    async def _work(self, stop: asyncio.Event) -> None:
        """Do everything at once until STOP, or until the lease is lost."""
        try:
            await self.core.load()
        except Exception as error:
            self._store_trouble.failed(_words_of(error))
            await _pause(stop, _TICK)
            return
        self.working = True
        ending = asyncio.Event()
        tasks = [asyncio.create_task(job) for job in self._jobs(ending)]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._say_why(done - {stopping})
        finally:
            stopping.cancel()
            ending.set()
            await self._end(tasks, is_ours=not any(t.done() for t in tasks))

    def _jobs(self, ending: asyncio.Event) -> list[Any]:
        options = self.core.options
        return [
            self._listener.run(self._take, ending),
            self._repeat(self._sweep, self._until_next_sweep, ending),
            self._repeat(self._settle, _TICK, ending),
            self._repeat(self._beat, min(_TICK, options.lease_seconds / 3), ending),
            self._repeat(self._look, _TICK, ending),
            *(exporter.run(ending) for exporter in self._exporters),
            *(pusher.run(ending) for pusher in self._pushers),
        ]

    def _pusher(self, sender: Sender) -> Pusher:
        return Pusher(
            sender,
            families=self.scrape.pushed,
            since=lambda: self.core.since,
            resource=self.core.options.resource,
            interval=self.core.options.scrape_interval,
            clock=self.core.clock,
        )

    async def _end(self, tasks: list[asyncio.Task[Any]], *, is_ours: bool) -> None:
        """Stop reading, export for a moment, give the lease back."""
        began = time.monotonic()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DRAIN / 2)
        if is_ours:
            left = max(0.0, DRAIN - (time.monotonic() - began))
            with suppress(Exception):
                await asyncio.gather(*(exporter.drain(left) for exporter in self._exporters))
            await self._end_lease()
        self.working = False

    async def _end_lease(self) -> None:
        with suppress(Exception):  # it is found dead otherwise
            await self.core.store.run(self.core.lease.give_back)

    def _say_why(self, done: set[asyncio.Task[Any]]) -> None:
        for task in done:
            error = task.exception()
            if isinstance(error, LeaseLostError):
                logger.warning("Another bridge has taken over; this one waits again.")
            elif error is not None:
                logger.error("A part of the bridge failed: %s", _words_of(error))

    # --- the parts ---------------------------------------------------------
    async def _repeat(
        self,
        job: Callable[[], Awaitable[object]],
        seconds: float | Callable[[], float],
        ending: asyncio.Event,
    ) -> None:
        while not ending.is_set():
            await job()
            await _pause(ending, seconds() if callable(seconds) else seconds)

    def _until_next_sweep(self) -> float:
        """Seconds: what the websocket brings need not be looked for as often."""
        interval = self.core.options.sweep_interval
        return interval * _LISTENING if self._is_listening() else interval

    async def _take(self, events: list[Event]) -> None:
        found = [o for event in events for o in self._parser.event(event)]
        await self.core.ingest(found, path=WEBSOCKET)

    async def _sweep(self) -> None:
        await _tried(self._sweeper.sweep, self._sweep_trouble)

    async def _settle(self) -> None:
        while await _tried(self._settler.settle_due, self._settle_trouble):
            pass

    async def _beat(self) -> None:
        """Keep the lease; let series follow their true values; presume the silent dead."""
        try:
            await self.core.store.run(self.core.lease.renew)
            await self.core.release(self._monotonic())
            await self._find_silent()
        except LeaseLostError:
            raise
        except Exception as error:
            logger.debug("The store cannot be used now: %s", error)

    async def _find_silent(self) -> None:
        now = self.core.clock()
        # Nobody is taken for dead while their heartbeats cannot be read.
        if now - self._sweeper.last_success > 60 * 1_000_000_000:
            return
        rows = await self.core.store.read(ledger.active_rows)
        silent = silent_rows(rows, now, self.core.options.heartbeat_period)
        if silent:
            await self.core.commit(lambda connection: ledger.save_rows(connection, silent))

    async def _look(self) -> None:
        """Do what is due of the things that are done now and then."""
        for job, seconds in (
            (self._keeper.look_at_deployments, _DEPLOYMENTS_EVERY),
            (self._keeper.look_at_workers, _WORKERS_EVERY),
            (self._keeper.forget, _FORGET_EVERY),
        ):
            if self._is_due(job.__name__, seconds):
                await _quietly(job)

    def _is_due(self, name: str, seconds: float) -> bool:
        now = self._monotonic()
        due = self._due.get(name, 0)
        if now < due:
            return False
        self._due[name] = now + int(seconds * 1e9)
        return True

    def _notify(self) -> None:
        for exporter in self._exporters:
            exporter.notify()

    def _is_listening(self) -> bool:
        return self._listener.connected

    # --- what others ask ---------------------------------------------------
    async def gauges(self) -> Gauges:
        """All gauges now."""
        now = self.core.clock()
        found = await self.core.store.read(lambda connection: read_gauges(connection, now=now))
        lag = max(0, now - self._sweeper.last_success) / 1e9 if self._sweeper.last_success else 0.0
        return {
            **found,
            **self._keeper.workers,
            signals.BRIDGE_LAG: [((), lag)],
            signals.BRIDGE_CONNECTED: [((), float(self._listener.connected))],
            signals.BRIDGE_STORE_SIZE: [((), float(self.core.store.size()))],
        }

    def health(self) -> Health:
        """How the parts are doing."""
        troubles = [exporter.trouble for exporter in self._exporters if exporter.trouble]
        return Health(
            sweep=Check(self._sweeper.last_success, self._sweep_trouble.sentence),
            commit=Check(self.core.last_commit),
            export=Check(self._last_export(bool(troubles)), " ".join(troubles)),
            holds_lease=self.working,
        )

    def _last_export(self, in_trouble: bool) -> int:
        # Without trouble all that there was has been sent, or there was nothing.
        if not in_trouble:
            return self.core.clock()
        return min(exporter.last_success for exporter in self._exporters)

    async def deployments(self) -> list[dict[str, Any]]:
        """All deployments, for `/api/deployments`."""
        due = self._keeper.next_due
        return await self.core.store.read(
            lambda connection: cards.rows(connection, self.core.catalogue, due)
        )

    async def cards(self) -> list[Card]:
        """All deployments, for the overview."""
        due = self._keeper.next_due
        return await self.core.store.read(
            lambda connection: cards.cards(connection, self.core.catalogue, due)
        )

    async def look(self, key: Key) -> Look | None:
        """The deployment KEY, for its page."""
        due = self._keeper.next_due
        return await self.core.store.read(
            lambda connection: cards.look(connection, self.core.catalogue, due, key)
        )

    async def ended_run(self, run_id: str) -> EndedRun | None:
        """What is kept of the run RUN_ID since it ended."""
        return await self.core.store.read(lambda connection: recent.load_one(connection, run_id))

    async def one_run(self, run_id: str) -> dict[str, Any] | None:
        """One run, for `/api/runs/{id}`."""
        return await self.core.store.read(lambda connection: views.run(connection, run_id))


def _words_of(error: BaseException) -> str:
    """What ERROR is and says; of a database's error not the statement, which holds data."""
    said = getattr(error, "orig", None) or error
    return f"{type(error).__name__}: {said}"


def _outage(what: str) -> Outage:
    return Outage(what, logger=logger, monotonic=time.monotonic)


async def _pause(event: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _tried(job: Callable[[], Awaitable[Any]], trouble: Outage) -> Any:
    """The result of JOB; None, said in the log once a minute, where it failed."""
    try:
        result = await job()
    except LeaseLostError:
        raise
    except (ServerUnavailable, Unauthorized) as error:
        trouble.failed(str(error))
        return None
    except Exception as error:
        trouble.failed(_words_of(error))
        logger.debug("In full:", exc_info=True)
        return None
    trouble.over()
    return result


async def _quietly(job: Callable[[], Awaitable[Any]]) -> None:
    """JOB, which will be done again; the sweep says what is wrong with the server."""
    try:
        await job()
    except LeaseLostError:
        raise
    except Exception as error:
        logger.debug("%s: %s: %s", job, type(error).__name__, error)
