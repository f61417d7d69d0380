"""Runs that have ended: read once more, whole, and frozen in one transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, outbox, tables, wire
from prefect_otel_status.bridge import settle as settle_module
from prefect_otel_status.bridge.catalogue import Known
from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.ingest import RECONCILE, SWEEP
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    SETTLED,
    Heartbeat,
    Observation,
    RunRow,
    Step,
)
from prefect_otel_status.bridge.settle import BATCH, Settler
from prefect_otel_status.bridge.silence import presumed_dead
from prefect_otel_status.bridge.times import iso, nanoseconds
from tests.support.core import SECOND, Clock, a_core, cleaning, parser_of, rows_of, totals
from tests.support.histories import load
from tests.support.replay import Outcome, RecordedApi, observations_of, replay

URL = "http://prefect.example/runs/{}-run/{}"


class Settling:
    """A settler over a recorded history of which only the runs themselves were read."""

    def __init__(self, core: Core, name: str) -> None:
        self.api = RecordedApi(load(name))
        self.core = core
        self.listening = False
        self.told = 0
        core.on_outbox = self._on_outbox
        self.settler = Settler(
            core,
            self.api,
            Describer(self.api, cleaning()),
            parser_of(core),
            sampled=lambda trace_id: True,
            url_of=URL.format,
            is_listening=lambda: self.listening,
        )

    def _on_outbox(self) -> None:
        self.told += 1

    async def read_runs(self) -> None:
        """What a sweep reads when the websocket and the events were away."""
        describer = Describer(self.api, cleaning())
        seen = await describer.describe(self.api.runs())
        parser = parser_of(self.core)
        found = [o for run in self.api.runs() for o in parser.flow_run(run, seen[run.id])]
        await self.core.ingest(found, path=SWEEP)

    async def read_events(self, *, without: str = "") -> None:
        """All events, but for the first one called WITHOUT."""
        parser = parser_of(self.core)
        events = self.api.all_events()
        lost = next((event for event in events if event.event == without), None)
        found = [o for event in events if event is not lost for o in parser.event(event)]
        await self.core.ingest(found, path=SWEEP)

    async def settle(self) -> int:
        return await self.settler.settle_due()

    async def rows(self) -> dict[str, RunRow]:
        ids = [row.id for row in await rows_of(self.core.store, tables.runs)]
        return await self.core.store.read(lambda connection: ledger.load_rows(connection, ids))

    async def row(self) -> RunRow:
        (row,) = (await self.rows()).values()
        return row

    async def save(self, row: RunRow) -> None:
        await self.core.store.run(lambda connection: ledger.save_rows(connection, [row]))

    async def spans(self) -> list[Span]:
        found = await self.core.store.read(
            lambda connection: outbox.take(connection, "traces", max_bytes=10**8, max_items=10**4)
        )
        bodies = [ResourceSpans.FromString(row.body) for row in found]
        return [span for body in bodies for scope in body.scope_spans for span in scope.spans]


@pytest.fixture
async def core(tmp_path: Path, clock: Clock) -> AsyncIterator[Core]:
    async with a_core(tmp_path, clock=clock) as core:
        yield core


def ids(spans: list[Span]) -> set[tuple[int, int]]:
    return {
        (int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big"))
        for span in spans
    }


def event_names(spans: list[Span]) -> dict[tuple[int, int], list[str]]:
    """The names of the events of each of SPANS, in order, by the span's ids."""
    return {next(iter(ids([span]))): [event.name for event in span.events] for span in spans}


def of_any_environment(totals: Mapping[Any, float], metric: Any) -> Counter[tuple[str, ...]]:
    """The totals of METRIC, wherever they were counted: that is known late or early."""
    found: Counter[tuple[str, ...]] = Counter()
    for (name, labels), count in totals.items():
        if name == metric.name:
            found[labels[:2] + labels[3:]] += int(count)
    return found


async def of_everything(name: str) -> Outcome:
    """What comes of the history NAME when all of it is read at once."""
    found = await asyncio.to_thread(observations_of, name)
    return replay([found])


# --- the whole of it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["success.plain", "subflows.plain", "failure.foreign", "suspended.plain", "killed_served.ours"],
)
async def test_a_run_of_which_only_the_end_was_seen_is_drawn_whole(core: Core, name: str) -> None:
    settling = Settling(core, name)
    await settling.read_runs()
    while await settling.settle():
        pass
    expected = await of_everything(name)
    assert ids(await settling.spans()) == expected.spans.keys()
    assert {row.phase for row in (await settling.rows()).values()} == {SETTLED}
    assert await rows_of(core.store, tables.facts) == []
    found = await totals(core.store)
    for metric in (signals.TRANSITIONS, signals.RUN_DURATION, signals.RUN_ERRORS, signals.MESSAGES):
        assert of_any_environment(found, metric) == of_any_environment(expected.totals, metric)
    assert found.get((signals.BRIDGE_SPANS.name, ()), 0) == len(expected.spans)


async def test_a_settled_run_is_not_due_again_and_remembered_from_now(
    core: Core, clock: Clock
) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    assert await settling.settle() == 1
    row = await settling.row()
    assert (row.phase, row.due, row.closings) == (SETTLED, clock.now, 1)
    before = await totals(core.store)
    calls = dict(settling.api.calls)
    assert await settling.settle() == 0
    assert (await totals(core.store), settling.api.calls) == (before, calls)


async def test_what_is_in_the_outbox_is_told_at_once(core: Core) -> None:
    settling = Settling(core, "success.plain")
    assert (await settling.settle(), settling.told) == (0, 0)
    await settling.read_runs()
    assert (await settling.settle(), settling.told) == (1, 1)


async def test_only_what_is_due_is_settled(core: Core, clock: Clock) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    await settling.save(msgspec.structs.replace(await settling.row(), due=clock.now + 1))
    assert await settling.settle() == 0
    clock.pass_by(1)
    assert await settling.settle() == 1


async def test_a_batch_is_bounded(core: Core) -> None:
    settling = Settling(core, "success.plain")
    rows = [RunRow(f"{n:08d}-0000-4000-8000-000000000000", phase=ENDED) for n in range(BATCH + 3)]
    await core.store.run(lambda connection: ledger.save_rows(connection, rows))
    assert [await settling.settle() for _ in range(3)] == [BATCH, 3, 0]


async def test_a_run_that_the_server_no_longer_has_is_drawn_from_what_was_read(core: Core) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    await settling.read_events()
    settling.api.deleted.add((await settling.row()).id)
    await settling.settle()
    assert ids(await settling.spans()) == (await of_everything("success.plain")).spans.keys()


# --- what is read --------------------------------------------------------------------------


async def test_states_of_tasks_whose_events_are_complete_are_not_read(core: Core) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    await settling.settle()
    assert settling.api.calls["task_states"] == 0
    names = ("runs_by_id", "task_runs_of", "flow_states", "events_of", "task_runs_by_id")
    assert [settling.api.calls[name] for name in names] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("name", "reads"), [("success.plain", 0), ("success.ours", 1), ("success.foreign", 1)]
)
async def test_events_that_have_come_are_read_again_only_where_statuses_may_be_missing(
    core: Core, name: str, reads: int
) -> None:
    settling = Settling(core, name)
    await settling.read_runs()
    await settling.read_events()
    before = settling.api.calls["events_of"]
    await settling.settle()
    assert settling.api.calls["events_of"] - before == reads
    assert ids(await settling.spans()) == (await of_everything(name)).spans.keys()


@pytest.mark.parametrize("state", ["Pending", "Running", "Completed"])
async def test_one_state_of_one_task_that_has_not_come_is_read(core: Core, state: str) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    await settling.read_events(without=f"prefect.task-run.{state}")
    await settling.settle()
    assert settling.api.calls["events_of"] == 1
    whole = (await of_everything("success.plain")).spans
    assert event_names(await settling.spans()) == {
        key: [each.name for each in span.events] for key, span in whole.items()
    }


async def test_states_are_read_of_the_tasks_whose_events_are_not_complete(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = Settling(core, "success.plain")
    lost = settling.api.tasks()[0]
    events = settling.api.all_events()
    kept = [
        e for e in events if e.resource.get("prefect.resource.id") != f"prefect.task-run.{lost.id}"
    ]
    assert 0 < len(kept) < len(events)
    monkeypatch.setattr(settling.api, "all_events", lambda: kept)
    await settling.read_runs()
    await settling.settle()
    assert settling.api.calls["task_states"] == 1
    assert ids(await settling.spans()) == (await of_everything("success.plain")).spans.keys()
    counted = await totals(core.store, signals.TASK_DURATION)
    assert sum(counted.values()) == len(settling.api.tasks())


async def test_all_executions_are_found_without_any_event(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = Settling(core, "retried_task.plain")
    monkeypatch.setattr(settling.api, "all_events", list)
    await settling.read_runs()
    await settling.settle()
    assert ids(await settling.spans()) == (await of_everything("retried_task.plain")).spans.keys()
    assert sum((await totals(core.store, signals.TASK_RETRIES)).values()) == 2


async def test_a_task_that_stands_for_a_subflow_has_no_events_to_miss(core: Core) -> None:
    settling = Settling(core, "subflows.plain")
    await settling.read_runs()
    while await settling.settle():
        pass
    assert settling.api.calls["task_states"] == 0


async def test_tasks_without_a_flow_run_are_read_by_themselves(core: Core) -> None:
    settling = Settling(core, "background.plain")
    await settling.read_events()
    assert await settling.settle() == 2
    names = ("runs_by_id", "task_runs_of", "flow_states", "task_runs_by_id")
    assert [settling.api.calls[name] for name in names] == [0, 0, 0, 1]
    assert ids(await settling.spans()) == (await of_everything("background.plain")).spans.keys()
    assert core.catalogue.all() == []


async def test_what_only_the_last_reading_finds_is_counted_so(core: Core) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    settling.listening = True
    before = len(await rows_of(core.store, tables.facts))
    await settling.settle()
    found = await totals(core.store)
    late = found[signals.BRIDGE_EVENTS.name, (RECONCILE,)]
    assert late == found[signals.BRIDGE_MISSED.name, ()] > before


# --- what has changed meanwhile ----------------------------------------------------------------


async def test_a_run_that_went_on_again_is_left(core: Core, clock: Clock) -> None:
    settling = Settling(core, "failure.plain")
    await settling.read_runs()
    run = settling.api.runs()[0]
    again = wire.State(
        "99999999-1111-4111-8111-111111111111", "RUNNING", "Retrying", iso(clock.now)
    )
    settling.api.changed[run.id] = msgspec.structs.replace(run, state_type="RUNNING", state=again)
    assert await settling.settle() == 1
    row = await settling.row()
    assert (row.phase, row.due, row.closings) == (ACTIVE, 0, 0)
    assert await settling.spans() == []
    assert len(await rows_of(core.store, tables.facts)) > 2
    assert await settling.settle() == 0


async def _inferred(core: Core, clock: Clock) -> Settling:
    """A run whose heartbeats have stopped."""
    settling = Settling(core, "killed_by_hand.plain")
    await settling.read_runs()
    run_id = (await settling.row()).id
    clock.now = nanoseconds(settling.api.runs()[0].start_time) + 10 * SECOND
    beat = Observation(run_id, run_id, Heartbeat(clock.now))
    await core.ingest([beat], path=SWEEP)
    clock.pass_by(3 * 180 + 1)
    await settling.save(presumed_dead(await settling.row(), clock.now))
    return settling


async def test_a_silent_run_is_closed_as_presumed_dead(core: Core, clock: Clock) -> None:
    settling = await _inferred(core, clock)
    assert await settling.settle() == 1
    row = await settling.row()
    assert (row.phase, row.inferred) == (SETTLED, True)
    (flow_span,) = [span for span in await settling.spans() if span.name.startswith("RUN ")]
    assert flow_span.status.code == 2
    assert sum((await totals(core.store, signals.RUN_ERRORS)).values()) == 1


async def test_a_run_that_spoke_again_is_taken_back_among_the_living(
    core: Core, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = await _inferred(core, clock)
    run_id = (await settling.row()).id
    beat = wire.Event(
        "88888888-1111-4111-8111-111111111111",
        "prefect.flow-run.heartbeat",
        iso(clock.now),
        iso(clock.now - SECOND),
        {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
    )
    events = settling.api.all_events()
    monkeypatch.setattr(settling.api, "all_events", lambda: [*events, beat])
    assert await settling.settle() == 1
    row = await settling.row()
    assert (row.phase, row.inferred, row.due, row.closings) == (ACTIVE, False, 0, 0)
    assert await settling.spans() == []


async def test_one_that_is_not_silent_by_now_goes_back_to_the_living(
    core: Core, clock: Clock
) -> None:
    settling = await _inferred(core, clock)
    await settling.save(msgspec.structs.replace(await settling.row(), heartbeat_period=10**12))
    assert await settling.settle() == 1
    row = await settling.row()
    assert (row.phase, row.inferred, row.due) == (ACTIVE, False, 0)


async def test_a_change_after_the_run_was_settled_is_drawn_with_the_next(
    core: Core, clock: Clock
) -> None:
    settling = Settling(core, "corrected.plain")
    await settling.read_runs()
    await settling.settle()
    run = settling.api.runs()[0]
    first = len(await settling.spans())
    state = wire.State("99999999-1111-4111-8111-111111111111", "FAILED", "Failed", iso(clock.now))
    settling.api.changed[run.id] = msgspec.structs.replace(run, state_type="FAILED", state=state)
    await settling.read_runs()
    assert await settling.settle() == 1
    assert (await settling.row()).closings == 2
    later = (await settling.spans())[first:]
    assert [len(span.links) for span in later] == [1]


# --- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["runs_by_id", "task_runs_of", "flow_states", "events_of"])
async def test_a_run_that_cannot_be_read_stays_due(core: Core, call: str) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    row = await settling.row()
    before = await totals(core.store)
    settling.api.broken[call] = ServerUnavailable("away")
    with pytest.raises(ServerUnavailable):
        await settling.settle()
    assert (await settling.row(), await totals(core.store)) == (row, before)
    assert settling.told == 0
    settling.api.broken.clear()
    assert await settling.settle() == 1


def _break_put(core: Core) -> Callable[[], None]:
    put = core.put

    def broken(connection: Connection, items: Any) -> list[Step]:
        put(connection, items)
        raise OSError("disk full")

    core.put = broken  # type: ignore[method-assign]

    def mend() -> None:
        core.put = put  # type: ignore[method-assign]

    return mend


async def test_a_transaction_that_fails_leaves_nothing(core: Core) -> None:
    settling = Settling(core, "success.plain")
    await settling.read_runs()
    mend = _break_put(core)
    with pytest.raises(OSError, match="disk full"):
        await settling.settle()
    assert await settling.spans() == []
    row = await settling.row()
    assert (row.phase, row.closings) == (ENDED, 0)
    assert await rows_of(core.store, tables.deployments) == []
    assert await totals(core.store, signals.RUN_DURATION, signals.BRIDGE_SPANS) == {}
    assert len(await rows_of(core.store, tables.facts)) > 0
    mend()
    assert await settling.settle() == 1
    assert ids(await settling.spans()) == (await of_everything("success.plain")).spans.keys()
    assert [known.last_result for known in core.catalogue.all()] == ["success"]


async def test_a_run_that_cannot_be_drawn_keeps_nobody_else_back(
    core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settling = Settling(core, "subflows.plain")
    await settling.read_runs()
    poison = settling.api.runs()[0].id
    close = settle_module.close

    def sometimes(row: RunRow, *args: Any, **options: Any) -> Any:
        if row.id == poison:
            raise OverflowError("password=hunter22")
        return close(row, *args, **options)

    monkeypatch.setattr(settle_module, "close", sometimes)
    while await settling.settle():
        pass
    rows = await settling.rows()
    assert {row.phase for row in rows.values()} == {SETTLED}
    assert (rows[poison].closings, rows[poison].span_id) == (1, 0)
    assert len(await settling.spans()) > 0
    assert caplog.messages == [f"The run {poison} could not be drawn: OverflowError."]
    await core.commit(lambda connection: None)
    bad = signals.BRIDGE_BAD_EVENTS
    assert await totals(core.store, bad) == {(bad.name, ("not_drawn",)): 1}


# --- what is learned -----------------------------------------------------------------------------


async def test_a_deployment_is_known_by_its_last_run(core: Core) -> None:
    settling = Settling(core, "killed_served.plain")
    await settling.read_runs()
    await settling.settle()
    row = await settling.row()
    known = Known(
        row.flow_name,
        row.deployment_name,
        last_seen=row.state_at,
        last_ended=row.state_at,
        last_result="error",
        last_run_id=row.id,
    )
    assert core.catalogue.all() == [known]
    assert len(await rows_of(core.store, tables.deployments)) == 1


async def test_an_older_run_that_is_settled_later_teaches_nothing(core: Core) -> None:
    settling = Settling(core, "killed_served.plain")
    await settling.read_runs()
    row = await settling.row()
    newer = Known(row.flow_name, row.deployment_name, last_ended=row.state_at + 1)
    core.catalogue.adopt([newer])
    await settling.settle()
    assert core.catalogue.all() == [newer]


async def test_a_run_that_is_not_sampled_leaves_no_spans_but_is_counted(core: Core) -> None:
    settling = Settling(core, "success.plain")
    settling.settler._sampled = lambda trace_id: False
    await settling.read_runs()
    await settling.settle()
    assert await settling.spans() == []
    assert await totals(core.store, signals.BRIDGE_SPANS) == {}
    assert sum((await totals(core.store, signals.RUN_DURATION)).values()) == 1
