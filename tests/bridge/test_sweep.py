"""The sweep: whatever the history holds is found once, and nothing is passed over for good."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, tables, wire
from prefect_otel_status.bridge import sweep as sweep_module
from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.ingest import SWEEP, WEBSOCKET
from prefect_otel_status.bridge.records import ACTIVE, ENDED, SETTLED, TASK, RunRow
from prefect_otel_status.bridge.store import read_meta
from prefect_otel_status.bridge.sweep import SWEPT_UNTIL, Sweeper
from prefect_otel_status.bridge.times import iso, nanoseconds
from tests.support.core import SECOND, Clock, a_core, cleaning, parser_of, rows_of, totals, wipe
from tests.support.histories import load
from tests.support.replay import RecordedApi

HOUR = 3600
EVENTS = signals.BRIDGE_EVENTS.name


class Swept:
    """A sweeper over a recorded history, soon after it was recorded."""

    def __init__(self, core: Core, name: str, clock: Clock, *, page: int = 50) -> None:
        self.api = RecordedApi(load(name), page=page)
        self.core = core
        self.clock = clock
        self.listening = False
        self.progress: list[int] = []
        clock.now = max(nanoseconds(each.occurred) for each in self.api.all_events()) + 10 * SECOND
        self.sweeper = self.another()

    def another(self) -> Sweeper:
        """A sweeper as a bridge that starts has it."""
        return Sweeper(
            self.core,
            self.api,
            Describer(self.api, cleaning()),
            parser_of(self.core),
            is_listening=lambda: self.listening,
            on_progress=self.progress.append,
        )

    @property
    def run(self) -> wire.FlowRun:
        return self.api.runs()[0]

    async def sweep(self, *, after: float = 5.0) -> None:
        self.clock.pass_by(after)
        await self.sweeper.sweep()

    async def count(self, metric: Any, *labels: str) -> float:
        found = await totals(self.core.store, metric)
        return found.get((metric.name, labels), 0.0)

    async def row(self) -> RunRow:
        rows = await self.core.store.read(
            lambda connection: ledger.load_rows(connection, [self.run.id])
        )
        return rows[self.run.id]

    async def until(self) -> int:
        found = await self.core.store.read(lambda connection: read_meta(connection, SWEPT_UNTIL))
        return int(found or 0)

    def change(self, **changes: Any) -> None:
        """The run is otherwise from now on."""
        self.api.changed[self.run.id] = msgspec.structs.replace(self.run, **changes)


@pytest.fixture
async def core(tmp_path: Path, clock: Clock) -> AsyncIterator[Core]:
    async with a_core(tmp_path, clock=clock, settle=10.0) as core:
        yield core


@pytest.fixture
def ended(core: Core, clock: Clock) -> Swept:
    """A run that has ended."""
    return Swept(core, "success.ours", clock)


@pytest.fixture
def running(core: Core, clock: Clock) -> Swept:
    """A run that goes on, as far as the server knows."""
    return Swept(core, "killed_by_hand.ours", clock)


def state(kind: str, at: int, number: int = 1) -> wire.State:
    return wire.State(f"{number:08d}-1111-4111-8111-111111111111", kind, kind.title(), iso(at))


# --- what is read --------------------------------------------------------------------


async def test_the_first_sweep_reads_everything(ended: Swept) -> None:
    await ended.sweep()
    row = await ended.row()
    assert (row.phase, row.described, row.flow_name) == (ENDED, True, "success")
    facts = await rows_of(ended.core.store, tables.facts)
    known = {event.id for event in ended.api.all_events()}
    assert {fact.key for fact in facts if not fact.key.startswith(("said", "stage"))} <= known
    assert await ended.count(signals.BRIDGE_EVENTS, SWEEP) == len(facts)
    assert await ended.until() == ended.sweeper.last_success == ended.clock.now


async def test_another_sweep_finds_nothing_new(ended: Swept) -> None:
    await ended.sweep()
    before = await totals(ended.core.store)
    facts = await rows_of(ended.core.store, tables.facts)
    ended.api.calls.clear()
    await ended.sweep()
    assert await totals(ended.core.store) == before
    assert await rows_of(ended.core.store, tables.facts) == facts
    names = ("flow_names", "deployments", "runs_by_id", "events_of")
    assert [ended.api.calls[name] for name in names] == [0, 0, 0, 0]


async def test_a_bridge_that_starts_again_finds_nothing_new(ended: Swept) -> None:
    await ended.sweep()
    before = await totals(ended.core.store)
    ended.sweeper = ended.another()
    await ended.sweep(after=300)
    assert await totals(ended.core.store) == before


async def test_the_first_sweep_reaches_as_far_back_as_it_is_told(
    tmp_path: Path, clock: Clock
) -> None:
    async with a_core(tmp_path, clock=clock, backfill=30.0) as core:
        swept = Swept(core, "success.ours", clock)
        await swept.sweep(after=HOUR)
        assert await rows_of(core.store, tables.runs) == []
    async with a_core(tmp_path / "b", clock=clock, backfill=2 * HOUR) as core:
        swept = Swept(core, "success.ours", clock)
        await swept.sweep(after=HOUR)
        assert (await swept.row()).phase == ENDED


async def test_a_new_state_is_news(running: Swept) -> None:
    await running.sweep()
    assert (await running.row()).phase == ACTIVE
    running.change(state_type="CANCELLING", state=state("CANCELLING", running.clock.now))
    await running.sweep()
    assert (await running.row()).state_type == "CANCELLING"


async def test_a_new_span_is_news(running: Swept) -> None:
    await running.sweep()
    label = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    running.change(labels={signals.TRACEPARENT_LABEL: label}, updated=iso(running.clock.now))
    await running.sweep()
    assert (await running.row()).traceparent == label


async def test_how_far_a_long_first_read_has_come_is_told_then_only(ended: Swept) -> None:
    await ended.sweep()
    assert ended.progress == [1]
    await ended.sweep()
    assert ended.progress == [1]


# --- ends that were missed -----------------------------------------------------------------


async def test_a_change_from_one_final_state_to_another_is_found_now_and_then(
    ended: Swept,
) -> None:
    await ended.sweep()
    await ended.sweep(after=301)  # the first re-check
    # The time of the end stays as it was: more than the overlap ago.
    changed = state("CRASHED", ended.clock.now)
    ended.change(state_type="CRASHED", state_name="Crashed", state=changed)
    await ended.sweep(after=100)
    assert (await ended.row()).state_type == "COMPLETED"
    await ended.sweep(after=200)
    assert (await ended.row()).state_type == "CRASHED"


async def test_a_run_that_is_no_longer_listed_is_looked_up(running: Swept) -> None:
    await running.sweep()
    # Its end is dated hours ago, by a clock that is behind.
    long_ago = running.clock.now - 5 * HOUR * SECOND
    end = state("COMPLETED", running.clock.now)
    running.change(state_type="COMPLETED", state=end, end_time=iso(long_ago))
    running.sweeper._rechecked = running.clock.now + HOUR * SECOND
    await running.sweep()
    assert (await running.row()).phase == ENDED


async def test_a_run_that_was_deleted_goes_and_what_it_did_is_counted_once(
    running: Swept,
) -> None:
    await running.sweep()
    before = await totals(running.core.store)
    facts = len(await rows_of(running.core.store, tables.facts))
    assert facts > 5
    running.api.deleted.add(running.run.id)
    for _ in range(3):  # its events are there for days
        await running.sweep()
    assert await totals(running.core.store) == before
    (row,) = await rows_of(running.core.store, tables.runs)
    assert row.phase == SETTLED
    assert len(await rows_of(running.core.store, tables.facts)) == 0
    assert running.api.calls["runs_by_id"] == 1


async def test_a_task_without_a_flow_run_is_not_looked_for_among_flow_runs(
    running: Swept,
) -> None:
    free = RunRow("00000000-0000-4000-8000-000000000009", TASK, ACTIVE)
    await running.core.store.run(lambda connection: ledger.save_rows(connection, [free]))
    await running.sweep()
    assert running.api.calls["runs_by_id"] == 0
    assert len(await rows_of(running.core.store, tables.runs)) == 2


# --- how far it has come ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "call", ["active_runs", "ended_runs", "flow_names", "runs_by_id", "events", "events_of"]
)
async def test_how_far_it_came_is_written_last(running: Swept, call: str) -> None:
    if call == "runs_by_id":
        await running.sweep()
        running.change(state_type="COMPLETED", end_time=iso(1))
    before = await running.until()
    last = running.sweeper.last_success
    running.api.broken[call] = ServerUnavailable("away")
    with pytest.raises(ServerUnavailable):
        await running.sweep()
    assert (await running.until(), running.sweeper.last_success) == (before, last)
    running.api.broken.clear()
    await running.sweep()
    assert await running.until() == running.clock.now
    facts = await rows_of(running.core.store, tables.facts)
    assert await running.count(signals.BRIDGE_EVENTS, SWEEP) == len(facts) > 0


async def test_a_clock_that_was_set_back_reads_no_less(ended: Swept) -> None:
    await ended.sweep(after=HOUR)
    await wipe(ended.core.store)
    ended.sweeper._rechecked = ended.clock.now
    await ended.sweep(after=-HOUR)
    assert (await ended.row()).phase == ENDED


# --- events ------------------------------------------------------------------------------------


async def test_events_are_read_from_the_newest_until_a_page_has_nothing_new(
    core: Core, clock: Clock
) -> None:
    swept = Swept(core, "success.ours", clock, page=4)
    pages = -(-len(swept.api.all_events()) // 4)
    await swept.sweep()
    assert swept.api.calls["pages"] == pages
    await swept.sweep()
    assert swept.api.calls["pages"] == pages + 1


async def test_while_the_websocket_is_open_events_are_read_now_and_then(ended: Swept) -> None:
    ended.listening = True
    for _ in range(2 * sweep_module._QUIET_TICKS + 1):
        await ended.sweep()
    assert ended.api.calls["events"] == 3
    ended.listening = False
    await ended.sweep()
    assert ended.api.calls["events"] == 4


async def test_what_the_websocket_should_have_brought_is_counted(ended: Swept) -> None:
    await ended.sweep()
    assert await ended.count(signals.BRIDGE_MISSED) == 0
    await wipe(ended.core.store)
    ended.listening = True
    ended.sweeper = ended.another()
    await ended.sweep()
    facts = await rows_of(ended.core.store, tables.facts)
    assert await ended.count(signals.BRIDGE_MISSED) == len(facts)


async def test_what_the_websocket_brought_is_not_missed(ended: Swept) -> None:
    parser = parser_of(ended.core)
    found = [o for event in ended.api.all_events() for o in parser.event(event)]
    await ended.core.ingest(found, path=WEBSOCKET)
    ended.listening = True
    await ended.sweep()
    assert await ended.count(signals.BRIDGE_MISSED) == 0
    assert await ended.count(signals.BRIDGE_EVENTS, SWEEP) == 0


async def test_of_runs_that_went_on_before_the_bridge_looked_all_events_are_read(
    running: Swept,
) -> None:
    running.listening = True
    await running.sweep(after=2 * HOUR)  # too long ago for the events read by time
    assert running.api.calls["events_of"] == 1
    facts = await rows_of(running.core.store, tables.facts)
    known = {event.id for event in running.api.all_events()}
    assert len({fact.key for fact in facts} & known) > 2
    await running.sweep()
    assert running.api.calls["events_of"] == 1
    await running.sweep(after=601)  # away for longer than the events read by time reach back
    assert running.api.calls["events_of"] == 2


# --- a gap ---------------------------------------------------------------------------------------


DAY = 86_400
GAP_SAID = (
    "The bridge was away for longer than Prefect keeps events: 24 hours of them are gone. Flow "
    "runs of that time are drawn from their states; their tasks may be missing."
)


@pytest.mark.fault(17)
async def test_a_gap_in_the_history_is_said_and_counted_once(
    ended: Swept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="prefect_otel_status.bridge")
    await ended.sweep()
    await ended.sweep(after=7 * DAY)
    assert caplog.messages == []
    ended.api.broken["active_runs"] = ServerUnavailable("away")
    for wait in (8 * DAY, 5):  # tried again, but said and counted once
        with pytest.raises(ServerUnavailable):
            await ended.sweep(after=wait)
    ended.api.broken.clear()
    await ended.sweep()
    await ended.sweep()
    assert caplog.messages == [GAP_SAID]
    assert await ended.count(signals.BRIDGE_HISTORY_GAP) == DAY
    await ended.sweep(after=8 * DAY)
    assert await ended.count(signals.BRIDGE_HISTORY_GAP) == 2 * DAY
    assert len(caplog.messages) == 2
