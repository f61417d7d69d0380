"""A recorded history behind the calls of Prefect's API, and what the bridge makes of it.

The answers are a real server's; only that they come from a file is not real.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, select

from prefect_otel_status.bridge import ledger, tables, wire
from prefect_otel_status.bridge.catalogue import Catalogue, Known
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.close import close
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.history import history_of
from prefect_otel_status.bridge.ingest import ingest
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.reading import Trace, TraceReader
from prefect_otel_status.bridge.records import Observation, RunRow, Seen, SpanRecord, Step
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.model import FINAL_TYPES
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally
from tests.support.histories import History, load

NOW = 4_000_000_000_000_000_000
"""Long after every recording."""


class RecordedApi:
    """The calls of `PrefectApi`, answered from HISTORY.

    The server may have forgotten the runs in `deleted`, have the ones in
    `changed` instead of those that were recorded, and fail the calls in
    `broken`, by their names.
    """

    def __init__(self, history: History, *, page: int = 50) -> None:
        self._history = history
        self._page = page
        self.calls: Counter[str] = Counter()
        self.changed: dict[str, wire.FlowRun] = {}
        self.deleted: set[str] = set()
        self.broken: dict[str, Exception] = {}

    def runs(self) -> list[wire.FlowRun]:
        runs = [msgspec.convert(run, wire.FlowRun) for run in self._history.flow_runs]
        return [self.changed.get(run.id, run) for run in runs if run.id not in self.deleted]

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        if name in self.broken:
            raise self.broken[name].with_traceback(None)  # it may be raised again and again

    async def active_runs(self, *, now_ns: int) -> list[wire.FlowRun]:
        self._called("active_runs")
        return [run for run in self.runs() if run.state_type not in FINAL_TYPES]

    async def ended_runs(self, *, since_ns: int) -> AsyncIterator[list[wire.FlowRun]]:
        self._called("ended_runs")
        ended = [run for run in self.runs() if nanoseconds(run.end_time) > since_ns]
        yield sorted(ended, key=lambda run: run.end_time or "", reverse=True)

    async def events(self, *, since_ns: int) -> AsyncIterator[tuple[list[wire.Event], int]]:
        self._called("events")
        found = [each for each in self.all_events() if nanoseconds(each.occurred) > since_ns]
        found.sort(key=lambda each: each.occurred, reverse=True)
        for start in range(0, max(1, len(found)), self._page):
            self.calls["pages"] += 1
            yield found[start : start + self._page], len(found)

    def tasks(self) -> list[wire.TaskRun]:
        return [msgspec.convert(run, wire.TaskRun) for run in self._history.task_runs]

    def all_events(self) -> list[wire.Event]:
        return [msgspec.convert(event, wire.Event) for event in self._history.events]

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]:
        self._called("flow_names")
        return {f["id"]: f["name"] for f in self._history.flows if f["id"] in set(ids)}

    async def deployments(self) -> list[wire.Deployment]:
        self._called("deployments")
        return [msgspec.convert(d, wire.Deployment) for d in self._history.deployments]

    async def runs_by_id(self, ids: Iterable[str]) -> list[wire.FlowRun]:
        self._called("runs_by_id")
        return [run for run in self.runs() if run.id in set(ids)]

    async def subflow_runs(self, ids: Sequence[str]) -> AsyncIterator[list[wire.FlowRun]]:
        self._called("subflow_runs")
        above = {task.id for task in self.tasks() if task.flow_run_id in set(ids)}
        yield [run for run in self.runs() if run.parent_task_run_id in above]

    async def task_runs_by_id(self, ids: Iterable[str]) -> list[wire.TaskRun]:
        self._called("task_runs_by_id")
        return [run for run in self.tasks() if run.id in set(ids)]

    async def task_runs_of(self, ids: Iterable[str]) -> list[wire.TaskRun]:
        self._called("task_runs_of")
        return [run for run in self.tasks() if run.flow_run_id in set(ids)]

    async def flow_states(self, run_id: str) -> list[wire.State]:
        self._called("flow_states")
        return [
            msgspec.convert(s, wire.State) for s in self._history.flow_run_states.get(run_id, [])
        ]

    async def task_states(self, run_id: str) -> list[wire.State]:
        self._called("task_states")
        return [
            msgspec.convert(s, wire.State) for s in self._history.task_run_states.get(run_id, [])
        ]

    async def events_of(
        self, run_ids: Sequence[str], *, kind: str = "flow"
    ) -> AsyncIterator[tuple[list[wire.Event], int]]:
        self._called("events_of")
        names = {f"prefect.{kind}-run.{run_id}" for run_id in run_ids}
        found = [event for event in self.all_events() if names & _resources(event)]
        yield found, len(found)


def _resources(event: wire.Event) -> set[Any]:
    return {r.get("prefect.resource.id") for r in (event.resource, *event.related)}


def a_parser() -> Parser:
    """A parser that fails the test where something cannot be read."""

    def on_bad(reason: str) -> None:
        raise AssertionError(f"could not be read: {reason}")

    return Parser(Cleaning(Settings(), tally=Tally()), on_bad=on_bad)


@cache
def observations_of(name: str) -> list[Observation]:
    """All that the bridge would read of the history NAME: events, runs, states, tasks."""
    return asyncio.run(observe(RecordedApi(load(name))))


async def observe(api: RecordedApi) -> list[Observation]:
    """All that the bridge would read from API."""
    parser = a_parser()
    describer = Describer(api, Cleaning(Settings(), tally=Tally()))
    runs = api.runs()
    seen = await describer.describe(runs)
    found = [o for event in api.all_events() for o in parser.event(event)]
    for run in runs:
        found += parser.flow_run(run, seen[run.id])
        for state in await api.flow_states(run.id):
            found += parser.flow_state(run.id, state, seen[run.id])
    for task in api.tasks():
        found += parser.task_run(task, seen.get(task.flow_run_id or "", Seen()))
    return found


def trace_reader(api: RecordedApi, *, clock: Callable[[], int]) -> TraceReader:
    """What reads one run from API."""
    return TraceReader(
        api,
        Describer(api, Cleaning(Settings(), tally=Tally())),
        a_parser(),
        heartbeat_period=30.0,
        url_of=lambda kind, run_id: f"http://prefect.example/runs/{kind}-run/{run_id}",
        clock=clock,
    )


def trace_of(name: str, *, after: float = 1.0) -> Trace:
    """The run of the history NAME that is below no other, as read AFTER seconds from its end."""
    api = RecordedApi(load(name))
    latest = max(nanoseconds(event.occurred) for event in api.all_events())
    top = min(
        (run for run in api.runs() if not run.parent_task_run_id), key=lambda run: run.start_time
    )
    reader = trace_reader(api, clock=lambda: latest + int(after * 1e9))
    found = asyncio.run(reader.read(top.id))
    assert found is not None
    return found


@dataclass
class Outcome:
    """What came of a history: spans by their ids, totals by series, rows by run."""

    spans: dict[tuple[int, int], SpanRecord] = field(default_factory=dict)
    totals: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    sums: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    rows: dict[str, RunRow] = field(default_factory=dict)
    drawn: int = 0

    def named(self, name: str) -> list[SpanRecord]:
        """The spans called NAME, the earliest first."""
        return sorted((s for s in self.spans.values() if s.name == name), key=lambda s: s.start)

    def total(self, metric: Any, *labels: str) -> float:
        """How often METRIC was stepped, in series that have all LABELS among their values."""
        return sum(
            count
            for (name, values), count in self.totals.items()
            if name == metric.name and set(labels) <= set(values)
        )


class InOneEnvironment(Catalogue):
    """What deployments' runs bound last does not change while a history is replayed.

    It does in life, and a change of state is counted in the environment that
    was known when it came: that alone depends on the order.
    """

    def __init__(self, environment: str) -> None:
        super().__init__()
        self._environment = environment

    def environment_of(self, row: RunRow) -> str:
        return self._environment


def replay(
    batches: Iterable[Sequence[Observation]],
    *,
    owner: str = "process",
    since: int = 0,
    environment: str = "",
    sampled: Callable[[int], bool] = lambda trace_id: True,
    change: Callable[[Connection], None] = lambda connection: None,
) -> Outcome:
    """What the bridge makes of BATCHES, settled when all were read.

    CHANGE may do something to the store before that.
    """
    engine = create_engine("sqlite://")
    outcome = Outcome()
    with engine.begin() as connection:
        tables.metadata.create_all(connection)
        catalogue = InOneEnvironment(environment) if environment else Catalogue()
        read(connection, batches, outcome, catalogue, since=since, environment=environment)
        change(connection)
        settle(connection, outcome, owner=owner, since=since, sampled=sampled)
    engine.dispose()
    return outcome


def read(
    connection: Connection,
    batches: Iterable[Sequence[Observation]],
    outcome: Outcome,
    catalogue: Catalogue,
    *,
    since: int = 0,
    environment: str = "",
) -> None:
    """Take BATCHES in, and count their steps in OUTCOME."""
    for batch in batches:
        names = {(o.flow_name, o.deployment_name) for o in batch}
        catalogue.adopt(Known(*name, environment=environment) for name in names)
        found = ingest(
            connection, batch, path="sweep", catalogue=catalogue, since=since, now=NOW, settle=0
        )
        _count(outcome, found.steps)


def settle(
    connection: Connection,
    outcome: Outcome,
    *,
    owner: str = "process",
    since: int = 0,
    sampled: Callable[[int], bool] = lambda trace_id: True,
) -> None:
    """Close what has ended, and keep its spans and steps in OUTCOME."""
    for row in ledger.due_rows(connection, now=NOW, limit=10_000):
        closed = close(
            row,
            history_of(row.id, ledger.load_facts(connection, row.id)),
            owner=owner,
            since=since,
            environment="",
            sampled=sampled,
            url_of=lambda kind, run_id: f"http://prefect.example/runs/{kind}-run/{run_id}",
        )
        ledger.save_rows(connection, [closed.row])
        ledger.forget_facts(connection, row.id)
        outcome.drawn += len(closed.spans)
        outcome.spans.update(((s.trace_id, s.span_id), s) for s in closed.spans)
        _count(outcome, closed.steps)
    ids = connection.execute(select(tables.runs.c.id)).scalars().all()
    outcome.rows = ledger.load_rows(connection, ids)


def _count(outcome: Outcome, steps: Iterable[Step]) -> None:
    for step in steps:
        if step.metric.endswith("duration"):
            outcome.totals[step.metric, step.labels] += 1
            outcome.sums[step.metric, step.labels] += round(step.value * 1e6)
        elif not step.metric.startswith("prefect_status.bridge."):
            outcome.totals[step.metric, step.labels] += round(step.value)
