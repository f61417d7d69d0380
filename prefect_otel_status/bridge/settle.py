"""Runs whose end was seen: read once more, whole, then their spans are frozen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import fetching, ledger, otlp, recent
from prefect_otel_status.bridge.catalogue import Known, after_run
from prefect_otel_status.bridge.close import close
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.fetching import Fetcher, is_complete
from prefect_otel_status.bridge.history import History, history_of
from prefect_otel_status.bridge.ingest import RECONCILE
from prefect_otel_status.bridge.outbox import OutboxItem
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.recent import ended_run
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    FLOW,
    SETTLED,
    TASK,
    Closed,
    Observation,
    RunRow,
    Seen,
    SpanRecord,
    Step,
)
from prefect_otel_status.bridge.silence import is_silent
from prefect_otel_status.bridge.spans import UrlOf
from prefect_otel_status.bridge.wire import FlowRun, TaskRun
from prefect_otel_status.model import result_of

logger = logging.getLogger("prefect_otel_status.bridge")

BATCH = 20


class Api(fetching.Api, Protocol):
    """The calls that settling needs; `api.PrefectApi` has them."""

    async def runs_by_id(self, ids: Iterable[str]) -> list[FlowRun]: ...

    async def task_runs_by_id(self, ids: Iterable[str]) -> list[TaskRun]: ...

    async def task_runs_of(self, flow_run_ids: Iterable[str]) -> list[TaskRun]: ...


class Settler:
    """Settles what is due, a batch at a time."""

    def __init__(
        self,
        core: Core,
        api: Api,
        describer: Describer,
        parser: Parser,
        *,
        sampled: Callable[[int], bool],
        url_of: UrlOf,
        is_listening: Callable[[], bool] = lambda: False,
    ) -> None:
        self._core = core
        self._api = api
        self._describer = describer
        self._parser = parser
        self._sampled = sampled
        self._url_of = url_of
        self._is_listening = is_listening
        self._fetcher = Fetcher(api, parser)

    async def settle_due(self) -> int:
        """Settle the runs that are due now, at most a batch of them; how many there were."""
        now = self._core.clock()
        rows = await self._core.store.read(
            lambda connection: ledger.due_rows(connection, now=now, limit=BATCH)
        )
        if rows:
            found = await self._reconcile(rows)
            await self._core.ingest(found, path=RECONCILE, expected=self._is_listening())
            await self._core.commit(
                lambda connection: self._settle(connection, rows), lambda steps: steps
            )
            self._core.on_outbox()
        return len(rows)

    # --- reading -----------------------------------------------------------
    async def _reconcile(self, rows: Sequence[RunRow]) -> list[Observation]:
        """All that the server knows of ROWS."""
        flows = [row.id for row in rows if row.kind != TASK]
        free = [row.id for row in rows if row.kind == TASK]
        runs = await self._api.runs_by_id(flows) if flows else []
        seen = await self._describer.describe(runs)
        found = [o for run in runs for o in self._parser.flow_run(run, seen[run.id])]
        tasks = await self._api.task_runs_of(flows) if flows else []
        tasks += await self._api.task_runs_by_id(free) if free else []
        found += await self._fetcher.states(seen)
        known = await self._core.store.read(lambda connection: _known(connection, rows))
        for kind in (FLOW, TASK):
            unread = [
                row.id
                for row in rows
                if row.kind == kind and _needs_events(row, seen.get(row.id), tasks, known)
            ]
            found += await self._fetcher.events(unread, kind=kind)
        of_runs = {row.id: row.seen for row in rows} | seen
        return found + await self._fetcher.tasks(tasks, found, of_runs, known)

    # --- writing -----------------------------------------------------------
    def _settle(self, connection: Connection, rows: Sequence[RunRow]) -> list[Step]:
        steps: list[Step] = []
        for row in ledger.load_rows(connection, (row.id for row in rows)).values():
            steps += self._settle_one(connection, row)
        return steps

    def _settle_one(self, connection: Connection, row: RunRow) -> list[Step]:
        now = self._core.clock()
        if row.phase != ENDED:
            return []  # it went on meanwhile
        if row.inferred and not is_silent(row, now, self._core.options.heartbeat_period):
            row = msgspec.structs.replace(row, phase=ACTIVE, inferred=False, due=0)
            ledger.save_rows(connection, [row])
            return []
        history = history_of(row.id, ledger.load_facts(connection, row.id))
        closed = self._close(row, history)
        ledger.save_rows(connection, [msgspec.structs.replace(closed.row, due=now)])
        ledger.forget_facts(connection, row.id)
        self._learn(connection, closed.row, history)
        dropped = self._core.put(connection, self._items(closed.spans, now))
        made = [Step(signals.BRIDGE_SPANS.name, (), len(closed.spans))] if closed.spans else []
        return [*closed.steps, *made, *dropped]

    def _close(self, row: RunRow, history: History) -> Closed:
        try:
            return self._drawn(row, history)
        except Exception as error:
            # It would fail again each time, and keep all others waiting.
            logger.error("The run %s could not be drawn: %s.", row.id, type(error).__name__)  # noqa: TRY400
            logger.debug("In full:", exc_info=True)
            self._core.bad("not_drawn")
            return Closed(msgspec.structs.replace(row, phase=SETTLED, closings=row.closings + 1))

    def _drawn(self, row: RunRow, history: History) -> Closed:
        return close(
            row,
            history,
            owner=self._core.options.owner,
            since=self._core.since,
            environment=self._core.catalogue.environment_of(row),
            sampled=self._sampled,
            url_of=self._url_of,
        )

    def _learn(self, connection: Connection, row: RunRow, history: History) -> None:
        if row.kind == TASK:
            return
        if history.own.states or row.inferred:  # a mere correction has no end of its own
            recent.keep(connection, [ended_run(row, history)])
        before = self._core.catalogue.get((row.flow_name, row.deployment_name))
        result = result_of(row.state_type, row.state_name) or ("error" if row.inferred else None)
        known: Known = after_run(before, row, result)
        if known != before:
            self._core.catalogue.write(connection, [known])
            self._core.catalogue.adopt([known])

    def _items(self, spans: Sequence[SpanRecord], now: int) -> list[OutboxItem]:
        resource = self._core.options.resource
        return [
            OutboxItem("traces", span.terminal, now, span.name, otlp.encode_span(span, resource))
            for span in spans
        ]


def _known(connection: Connection, rows: Sequence[RunRow]) -> dict[str, set[str]]:
    """The keys of the facts that are kept of ROWS, by subject: those of states are their ids."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for subject_id, key in ledger.load_fact_keys(connection, row.id):
            found.setdefault(subject_id, set()).add(key)
    return found


def _needs_events(
    row: RunRow, seen: Seen | None, tasks: Sequence[TaskRun], known: Mapping[str, set[str]]
) -> bool:
    """Whether the own events of ROW may say what is not known yet. They are the dearest to read.

    Not those of a run whose process made no spans, and so said no statuses, and
    of whose tasks all states have come already.
    """
    if row.kind == TASK or row.inferred or row.closings:
        return True
    mine = [task for task in tasks if task.flow_run_id == row.id]
    if (seen or row.seen).traceparent or row.traceparent or any(map(_is_instrumented, mine)):
        return True
    subjects = (row.id, *(task.id for task in mine))
    if any(key.startswith(("said:", "stage:")) for s in subjects for key in known.get(s, ())):
        return True
    # How often a retried task waited, its row does not say.
    return not all(
        task.run_count <= 1 and is_complete(task, known.get(task.id, set())) for task in mine
    )


def _is_instrumented(task: TaskRun) -> bool:
    return bool((task.labels or {}).get(signals.TRACEPARENT_LABEL))
