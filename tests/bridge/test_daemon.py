"""The life of a bridge: it waits, works, loses and takes the lease, and stops in order."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from prefect_otel_status import signals
from prefect_otel_status.bridge import daemon as daemon_module
from prefect_otel_status.bridge import ledger, outbox, tables, wire
from prefect_otel_status.bridge.connection import RequestRefused, ServerUnavailable, Unauthorized
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.daemon import Bridge
from prefect_otel_status.bridge.health import Check, Health
from prefect_otel_status.bridge.ingest import WEBSOCKET
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.records import ACTIVE, ENDED, SETTLED
from prefect_otel_status.bridge.store import Store, open_store
from prefect_otel_status.bridge.times import nanoseconds
from tests.support.core import (
    A_STORE,
    Clock,
    a_core,
    a_lease,
    cleaning,
    eventually,
    rows_of,
    totals,
)
from tests.support.histories import load
from tests.support.replay import RecordedApi

LOG = "prefect_otel_status.bridge"


class Api(RecordedApi):
    """The calls of `PrefectApi` that a whole bridge needs."""

    async def work_pools(self) -> list[wire.WorkPool]:
        self._called("work_pools")
        return [wire.WorkPool("pool")]

    async def workers(self, pool: str) -> list[wire.Worker]:
        return [wire.Worker("worker", "ONLINE")]


class Stream:
    """A listener that hands over what it is given."""

    def __init__(self) -> None:
        self.connected = False
        self.connected_since = 0
        self.events: list[wire.Event] = []
        self.deaf = False

    async def run(self, deliver: Callable[[Any], Awaitable[None]], stop: asyncio.Event) -> None:
        if self.events:
            await deliver(self.events)
            self.events = []
        while self.deaf:
            await asyncio.Event().wait()  # until it is cut off
        await stop.wait()


class Sink:
    """An exporter that does as it is told."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.last_success = 0
        self.delivers = True
        self.notified = 0
        self.drained: list[float] = []
        self.error: Exception | None = None

    def notify(self) -> None:
        self.notified += 1

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def drain(self, seconds: float) -> bool:
        self.drained.append(seconds)
        if self.error is not None:
            raise self.error
        return self.delivers


class Server:
    """A connection, which is closed at the end."""

    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class Parts:
    """A bridge, and the parts of it that are not real."""

    def __init__(self, core: Core, api: Api) -> None:
        self.core = core
        self.api = api
        self.stream = Stream()
        self.sink = Sink()
        self.server = Server()
        self.stop = asyncio.Event()
        self.monotonic = 0
        self.bridge = Bridge(
            core,
            self.server,  # type: ignore[arg-type]
            self.stream,  # type: ignore[arg-type]
            [self.sink],  # type: ignore[list-item]
            cleaning(),
            sampled=lambda trace_id: True,
            url_of=lambda kind, run_id: None,
            monotonic=lambda: self.monotonic,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the bridge until it is stopped, at the latest at the end."""
        task = asyncio.create_task(self.bridge.run(self.stop))
        try:
            yield task
        finally:
            self.stop.set()
            await asyncio.wait_for(task, 20)

    async def phase(self) -> str:
        rows = await rows_of(self.core.store, tables.runs)
        return str(rows[0].phase) if rows else ""

    async def holder(self) -> str:
        (row,) = await rows_of(self.core.store, tables.lease)
        return str(row.holder)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "_TICK", 0.01)


@pytest.fixture
async def parts(
    tmp_path: Path, clock: Clock, quick: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Parts]:
    async with making(tmp_path, clock, monkeypatch, "success.plain") as found:
        yield found


@asynccontextmanager
async def making(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, history: str
) -> AsyncIterator[Parts]:
    api = Api(load(history))
    clock.now = max(nanoseconds(event.occurred) for event in api.all_events()) + 5 * 10**9
    monkeypatch.setattr(daemon_module, "PrefectApi", lambda connection, on_bad: api)
    async with a_core(folder, clock=clock, sweep_interval=0.01) as core:
        await core.store.run(core.lease.give_back)
        yield Parts(core, api)


@pytest.fixture
async def other(tmp_path: Path, parts: Parts) -> AsyncIterator[Store]:
    """The same store, as another bridge has it."""
    store = await open_store(str(tmp_path / A_STORE), now=0)
    yield store
    await store.close()


async def take(store: Store) -> None:
    """Another bridge has taken over, because this one was silent."""

    def work(connection: Any) -> None:
        connection.execute(tables.lease.update().values(holder="other", host="there"))

    await store.run(work)


# --- once ------------------------------------------------------------------------------


async def test_once_reads_settles_and_exports_all(parts: Parts) -> None:
    assert await parts.bridge.once() == 0
    assert await parts.phase() == SETTLED
    assert (await parts.core.store.read(outbox.depth)).items > 0
    assert (parts.sink.drained, parts.sink.notified) == ([60.0], 1)
    assert (parts.server.closed, parts.bridge.working, await parts.holder()) == (1, False, "")
    assert parts.bridge.health().commit.succeeded == parts.core.clock()


async def test_once_tells_that_something_still_waits(parts: Parts) -> None:
    parts.sink.delivers = False
    assert await parts.bridge.once() == 1


async def test_once_waits_for_what_has_not_settled_yet(parts: Parts, clock: Clock) -> None:
    parts.core.options = dataclasses.replace(parts.core.options, settle=10.0)
    task = asyncio.create_task(parts.bridge.once())

    async def is_ended() -> bool:
        return await parts.phase() == ENDED

    await eventually(is_ended)
    assert not task.done()
    clock.pass_by(60)
    assert await task == 0
    assert await parts.phase() == SETTLED


async def test_once_does_nothing_while_another_works(parts: Parts, other: Store) -> None:
    await take(other)
    with pytest.raises(LeaseLostError):
        await parts.bridge.once()
    assert parts.api.calls.total() == 0
    assert await parts.holder() == "other"


@pytest.mark.parametrize("call", ["deployments", "active_runs", "flow_states"])
@pytest.mark.parametrize(
    "error", [ServerUnavailable("away"), Unauthorized("no"), RequestRefused("no", status=404)]
)
async def test_once_fails_where_the_server_cannot_be_read(
    parts: Parts, call: str, error: Exception
) -> None:
    parts.api.broken[call] = error
    with pytest.raises(type(error)):
        await parts.bridge.once()
    assert (parts.server.closed, parts.bridge.working, await parts.holder()) == (1, False, "")
    assert parts.sink.drained == []


# --- a life -------------------------------------------------------------------------------


async def test_a_bridge_works_until_it_is_stopped_and_stops_in_order(parts: Parts) -> None:
    async with parts.running() as task:

        async def is_settled() -> bool:
            return await parts.phase() == SETTLED

        await eventually(is_settled)
        assert parts.bridge.working
        assert await parts.holder() == "us"
        assert not task.done()
    assert not parts.bridge.working
    (given,) = parts.sink.drained  # what the end of the parts has left of it
    assert 0 < given <= daemon_module.DRAIN
    assert await parts.holder() == ""
    assert parts.server.closed == 1


async def test_what_comes_over_the_websocket_is_kept_at_once(parts: Parts) -> None:
    parts.api.broken["active_runs"] = ServerUnavailable("away")
    parts.stream.events = parts.api.all_events()
    async with parts.running():
        await eventually(lambda: parts.stream.events == [])
    found = await totals(parts.core.store, signals.BRIDGE_EVENTS)
    assert found[signals.BRIDGE_EVENTS.name, (WEBSOCKET,)] > 5


async def test_a_bridge_that_is_stopped_while_it_waits_is_gone(parts: Parts, other: Store) -> None:
    await take(other)
    async with parts.running():
        await eventually(lambda: parts.core.lease._watched is not None)
    assert await parts.holder() == "other"
    assert parts.sink.drained == []


async def test_a_bridge_waits_for_its_turn_and_says_so_once(
    parts: Parts, other: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=LOG)
    await take(other)
    async with parts.running():
        await eventually(lambda: "waits for its turn" in caplog.text)
        assert not parts.bridge.working
        assert parts.bridge.health() == Health(
            commit=Check(parts.core.last_commit),
            export=Check(parts.core.clock()),
            holds_lease=False,
        )
        await other.run(a_lease("other").give_back)
        await eventually(lambda: parts.bridge.working)
    assert caplog.text.count("waits for its turn") == 1


async def test_a_bridge_that_loses_the_lease_stops_working_and_waits_again(
    parts: Parts, other: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=LOG)
    async with parts.running():
        await eventually(lambda: parts.bridge.working and parts.bridge._sweeper.last_success)
        await take(other)
        await eventually(lambda: not parts.bridge.working)
        assert await parts.holder() == "other"  # which is not ours to give back
        assert parts.sink.drained == []
        await other.run(a_lease("other").give_back)
        await eventually(lambda: parts.bridge.working)
        assert await parts.holder() == "us"
    assert "Another bridge has taken over; this one waits again." in caplog.messages


async def test_a_part_that_does_not_end_is_cut_off(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "DRAIN", 0.05)
    parts.stream.deaf = True
    async with parts.running():
        await eventually(lambda: parts.bridge.working)
    (given,) = parts.sink.drained
    assert 0 <= given <= 0.05 / 2  # what is left, which on a busy machine is nothing
    assert await parts.holder() == ""


async def test_an_export_that_breaks_at_the_end_keeps_nobody(parts: Parts) -> None:
    parts.sink.error = OSError("gone")
    async with parts.running():
        await eventually(lambda: parts.bridge.working)
    assert await parts.holder() == ""


async def test_a_part_that_fails_is_named_and_all_begins_again(
    parts: Parts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []
    run = parts.stream.run

    async def once_broken(deliver: Any, stop: asyncio.Event) -> None:
        if not failed:
            failed.append(1)
            raise RuntimeError("odd")
        await run(deliver, stop)

    monkeypatch.setattr(parts.stream, "run", once_broken)
    async with parts.running():
        await eventually(lambda: failed and parts.bridge.working)
        await eventually(lambda: parts.bridge._sweeper.last_success)
    assert "A part of the bridge failed: RuntimeError: odd" in caplog.messages


# --- a store that cannot be used -------------------------------------------------------------


class Breaking:
    """Makes the transactions of a store fail until it is mended."""

    def __init__(self, store: Store) -> None:
        self._run = store.run
        self._store = store
        self.tries = 0
        store.run = self.run  # type: ignore[method-assign]

    async def run(self, work: Any) -> Any:
        self.tries += 1
        raise OperationalError("INSERT password", {}, OSError("disk full"))

    def mend(self) -> None:
        self._store.run = self._run  # type: ignore[method-assign]


async def test_a_store_that_cannot_be_used_is_tried_again_and_said_once(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=LOG)
    breaking = Breaking(parts.core.store)
    async with parts.running():
        await eventually(lambda: breaking.tries > 3)
        breaking.mend()
        await eventually(lambda: parts.bridge.working)
    assert caplog.messages[0] == "The store broke off: OperationalError: disk full"
    assert caplog.messages[1].startswith("The store is back after ")
    assert len([line for line in caplog.messages if "broke off" in line]) == 1
    assert "password" not in caplog.text


async def test_counters_that_cannot_be_read_are_read_later(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_it, tries = parts.core.load, []

    async def fails_twice() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("disk full")
        await load_it()

    monkeypatch.setattr(parts.core, "load", fails_twice)
    async with parts.running():
        await eventually(lambda: parts.bridge.working)
    assert caplog.messages[0] == "The store broke off: OSError: disk full"


async def test_a_store_that_breaks_later_stops_nothing(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    async with parts.running() as task:
        await eventually(lambda: parts.bridge._sweeper.last_success)
        breaking = Breaking(parts.core.store)
        await eventually(lambda: breaking.tries > 10)
        assert parts.bridge.working
        assert not task.done()
        breaking.mend()
        before = parts.bridge._sweeper.last_success
        parts.core.clock.pass_by(5)  # type: ignore[attr-defined]
        await eventually(lambda: parts.bridge._sweeper.last_success > before)
    assert "password" not in caplog.text


# --- a server that is away ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ServerUnavailable("It cannot be reached."), "It cannot be reached."),
        (RuntimeError("odd"), "RuntimeError: odd"),
    ],
)
async def test_a_server_that_is_away_is_said_once_and_read_when_it_is_back(
    parts: Parts, caplog: pytest.LogCaptureFixture, error: Exception, sentence: str
) -> None:
    caplog.set_level(logging.INFO, logger=LOG)
    for call in ("active_runs", "deployments", "work_pools"):
        parts.api.broken[call] = error
    async with parts.running():
        await eventually(lambda: parts.api.calls["active_runs"] > 3)
        trouble = f"Reading Prefect's history fails: {sentence}"
        assert parts.bridge.health().sweep == Check(0, trouble)
        parts.api.broken.clear()
        await eventually(lambda: parts.bridge.health().sweep.succeeded)
        assert parts.bridge.health().sweep == Check(parts.core.clock())
    assert caplog.messages[0] == f"Reading Prefect's history broke off: {sentence}"
    assert len([line for line in caplog.messages if "broke off" in line]) == 1


async def test_runs_that_cannot_be_read_are_said_and_settled_later(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.api.broken["flow_states"] = ServerUnavailable("away")
    async with parts.running():
        await eventually(lambda: parts.api.calls["flow_states"] > 1)
        parts.api.broken.clear()

        async def is_settled() -> bool:
            return await parts.phase() == SETTLED

        await eventually(is_settled)
    assert "Reading the runs that have ended broke off: away" in caplog.messages


async def test_a_lease_that_is_lost_while_a_part_works_is_found_there_too(parts: Parts) -> None:
    await parts.core.store.run(parts.core.lease.try_take)
    await take(parts.core.store)
    for part in (parts.bridge._sweep, parts.bridge._beat):
        with pytest.raises(LeaseLostError):
            await part()
    parts.monotonic = 10**18
    parts.api.broken["deployments"] = LeaseLostError()
    with pytest.raises(LeaseLostError):
        await parts.bridge._look()


# --- now and then -----------------------------------------------------------------


async def test_things_are_looked_at_as_often_as_is_due(parts: Parts) -> None:
    await parts.core.store.run(parts.core.lease.try_take)

    async def looks(seconds: int) -> tuple[int, int]:
        parts.monotonic = seconds * 10**9
        await parts.bridge._look()
        return parts.api.calls["deployments"], parts.api.calls["work_pools"]

    found = [await looks(seconds) for seconds in (0, 29, 30, 59, 60, 61, 90)]
    assert found == [(1, 1), (1, 1), (1, 2), (1, 2), (2, 3), (2, 3), (2, 4)]


async def test_the_history_is_read_less_often_while_the_websocket_is_open(parts: Parts) -> None:
    assert parts.bridge._until_next_sweep() == 0.01
    parts.stream.connected = True
    assert parts.bridge._until_next_sweep() == 0.01 * daemon_module._LISTENING


async def test_series_follow_their_true_values_with_the_beat(parts: Parts) -> None:
    await parts.bridge.once()
    await parts.core.store.run(parts.core.lease.try_take)
    parts.bridge.working = True

    async def shown() -> list[float]:
        body = (await parts.bridge.scrape(openmetrics=False) or b"").decode()
        name = "cicd_pipeline_run_duration_seconds_count{"
        return [float(line.split()[-1]) for line in body.splitlines() if line.startswith(name)]

    assert await shown() == [0]
    parts.monotonic = 60 * 10**9
    await parts.bridge._beat()
    assert await shown() == [1]
    parts.bridge.working = False
    assert await parts.bridge.scrape(openmetrics=False) is None


async def test_a_run_whose_heartbeats_stopped_is_presumed_dead_with_the_beat(
    tmp_path: Path, clock: Clock, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with making(tmp_path, clock, monkeypatch, "killed_by_hand.plain") as parts:
        await parts.core.store.run(parts.core.lease.try_take)
        await parts.bridge._sweep()
        (row,) = await parts.core.store.read(ledger.active_rows)
        beating = msgspec.structs.replace(row, heartbeat_at=clock.now)
        await parts.core.store.run(lambda connection: ledger.save_rows(connection, [beating]))
        clock.pass_by(3 * 180 + 1)
        await parts.bridge._beat()
        assert await parts.phase() == ACTIVE  # for its heartbeats could not be read meanwhile
        await parts.bridge._sweep()
        await parts.bridge._beat()
        assert await parts.phase() == ENDED
        await parts.bridge._settle()
        assert await parts.phase() == SETTLED


# --- what others ask --------------------------------------------------------------


async def test_gauges_tell_how_the_bridge_does(parts: Parts, clock: Clock) -> None:
    found = await parts.bridge.gauges()
    assert found[signals.BRIDGE_LAG] == [((), 0.0)]
    await parts.bridge.once()
    await parts.core.store.run(parts.core.lease.try_take)
    await parts.bridge._look()
    clock.pass_by(7)
    parts.stream.connected = True
    found = await parts.bridge.gauges()
    assert found[signals.BRIDGE_LAG] == [((), 7.0)]
    assert found[signals.BRIDGE_CONNECTED] == [((), 1.0)]
    assert found[signals.BRIDGE_STORE_SIZE] == [((), float(parts.core.store.size()))]
    assert found[signals.WORKER_COUNT] == [(("pool", "available"), 1.0), (("pool", "offline"), 0.0)]
    assert signals.RUN_ACTIVE in found


async def test_pages_tell_of_deployments_and_runs(parts: Parts) -> None:
    await parts.bridge.once()
    (deployment,) = await parts.bridge.deployments()
    assert (deployment["flow"], deployment["last_result"]) == ("success", "success")
    run_id = parts.api.runs()[0].id
    run = await parts.bridge.one_run(run_id)
    assert run is not None
    assert (run["id"], run["phase"]) == (run_id, SETTLED)
    assert await parts.bridge.one_run("unknown") is None


async def test_the_health_of_the_export_is_that_of_what_cannot_be_sent(
    parts: Parts, clock: Clock
) -> None:
    assert parts.bridge.health().export == Check(clock.now)
    parts.sink.trouble, parts.sink.last_success = "The receiver takes nothing.", 5
    assert parts.bridge.health().export == Check(5, "The receiver takes nothing.")
