"""One run, whole, out of Prefect's history: without a store, a bridge or a backend of traces."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from prefect_otel_status.bridge import describe, fetching
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.drawing import RunFacts, drawn, folded
from prefect_otel_status.bridge.fetching import Fetcher
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.records import TASK, Observation, RunRow, SpanRecord
from prefect_otel_status.bridge.silence import is_silent
from prefect_otel_status.bridge.spans import UrlOf
from prefect_otel_status.bridge.tracing import process_died
from prefect_otel_status.bridge.wire import FlowRun, TaskRun

MOST_RUNS = 200
"""Flow runs of one tree that are read: more than a person looks at."""


class Api(fetching.Api, describe.Api, Protocol):
    """The calls that reading a run needs; `api.PrefectApi` has them."""

    async def task_runs_of(self, flow_run_ids: Iterable[str]) -> list[TaskRun]: ...

    def subflow_runs(self, flow_run_ids: Sequence[str]) -> AsyncIterator[list[FlowRun]]: ...


@dataclass(frozen=True)
class Trace:
    """A run and all that is below it. `is_whole` is false where there was too much of it.

    `died` says that its process was killed, or is taken to be.
    """

    run: RunRow
    spans: tuple[SpanRecord, ...]
    is_whole: bool = True
    died: bool = False


class TraceReader:
    """Reads the trace of a run from API; text is made safe by PARSER."""

    def __init__(
        self,
        api: Api,
        describer: Describer,
        parser: Parser,
        *,
        heartbeat_period: float,
        url_of: UrlOf,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._api = api
        self._describer = describer
        self._parser = parser
        self._fetcher = Fetcher(api, parser)
        self._heartbeat_period = heartbeat_period
        self._url_of = url_of
        self._clock = clock

    async def read(self, run_id: str) -> Trace | None:
        """The trace of the flow run RUN_ID, or of a task run that is in none; None without one.

        Raises as `Connection` does, where the server cannot be read.
        """
        runs, is_whole = await self._tree(run_id)
        observations = await (self._of_flows(runs) if runs else self._of_task(run_id))
        found = folded(observations)
        if run_id not in found:
            return None
        now = self._clock()
        for run in found.values():
            self._presume(run, now)
        spans = drawn(run_id, found.values(), now=now, url_of=self._url_of)
        run = found[run_id]
        died = process_died(run.row, run.history().own.final)
        return Trace(run.row, tuple(spans), is_whole, died)

    async def _tree(self, run_id: str) -> tuple[list[FlowRun], bool]:
        """The flow run RUN_ID and those below it, level by level; whether that is all."""
        found = {run.id: run for run in await self._api.runs_by_id([run_id])}
        level = list(found)
        while level:
            below: dict[str, FlowRun] = {}
            async for page in self._api.subflow_runs(level):
                below.update((run.id, run) for run in page if run.id not in found)
                if len(found) + len(below) > MOST_RUNS:
                    return list(found.values()), False
            found |= below
            level = list(below)
        return list(found.values()), True

    async def _of_flows(self, runs: Sequence[FlowRun]) -> list[Observation]:
        seen = await self._describer.describe(runs)
        found = [o for run in runs for o in self._parser.flow_run(run, seen[run.id])]
        found += await self._fetcher.states(seen)
        found += await self._fetcher.events(seen)
        tasks = await self._api.task_runs_of(seen)
        return found + await self._fetcher.tasks(tasks, found, seen, {})

    async def _of_task(self, run_id: str) -> list[Observation]:
        tasks = [t for t in await self._api.task_runs_by_id([run_id]) if not t.flow_run_id]
        found = await self._fetcher.events([task.id for task in tasks], kind=TASK)
        return found + await self._fetcher.tasks(tasks, found, {}, {})

    def _presume(self, run: RunFacts, now: int) -> None:
        """Take RUN for dead where its process has given no sign of life for too long."""
        if is_silent(run.row, now, self._heartbeat_period):
            run.row = msgspec.structs.replace(run.row, inferred=True)
