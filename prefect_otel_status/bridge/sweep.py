"""The sweep: the server's own history, read so that nothing is missed. The truth of the bridge."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.ingest import SWEEP
from prefect_otel_status.bridge.parse import Parser, traceparent
from prefect_otel_status.bridge.records import Observation, RunRow, Step
from prefect_otel_status.bridge.store import read_meta, write_meta
from prefect_otel_status.bridge.wire import Event, FlowRun

logger = logging.getLogger("prefect_otel_status.bridge")

SWEPT_UNTIL = "swept_until"
EVENTS_KEPT = 7 * 86_400
"""Seconds for which Prefect keeps its events."""

_SECOND = 1_000_000_000
_CATCH_UP = 600
"""Seconds of events that are read by time; what is older is read run by run."""

_QUIET_TICKS = 4
"""While the websocket is connected, events are swept every so many ticks."""


class Api(Protocol):
    """The calls that a sweep needs; `api.PrefectApi` has them."""

    async def active_runs(self, *, now_ns: int) -> list[FlowRun]: ...

    def ended_runs(self, *, since_ns: int) -> AsyncIterator[list[FlowRun]]: ...

    async def runs_by_id(self, ids: Iterable[str]) -> list[FlowRun]: ...

    def events(self, *, since_ns: int) -> AsyncIterator[tuple[list[Event], int]]: ...

    def events_of(self, run_ids: Sequence[str]) -> AsyncIterator[tuple[list[Event], int]]: ...


class Sweeper:
    """Reads what changed since the last sweep, with an overlap, and a wider one now and then."""

    def __init__(
        self,
        core: Core,
        api: Api,
        describer: Describer,
        parser: Parser,
        *,
        is_listening: Callable[[], bool] = lambda: False,
        on_progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._core = core
        self._api = api
        self._describer = describer
        self._parser = parser
        self._is_listening = is_listening
        self._on_progress = on_progress
        self._rechecked = 0
        self._gap_said: int | None = None
        self._tick = 0
        self._ended_read = 0
        self.last_success = 0

    async def sweep(self) -> None:
        """Read once. What was found is committed before how far the sweep came is."""
        now = self._core.clock()
        until = await self._core.store.read(_swept_until)
        since = self._since(until, now)
        await self._report_gap(until, now)
        active = await self._api.active_runs(now_ns=now)
        await self._take(active)
        await self._read_ended(since)
        await self._read_vanished({run.id for run in active})
        await self._read_events(until, now)
        await self._read_ages(active, until, now)
        await self._core.commit(lambda connection: write_meta(connection, SWEPT_UNTIL, str(now)))
        self.last_success = now

    def _since(self, until: int | None, now: int) -> int:
        """From when on ended runs are read: the last sweep, the backfill, or a re-check."""
        options = self._core.options
        if until is None:
            return now - int(options.backfill * _SECOND)
        since = min(until, now) - int(options.overlap * _SECOND)
        if now - self._rechecked >= options.recheck_interval * _SECOND:
            # A change from one final state to another leaves the time of the end as it was.
            self._rechecked = now
            since = min(since, now - int(options.recheck_window * _SECOND))
        return since

    async def _report_gap(self, until: int | None, now: int) -> None:
        """Say and count the time of which the server no longer has events."""
        lost = (now - until) / _SECOND - EVENTS_KEPT if until else 0
        if lost <= 0 or self._gap_said == until:
            return
        self._gap_said = until
        logger.warning(
            "The bridge was away for longer than Prefect keeps events: %.0f hours of them are "
            "gone. Flow runs of that time are drawn from their states; their tasks may be missing.",
            lost / 3600,
        )
        step = Step(signals.BRIDGE_HISTORY_GAP.name, (), lost)
        await self._core.commit(lambda connection: None, [step])

    async def _take(self, runs: Sequence[FlowRun]) -> None:
        """Describe the RUNS that are new or changed, and keep what they say."""
        rows = await self._core.store.read(
            lambda connection: ledger.load_rows(connection, [run.id for run in runs])
        )
        changed = [run for run in runs if _is_news(run, rows.get(run.id))]
        for chunk in ledger.chunks(changed, 200):
            seen = await self._describer.describe(chunk)
            found = [o for run in chunk for o in self._parser.flow_run(run, seen[run.id])]
            await self._core.ingest(found, path=SWEEP, expected=self._is_listening())

    async def _read_ended(self, since: int) -> None:
        async for page in self._api.ended_runs(since_ns=since):
            await self._take(page)
            self._ended_read += len(page)
            if not self.last_success:  # the first time, which may take long
                self._on_progress(self._ended_read)

    async def _read_vanished(self, listed: set[str]) -> None:
        """What became of runs that went on and are no longer listed; some have been deleted."""
        rows = await self._core.store.read(ledger.active_rows)
        missing = sorted(row.id for row in rows if row.kind == "flow" and row.id not in listed)
        if not missing:
            return
        found = await self._api.runs_by_id(missing)
        await self._take(found)
        gone = set(missing) - {run.id for run in found}
        if gone:
            now = self._core.clock()
            await self._core.commit(lambda connection: ledger.let_go(connection, gone, now=now))

    async def _read_events(self, until: int | None, now: int) -> None:
        """The latest events, the newest first, until a page has nothing new.

        This is for speed: each run's own events are read when it is settled.
        """
        self._tick += 1
        if self._is_listening() and self._tick % _QUIET_TICKS != 1:
            return
        overlap = int(self._core.options.overlap * _SECOND)
        since = max(min(until or now, now) - overlap, now - _CATCH_UP * _SECOND)
        async for events, _ in self._api.events(since_ns=since):
            if not await self._take_events(events):
                return

    async def _read_ages(self, active: Sequence[FlowRun], until: int | None, now: int) -> None:
        """The own events of runs that were going on before the bridge looked."""
        if until is not None and now - until < _CATCH_UP * _SECOND:
            return
        for run in active:
            if run.state_type == "RUNNING":
                async for events, _ in self._api.events_of([run.id]):
                    await self._take_events(events, expected=False)

    async def _take_events(self, events: Sequence[Event], *, expected: bool = True) -> int:
        found: list[Observation] = []
        for event in events:
            found.extend(self._parser.event(event))
        expected = expected and self._is_listening()
        return (await self._core.ingest(found, path=SWEEP, expected=expected)).new


def _swept_until(connection: Connection) -> int | None:
    found = read_meta(connection, SWEPT_UNTIL)
    return int(found) if found else None


def _is_news(run: FlowRun, row: RunRow | None) -> bool:
    """Whether RUN says more than ROW: another state, or a first description."""
    if row is None or not row.described:
        return True
    state_id = run.state.id if run.state is not None else ""
    return state_id != row.state_id or _span_of(run) != row.seen.traceparent


def _span_of(run: FlowRun) -> str:
    return traceparent((run.labels or {}).get(signals.TRACEPARENT_LABEL))
