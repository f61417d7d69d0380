"""The calls of Prefect's API that the bridge needs, typed.

What cannot be decoded is passed over and reported; the rest of a page is kept.
Times are nanoseconds since 1970, ids are text. Errors are those of `Connection`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from prefect_otel_status import signals
from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.connection import RequestRefused, ServerUnavailable
from prefect_otel_status.bridge.decoding import OnBad, decode_all, split
from prefect_otel_status.bridge.event_pages import (
    NEWEST_FIRST,
    OLDEST_FIRST,
    EventReader,
    Requests,
    Window,
)
from prefect_otel_status.bridge.paging import Rows, all_rows
from prefect_otel_status.bridge.records import FLOW, TASK
from prefect_otel_status.bridge.times import iso

T = TypeVar("T")

RUNS_PAGE = 200
"""The largest page of runs that a server gives."""

EVENT_PREFIXES = (
    "prefect.flow-run.",
    "prefect.task-run.",
    signals.PREFECT_EVENT.partition(".")[0] + ".",
)
"""The events that are about runs, or say statuses."""

SINCE_EVER = 0
UNTIL_EVER = 4_102_444_800_000_000_000
"""The year 2100: without an end, the server hides what is dated ahead of its own clock."""

_ACTIVE = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
_RESOURCES = {FLOW: "prefect.flow-run.", TASK: "prefect.task-run."}

_FLOW_RUN = msgspec.json.Decoder(wire.FlowRun)
_TASK_RUN = msgspec.json.Decoder(wire.TaskRun)
_STATE = msgspec.json.Decoder(wire.State)
_FLOW = msgspec.json.Decoder(wire.Flow)
_DEPLOYMENT = msgspec.json.Decoder(wire.Deployment)
_WORK_POOL = msgspec.json.Decoder(wire.WorkPool)
_WORKER = msgspec.json.Decoder(wire.Worker)


class PrefectApi:
    """Prefect's API, over CONNECTION. `on_bad` gets the reason for each row passed over."""

    def __init__(self, connection: Requests, *, on_bad: OnBad = lambda reason: None) -> None:
        self._connection = connection
        self._on_bad = on_bad

    async def active_runs(self, *, now_ns: int, page: int = RUNS_PAGE) -> list[wire.FlowRun]:
        """The flow runs that go on, or that should have begun by NOW_NS.

        Scheduled ones are read first: most runs move from there to the others,
        and one that moves meanwhile is then read twice rather than missed.
        """
        late = {"expected_start_time": {"before_": iso(now_ns)}, **_of_types("SCHEDULED")}
        found: dict[str, wire.FlowRun] = {}
        for flow_runs in (late, _of_types(*_ACTIVE)):
            async for runs in self._flow_runs(flow_runs, page=page):
                found.update((run.id, run) for run in runs)
        return list(found.values())

    async def ended_runs(
        self, *, since_ns: int, until_ns: int | None = None, page: int = RUNS_PAGE
    ) -> AsyncIterator[list[wire.FlowRun]]:
        """Pages of the flow runs that ended in between; the first has those that ended last.

        Beyond the first they come by id: many runs can have ended at one time,
        and in no order that all pages share.
        """
        ended = {"after_": iso(since_ns)}
        if until_ns is not None:
            ended["before_"] = iso(until_ns)
        query = {"flow_runs": {"end_time": ended}}
        by_time = {**query, "sort": "END_TIME_DESC"}
        rows = await self._rows("flow_runs/filter", by_time, offset=0, limit=page)
        newest = self._decoded(rows, _FLOW_RUN)
        yield newest
        if len(rows) == page:
            known = {run.id for run in newest}
            async for runs in self._flow_runs(query["flow_runs"], page=page):
                yield [run for run in runs if run.id not in known]

    async def runs_by_id(self, ids: Iterable[str]) -> list[wire.FlowRun]:
        """The flow runs with IDS, as far as they exist."""
        found: list[wire.FlowRun] = []
        for chunk in _chunks(ids):
            async for runs in self._flow_runs({"id": {"any_": chunk}}):
                found += runs
        return found

    def subflow_runs(self, flow_run_ids: Sequence[str]) -> AsyncIterator[list[wire.FlowRun]]:
        """Pages of the flow runs whose parents are FLOW_RUN_IDS, at most 200 of them."""
        return self._flow_runs({"parent_flow_run_id": {"any_": list(flow_run_ids)}})

    async def latest_runs(
        self,
        flow_runs: Mapping[str, Any] | None = None,
        *,
        deployments: Mapping[str, Any] | None = None,
        flows: Mapping[str, Any] | None = None,
        limit: int = RUNS_PAGE,
    ) -> list[wire.FlowRun]:
        """The runs that began last, as far as the filters of Prefect's API let them through."""
        given = {"flow_runs": flow_runs, "deployments": deployments, "flows": flows}
        query = {name: value for name, value in given.items() if value}
        by_start = {**query, "sort": "START_TIME_DESC"}
        rows = await self._rows("flow_runs/filter", by_start, offset=0, limit=limit)
        return self._decoded(rows, _FLOW_RUN)

    async def last_ended_runs(self, number: int) -> list[wire.FlowRun]:
        """The NUMBER of runs that ended last, the latest first, in pages of 200."""
        found: list[wire.FlowRun] = []
        query = {"flow_runs": {"end_time": {"is_null_": False}}, "sort": "END_TIME_DESC"}
        while len(found) < number:
            rows = await self._rows("flow_runs/filter", query, offset=len(found), limit=RUNS_PAGE)
            found += self._decoded(rows, _FLOW_RUN)
            if len(rows) < RUNS_PAGE:
                break
        return found

    async def task_runs_by_id(self, ids: Iterable[str]) -> list[wire.TaskRun]:
        """The task runs with IDS, as far as they exist."""
        return await self._task_runs("id", ids)

    async def task_runs_of(self, flow_run_ids: Iterable[str]) -> list[wire.TaskRun]:
        """All task runs of the flow runs."""
        return await self._task_runs("flow_run_id", flow_run_ids)

    async def flow_states(self, flow_run_id: str) -> list[wire.State]:
        """The states that a flow run went through; none where it is gone."""
        return await self._states("flow_run_states/", {"flow_run_id": flow_run_id})

    async def task_states(self, task_run_id: str) -> list[wire.State]:
        """The states that a task run went through; none where it is gone."""
        return await self._states("task_run_states/", {"task_run_id": task_run_id})

    def events(
        self,
        *,
        since_ns: int,
        until_ns: int = UNTIL_EVER,
        order: str = NEWEST_FIRST,
        prefixes: Sequence[str] = EVENT_PREFIXES,
    ) -> AsyncIterator[tuple[list[wire.Event], int]]:
        """Pages of the events that occurred in between, each with their total number."""
        window = Window(iso(since_ns), iso(until_ns), order, tuple(prefixes))
        return self._reader().read(window)

    def events_of(
        self, run_ids: Sequence[str], *, kind: str = FLOW
    ) -> AsyncIterator[tuple[list[wire.Event], int]]:
        """Pages of the events of runs, whenever they occurred, each with their total number.

        Those of a flow run include those of its tasks, not those of its subflows' tasks.
        """
        return self._reader().read(_window_of(run_ids, kind))

    async def event_count_of(self, run_id: str, *, kind: str = FLOW) -> int:
        """How many events `events_of` would read."""
        return await self._reader().count(_window_of([run_id], kind))

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]:
        """The names of the flows with IDS, as far as they exist."""
        found: dict[str, str] = {}
        for chunk in _chunks(ids):
            query = {"flows": {"id": {"any_": chunk}}}
            rows = await self._rows("flows/filter", query, offset=0, limit=RUNS_PAGE)
            found.update((flow.id, flow.name) for flow in self._decoded(rows, _FLOW))
        return found

    async def deployments(self) -> list[wire.Deployment]:
        """All deployments."""
        query = {"sort": "CREATED_DESC"}
        return [
            deployment
            async for page in self._all("deployments/filter", query, RUNS_PAGE)
            for deployment in self._decoded(page, _DEPLOYMENT)
        ]

    async def work_pools(self) -> list[wire.WorkPool]:
        """All work pools."""
        return [
            pool
            async for page in self._all("work_pools/filter", {}, RUNS_PAGE)
            for pool in self._decoded(page, _WORK_POOL)
        ]

    async def workers(self, pool: str) -> list[wire.Worker]:
        """The workers of the work pool named POOL."""
        path = f"work_pools/{quote(pool, safe='')}/workers/filter"
        return [
            worker
            async for page in self._all(path, {}, RUNS_PAGE)
            for worker in self._decoded(page, _WORKER)
        ]

    async def version(self) -> str:
        """The server's version; empty where it does not say, as Prefect Cloud does not."""
        try:
            return msgspec.json.decode(await self._connection.get("admin/version"), type=str)
        except (RequestRefused, msgspec.DecodeError):
            return ""

    async def _flow_runs(
        self, flow_runs: Mapping[str, Any], *, page: int = RUNS_PAGE
    ) -> AsyncIterator[list[wire.FlowRun]]:
        query = {"flow_runs": flow_runs, "sort": "ID_DESC"}
        async for rows in self._all("flow_runs/filter", query, page):
            yield self._decoded(rows, _FLOW_RUN)

    async def _task_runs(self, field: str, ids: Iterable[str]) -> list[wire.TaskRun]:
        found: list[wire.TaskRun] = []
        for chunk in _chunks(ids):
            query = {"task_runs": {field: {"any_": chunk}}, "sort": "ID_DESC"}
            async for rows in self._all("task_runs/filter", query, RUNS_PAGE):
                found += self._decoded(rows, _TASK_RUN)
        return found

    async def _states(self, path: str, run: Mapping[str, str]) -> list[wire.State]:
        rows = _split(await self._connection.get(path, run))
        return self._decoded(rows, _STATE)

    def _all(self, path: str, query: Mapping[str, Any], page: int) -> AsyncIterator[Rows]:
        async def fetch(offset: int) -> Rows:
            return await self._rows(path, query, offset=offset, limit=page)

        return all_rows(fetch, size=page)

    async def _rows(self, path: str, query: Mapping[str, Any], *, offset: int, limit: int) -> Rows:
        body = {**query, "limit": limit, "offset": offset}
        return _split(await self._connection.post(path, body))

    def _decoded(self, rows: Rows, decoder: msgspec.json.Decoder[T]) -> list[T]:
        return decode_all(rows, decoder, on_bad=self._on_bad)

    def _reader(self) -> EventReader:
        return EventReader(self._connection, on_bad=self._on_bad)


def _of_types(*types: str) -> dict[str, Any]:
    return {"state": {"type": {"any_": list(types)}}}


def _window_of(run_ids: Sequence[str], kind: str) -> Window:
    resources = tuple(_RESOURCES[kind] + run_id for run_id in run_ids)
    return Window(iso(SINCE_EVER), iso(UNTIL_EVER), OLDEST_FIRST, EVENT_PREFIXES, resources)


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(dict.fromkeys(ids))
    while chunk := list(islice(rest, RUNS_PAGE)):
        yield chunk


def _split(answer: bytes) -> Rows:
    try:
        return split(answer)
    except (ValueError, RecursionError):
        raise ServerUnavailable("What answers is not Prefect's API.") from None
