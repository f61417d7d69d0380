"""What the parts of a working bridge share: the store, the lease, the counters, the clock.

Every change goes through `commit`: one transaction that keeps the lease, does
the work and writes the counters, and only then shows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import otlp, outbox
from prefect_otel_status.bridge.catalogue import Catalogue
from prefect_otel_status.bridge.ingest import Ingested, ingest
from prefect_otel_status.bridge.lease import Lease
from prefect_otel_status.bridge.options import Options
from prefect_otel_status.bridge.outbox import OutboxItem
from prefect_otel_status.bridge.records import Observation, RunRow, StatusFact, Step
from prefect_otel_status.bridge.series import FROM_THE_START, Changes, SeriesTable
from prefect_otel_status.bridge.store import Store, read_meta
from prefect_otel_status.bridge.tracing import read_traceparent
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.model import SEVERITY
from prefect_otel_status.tally import Tally

logger = logging.getLogger("prefect_otel_status.bridge")

T = TypeVar("T")


class Clock(Protocol):
    """Nanoseconds since 1970."""

    def __call__(self) -> int: ...


class Core:
    """The bridge's state; everything in memory is as the store has it committed."""

    def __init__(
        self, store: Store, lease: Lease, options: Options, *, clock: Clock, tally: Tally
    ) -> None:
        self.store = store
        self.options = options
        self.clock = clock
        self.series = SeriesTable(
            scrape_interval=options.scrape_interval, label_budget=options.label_budget
        )
        self.catalogue = Catalogue()
        self.since = 0
        self.last_commit = 0
        self.on_outbox: Callable[[], None] = lambda: None
        self.listening_since: Callable[[], int] = lambda: 0
        self.lease = lease
        self._tally = tally
        self._redacted: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._doubtful = False
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read the counters and deployments from the store; done when the lease was taken."""
        await self.store.run(self._load)
        self.last_commit = self.clock()

    def _load(self, connection: Connection) -> None:
        self.series.load(connection)
        self.series.declare(FROM_THE_START)
        self.catalogue.load(connection)
        self.since = int(read_meta(connection, "created") or 0)

    async def commit(
        self,
        work: Callable[[Connection], T],
        steps: Sequence[Step] | Callable[[T], Sequence[Step]] = (),
    ) -> T:
        """Do WORK and STEPS in one transaction, fenced by the lease; then let them show."""
        async with self._lock:
            return await self._commit(work, steps)

    async def commit_forgetting(
        self, work: Callable[[Connection], None], deployment: tuple[str, str]
    ) -> None:
        """Do WORK, and drop the series of DEPLOYMENT, a flow's name and a deployment's."""
        async with self._lock:
            await self._mend()
            changes = self.series.forget(*deployment)
            await self._write(work, changes)

    async def release(self, now: int) -> None:
        """Let the series that were shown long enough follow their true values. NOW is monotonic."""
        async with self._lock:
            await self._mend()
            changes = self.series.due_releases(now)
            if changes.to_write:
                await self._write(lambda connection: None, changes)
            else:
                self.series.adopt(changes)

    async def _write(self, work: Callable[[Connection], None], changes: Changes) -> None:
        def transaction(connection: Connection) -> None:
            self.lease.renew(connection)
            work(connection)
            self.series.write(connection, changes)

        try:
            await self.store.run(transaction)
        except BaseException:
            self._doubtful = True
            raise
        self.series.adopt(changes)

    async def _commit(
        self,
        work: Callable[[Connection], T],
        steps: Sequence[Step] | Callable[[T], Sequence[Step]],
    ) -> T:
        await self._mend()
        own = self._own_steps()

        def transaction(connection: Connection) -> tuple[T, Changes]:
            self.lease.renew(connection)
            result = work(connection)
            found = steps(result) if callable(steps) else steps
            changes = self.series.stage([*found, *own], now=self.clock())
            self.series.write(connection, changes)
            return result, changes

        try:
            result, changes = await self.store.run(transaction)
        except BaseException:
            self._take_back(own)
            self._doubtful = True
            raise
        self.series.adopt(changes)
        self.last_commit = self.clock()
        return result

    async def _mend(self) -> None:
        """Read anew what a commit that failed may have changed all the same."""
        if self._doubtful:
            await self.store.run(self._load)
            self._doubtful = False

    async def ingest(
        self, observations: Sequence[Observation], *, path: str, expected: bool = False
    ) -> Ingested:
        """Keep what is new in OBSERVATIONS. EXPECTED: the websocket should have brought it."""
        if not observations:
            return Ingested()

        def work(connection: Connection) -> Ingested:
            found = ingest(
                connection,
                observations,
                path=path,
                catalogue=self.catalogue,
                since=self.since,
                now=self.clock(),
                settle=int(self.options.settle * 1e9),
                expected=expected,
                expected_since=self.listening_since(),
            )
            found.steps.extend(self._say(connection, found.said))
            return found

        found = await self.commit(work, lambda result: result.steps)
        self.catalogue.adopt(found.known)
        if found.said and self.options.logs:
            self.on_outbox()
        return found

    def _say(
        self, connection: Connection, said: Sequence[tuple[RunRow, Observation]]
    ) -> list[Step]:
        """Statuses as log events, where they are asked for."""
        if not self.options.logs:
            return []
        now = self.clock()
        items = [_log_item(row, each.what, self.options, now) for row, each in said]
        return self.put(connection, items)

    def put(self, connection: Connection, items: Sequence[OutboxItem]) -> list[Step]:
        """Put ITEMS into the outbox; the steps of what had to go for them."""
        if not items:
            return []
        dropped = outbox.put(connection, items, cap=self.options.cap, now=self.clock())
        return [
            Step(signals.BRIDGE_DROPS.name, (reason,), count)
            for reason, count in dropped.items()
            if count
        ]

    def bad(self, reason: str) -> None:
        """Count something of Prefect's that could not be read, with the next commit."""
        self._bad[reason] += 1

    def _own_steps(self) -> list[Step]:
        """Steps of what happened outside a transaction: bad events, redactions."""
        bad, self._bad = self._bad, Counter()
        found = [Step(signals.BRIDGE_BAD_EVENTS.name, (why,), n) for why, n in bad.items()]
        for (metric, kind), total in self._tally.read().items():
            if metric is signals.PROCESS_REDACTIONS and total > self._redacted[kind]:
                amount = total - self._redacted[kind]
                self._redacted[kind] = total
                found.append(Step(signals.BRIDGE_REDACTIONS.name, (kind,), amount))
        return found

    def _take_back(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.metric == signals.BRIDGE_BAD_EVENTS.name:
                self._bad[step.labels[0]] += int(step.value)
            else:
                self._redacted[step.labels[0]] -= int(step.value)


def _log_item(row: RunRow, what: object, options: Options, now: int) -> OutboxItem:
    assert isinstance(what, StatusFact)
    event = otlp.LogEvent(
        event_name=what.label,
        body=what.message,
        at=what.at,
        observed=now,
        severity_number=SEVERITY[what.level],
        severity_text=what.level.upper(),
        attributes={
            **what.bound,
            **what.attributes,
            signals.PIPELINE_NAME.name: row.flow_name,
            signals.RUN_ID.name: row.id,
            signals.TEMPLATE.name: what.template,
            signals.STAGE.name: what.stage,
            signals.LEVEL.name: what.level,
        },
        trace_id=trace_of(row),
        span_id=what.span_id,
    )
    return OutboxItem("logs", False, now, what.label, otlp.encode_log(event, options.resource))


def trace_of(row: RunRow) -> int:
    """The trace that the run of ROW is in, as far as is known yet."""
    own = read_traceparent(row.traceparent) or read_traceparent(row.seen.parent_traceparent)
    return own.trace_id if own else trace_id_of(row.seen.root_run_id or row.id)
