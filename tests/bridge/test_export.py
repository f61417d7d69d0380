from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine

from prefect_otel_status import signals
from prefect_otel_status.bridge import outbox, tables
from prefect_otel_status.bridge.endpoint import Endpoint
from prefect_otel_status.bridge.export import Exporter, Limits, Progress, backoff
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.otlp import Resource, encode_span, request
from prefect_otel_status.bridge.outbox import Cap, Depth, OutboxItem, put
from prefect_otel_status.bridge.records import SpanRecord, Step
from prefect_otel_status.bridge.senders.base import Kind, Outcome, Sender
from prefect_otel_status.bridge.senders.http import HttpSender
from prefect_otel_status.choice import HTTP
from tests.support.receiver import Received
from tests.support.scripted import Answer, Request, Scripted, scripted_receiver
from tests.support.server import free_port

T = TypeVar("T")
RESOURCE = Resource((("service.name", "bridge"),))
EXPORTS, DROPS = signals.BRIDGE_EXPORTS.name, signals.BRIDGE_DROPS.name
SECOND = 10**9
MINUTE = 60 * SECOND


class Memory:
    """A store in memory, or in FILE, that keeps count of steps; it can be made to break."""

    def __init__(self, file: Path | None = None) -> None:
        self.engine: Engine = create_engine(f"sqlite:///{file}" if file else "sqlite://")
        tables.metadata.create_all(self.engine)
        self.steps: list[Step] = []
        self.broken: Exception | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        await asyncio.sleep(0)
        with self.engine.begin() as conn:
            return work(conn)

    async def commit(self, work: Callable[[Connection], None], steps: list[Step]) -> None:
        await asyncio.sleep(0)
        if self.broken is not None:
            raise self.broken
        with self.engine.begin() as conn:
            work(conn)
            self.steps += steps

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for step in self.steps:
            key = step.metric, step.labels[0]
            found[key] = found.get(key, 0) + int(step.value)
        return found

    def put(self, *names: str, terminal: bool = False) -> list[bytes]:
        bodies = [_body(name) for name in names]
        items = [
            OutboxItem("traces", terminal, 1, name, body)
            for name, body in zip(names, bodies, strict=True)
        ]
        with self.engine.begin() as conn:
            put(conn, items, cap=Cap(), now=1)
        return bodies

    def read(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as conn:
            return work(conn)

    @property
    def depth(self) -> Depth:
        return self.read(outbox.depth)

    @property
    def aside(self) -> list[tuple[str, str]]:
        return [(found.name, found.reason) for found in self.read(outbox.list_set_aside)]


def _body(name: str) -> bytes:
    return encode_span(SpanRecord(name, "INTERNAL", 1, 2, 3, 4), RESOURCE)


class World:
    """A clock that the exporter's sleep moves on; `slept` is what it slept."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.slept: list[float] = []

    def clock(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += int(seconds * SECOND)


class Told:
    """A sender that answers as it is told, and keeps what it was sent."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[list[bytes]] = []

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        self.sent.append(list(bodies))
        answer = self.answers.pop(0) if self.answers else Outcome(Kind.DELIVERED)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


class Silent(Told):
    """A sender that never comes back."""

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        self.sent.append(list(bodies))
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
def store() -> Iterator[Memory]:
    memory = Memory()
    yield memory
    memory.engine.dispose()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make(store: Memory, world: World) -> Callable[..., Exporter]:
    def make(sender: Sender, **options: Any) -> Exporter:
        parts: dict[str, Any] = {
            "signal": "traces",
            "store": store,
            "commit": store.commit,
            "clock": world.clock,
            "sleep": world.sleep,
            "random": lambda: 1.0,
        }
        return Exporter(sender=sender, **{**parts, **options})

    return make


Make = Callable[..., Exporter]
RETRY = Outcome(Kind.RETRY, "busy")


def _http(scripted: Scripted) -> HttpSender:
    return HttpSender(Endpoint(HTTP, scripted.endpoint, scripted.endpoint, timeout=5))


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# --- what goes well ----------------------------------------------------------
async def test_what_is_delivered_is_deleted_and_counted(
    make: Make, store: Memory, world: World
) -> None:
    bodies = store.put("a", "b", "c")
    sender = Told()
    exporter = make(sender, limits=Limits(max_items=2))
    assert exporter.last_success == 0
    found = [await exporter.run_once() for _ in range(3)]
    assert found == [Progress(2), Progress(1), Progress()]
    assert sender.sent == [bodies[:2], bodies[2:]]
    assert store.depth == Depth()
    assert store.steps == [
        Step(metric=EXPORTS, labels=("delivered",), value=2, at=world.now),
        Step(metric=EXPORTS, labels=("delivered",), value=1, at=world.now),
    ]
    assert (exporter.last_success, exporter.trouble) == (world.now, None)


async def test_only_its_own_signal_is_sent(make: Make, store: Memory) -> None:
    store.put("a")
    assert await make(Told(), signal="logs").run_once() == Progress()


async def test_a_real_receiver_gets_all(make: Make, store: Memory, received: Received) -> None:
    store.put("a", "b", "c")
    address = f"{received.endpoint}/v1/traces"
    sender = HttpSender(Endpoint(HTTP, address, address))
    assert await make(sender, limits=Limits(max_bytes=100)).drain(20)
    await sender.close()
    found = await asyncio.to_thread(received.wait_for_spans, "a", "b", "c")
    assert set(found) == {"a", "b", "c"}
    assert (store.depth, store.counts) == (Depth(), {(EXPORTS, "delivered"): 3})


@pytest.mark.fault(5)
async def test_a_partial_success_is_counted_and_told_in_the_receivers_words(
    make: Make, store: Memory, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a", "b", "c", "d")
    partial = Outcome(Kind.PARTIAL, "too old", rejected=1)
    exporter = make(Told(partial, partial), limits=Limits(max_items=2))
    for _ in range(2):
        await exporter.run_once()
    assert store.counts == {(EXPORTS, "delivered"): 2, (EXPORTS, "partial"): 2}
    assert store.depth == Depth()
    assert _lines(caplog) == ["The receiver of traces rejected 1 of 2: too old"]
    world.now += MINUTE
    store.put("e")
    await make_say(exporter, partial)
    assert len(_lines(caplog)) == 2
    assert store.counts[EXPORTS, "partial"] == 3


async def make_say(exporter: Exporter, outcome: Outcome) -> None:
    exporter._sender = Told(outcome)
    await exporter.run_once()


async def test_a_warning_of_the_receiver_is_told(
    make: Make, store: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a")
    await make(Told(Outcome(Kind.DELIVERED, "deprecated"))).run_once()
    assert _lines(caplog) == ["The receiver of traces says: deprecated"]
    assert store.counts == {(EXPORTS, "delivered"): 1}


# --- what is tried again -----------------------------------------------------
@pytest.mark.parametrize(
    ("failures", "asked", "expected"),
    [
        (1, None, 1.0),
        (2, None, 2.0),
        (6, None, 32.0),
        (7, None, 60.0),
        (10_000, None, 60.0),
        (1, 7.0, 7.0),
        (7, 7.0, 60.0),
        (1, 10.0**9, 3600.0),
    ],
)
def test_the_back_off(failures: int, asked: float | None, expected: float) -> None:
    assert backoff(failures, random=lambda: 1.0, asked=asked) == expected
    assert backoff(failures, random=lambda: 0.0) == 0.0


async def test_a_retry_is_identical_and_waits_longer_each_time(make: Make, store: Memory) -> None:
    bodies = store.put("a", "b")
    sender = Told(RETRY, RETRY, RETRY)
    exporter = make(sender)
    found = [await exporter.run_once() for _ in range(4)]
    assert found == [Progress(2, 1.0), Progress(2, 2.0), Progress(2, 4.0), Progress(2)]
    assert sender.sent == [bodies] * 4
    assert store.counts == {(EXPORTS, "retried"): 6, (EXPORTS, "delivered"): 2}


@pytest.mark.fault(4)
async def test_the_delay_that_a_real_answer_asks_for_is_waited(
    make: Make, store: Memory, world: World
) -> None:
    store.put("a")
    answers = Answer(429, b"", {"retry-after": "7"}), Answer(503, b"", {"retry-after": "99999"})
    with scripted_receiver(*answers) as scripted:
        sender = _http(scripted)
        assert await make(sender).drain(20)
        await sender.close()
    assert world.slept == [7.0, 3600.0]
    assert [found.names for found in scripted.requests] == [["a"]] * 3


@pytest.mark.fault(1)
async def test_a_receiver_that_is_down_for_an_hour_loses_nothing(
    make: Make, store: Memory, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    names = [f"span {number}" for number in range(50)]
    store.put(*names)
    port = free_port()
    address = f"http://127.0.0.1:{port}/v1/traces"
    sender = HttpSender(Endpoint(HTTP, address, address))
    exporter = make(sender)
    began = world.now
    while world.now - began < 60 * MINUTE:
        world.now += int((await exporter.run_once()).wait * SECOND)
    assert exporter.trouble == (
        "The receiver of traces takes nothing: All connection attempts failed. "
        "The data is kept and tried again."
    )
    assert store.depth.items == 50
    with scripted_receiver(port=port) as scripted:
        assert await exporter.drain(20)
    await sender.close()
    assert [name for found in scripted.requests for name in found.names] == names
    assert exporter.trouble is None
    assert len(_lines(caplog)) == 7  # one when it begins, one in ten minutes, one at its end
    assert _lines(caplog)[-1] == "The receiver of traces takes them again."


async def test_one_failure_alone_is_no_trouble(
    make: Make, store: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.put("a")
    exporter = make(Told(RETRY))
    await exporter.run_once()
    assert exporter.trouble is None
    await exporter.run_once()
    assert _lines(caplog) == []


async def test_a_sender_that_raises_is_tried_again(make: Make, store: Memory) -> None:
    store.put("a")
    exporter = make(Told(RuntimeError("secret"), RuntimeError("secret")))
    await exporter.run_once()
    await exporter.run_once()
    assert "unexpected RuntimeError" in (exporter.trouble or "")
    assert "secret" not in (exporter.trouble or "")
    assert await exporter.run_once() == Progress(1)


# --- wrong credentials or address --------------------------------------------
@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.fault(3)
async def test_being_turned_away_keeps_the_data_and_is_told_once(
    make: Make, store: Memory, world: World, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO)
    store.put("a", "b")
    with scripted_receiver(*[Answer(status, b"no such key")] * 5) as scripted:
        sender = _http(scripted)
        exporter = make(sender)
        waits = [(await exporter.run_once()).wait for _ in range(5)]
        trouble = exporter.trouble
        assert store.depth.items == 2
        world.now += 10 * MINUTE
        await exporter.run_once()
        await sender.close()
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert trouble is not None
    assert trouble.startswith(f"The receiver of traces turns us away: {status} ")
    assert "no such key. Check OTEL_EXPORTER_OTLP_ENDPOINT and" in trouble
    assert _lines(caplog) == [trouble, "The receiver of traces takes them again."]
    assert store.counts == {(EXPORTS, "retried"): 10, (EXPORTS, "delivered"): 2}


async def test_being_turned_away_is_told_again_after_ten_minutes(
    make: Make, store: Memory, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a")
    exporter = make(Told(*[Outcome(Kind.UNAUTHORIZED, "401")] * 3))
    await exporter.run_once()
    world.now += 9 * MINUTE
    await exporter.run_once()
    assert len(_lines(caplog)) == 1
    world.now += MINUTE
    await exporter.run_once()
    assert len(_lines(caplog)) == 2


# --- poison ------------------------------------------------------------------
def _refusing(*poison: str, status: int = 400) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        bad = set(poison) & set(request.names)
        return Answer(status, f"bad: {sorted(bad)}".encode()) if bad else Answer()

    return answer


@pytest.mark.parametrize(
    ("status", "phrase"), [(400, "Bad Request"), (413, "Request Entity Too Large")]
)
@pytest.mark.fault(34)
async def test_what_is_refused_is_set_aside_and_the_rest_flows(
    make: Make,
    store: Memory,
    caplog: pytest.LogCaptureFixture,
    status: int,
    phrase: str,
) -> None:
    names = [f"s{number:02}" for number in range(40)]
    store.put(*names)
    with scripted_receiver() as scripted:
        scripted.otherwise = _refusing("s07", "s31", status=status)
        sender = _http(scripted)
        assert await make(sender, limits=Limits(max_items=32)).drain(20)
        await sender.close()
    taken = [name for found in scripted.requests for name in found.names]
    delivered = [
        found.names for found in scripted.requests if not {"s07", "s31"} & set(found.names)
    ]
    assert [name for part in delivered for name in part] == [
        name for name in names if name not in ("s07", "s31")
    ]
    assert len(taken) < 32 * 8  # halved, not tried one by one
    assert store.aside == [
        ("s07", f"{status} {phrase}: bad: ['s07']"),
        ("s31", f"{status} {phrase}: bad: ['s31']"),
    ]
    assert store.depth == Depth(set_aside=2)
    assert store.counts == {(EXPORTS, "delivered"): 38, (EXPORTS, "set_aside"): 2}
    assert _lines(caplog) == [
        f"The receiver of traces refused item 8 and it was set aside: {status} {phrase}: "
        "bad: ['s07']. `prefect-otel-status bridge --set-aside` lists what is."
    ]


async def test_what_is_set_aside_can_be_tried_again(make: Make, store: Memory) -> None:
    [body] = store.put("a")
    sender = Told(Outcome(Kind.REFUSED, "bad"))
    exporter = make(sender)
    assert await exporter.run_once() == Progress(1)
    assert await exporter.run_once() == Progress()
    store.read(outbox.release_set_aside)
    assert await exporter.run_once() == Progress(1)
    assert (sender.sent, store.depth) == ([[body]] * 2, Depth())


async def test_what_is_set_aside_has_its_cap(make: Make, store: Memory) -> None:
    store.put("a", "b")
    refused = Outcome(Kind.REFUSED, "bad")
    exporter = make(Told(refused, refused, refused), cap=Cap(set_aside_bytes=len(_body("a"))))
    for _ in range(3):
        await exporter.run_once()
    assert store.aside == [("b", "bad")]
    assert store.counts == {(EXPORTS, "set_aside"): 2, (DROPS, "set_aside_size"): 1}


@pytest.mark.fault(4)
async def test_a_500_is_tried_five_times_and_then_refused(make: Make, store: Memory) -> None:
    store.put("bad")
    with scripted_receiver() as scripted:
        scripted.otherwise = _refusing("bad", status=500)
        sender = _http(scripted)
        exporter = make(sender)
        found = [await exporter.run_once() for _ in range(6)]
        await sender.close()
    waits = [1.0, 2.0, 4.0, 8.0]
    assert found == [*(Progress(1, wait) for wait in waits), Progress(1), Progress()]
    assert len(scripted.requests) == 5
    assert store.aside == [("bad", "500 Internal Server Error: bad: ['bad']")]


async def test_a_500_that_passes_harms_nothing(make: Make, store: Memory) -> None:
    store.put("a", "b")
    sender = Told(*[Outcome(Kind.RETRY, "500", bounded=True)] * 4)
    assert await make(sender).drain(20)
    assert (store.depth, store.aside) == (Depth(), [])


async def test_the_tries_at_a_500_survive_a_restart(make: Make, store: Memory) -> None:
    store.put("a")
    failing = Outcome(Kind.RETRY, "500", bounded=True)
    for _ in range(5):
        await make(Told(failing)).run_once()
    assert store.aside == [("a", "500")]


async def test_other_failures_are_tried_for_ever(make: Make, store: Memory) -> None:
    store.put("a")
    exporter = make(Told(*[RETRY] * 50, Outcome(Kind.RETRY, "500", bounded=True)))
    for _ in range(51):
        await exporter.run_once()
    assert (store.aside, store.depth.items) == ([], 1)


async def test_a_retry_between_two_halves_goes_on_where_it_was(make: Make, store: Memory) -> None:
    a, b = store.put("a", "b")
    refused = Outcome(Kind.REFUSED, "bad")
    sender = Told(refused, RETRY, Outcome(Kind.DELIVERED), refused)
    assert await make(sender).drain(20)
    assert sender.sent == [[a, b], [a], [a], [b]]
    assert (store.aside, store.depth) == ([("b", "bad")], Depth(set_aside=1))


# --- deaths, and stores that break -------------------------------------------
@pytest.mark.fault(10)
async def test_a_death_between_send_and_confirm_resends_the_same_bytes(
    make: Make, store: Memory
) -> None:
    bodies = store.put("a", "b")
    with scripted_receiver() as scripted:
        store.broken = RuntimeError("killed")
        first, second = _http(scripted), _http(scripted)
        with pytest.raises(RuntimeError, match="killed"):
            await make(first).run_once()
        store.broken = None
        store.put("c")
        assert await make(second, limits=Limits(max_items=2)).drain(20)
        await first.close()
        await second.close()
    assert [found.body for found in scripted.requests] == [
        request(bodies),
        request(bodies),
        request([_body("c")]),
    ]
    assert store.counts == {(EXPORTS, "delivered"): 3}


async def test_the_bytes_survive_a_restart_of_the_store(make: Make, tmp_path: Path) -> None:
    sent = []
    for attempt in range(2):
        store = Memory(tmp_path / "store.db")
        if not attempt:
            store.put("a", "b")
        sender = Told(RETRY)
        await make(sender, store=store, commit=store.commit).run_once()
        sent += sender.sent
        store.engine.dispose()
    assert sent == [[_body("a"), _body("b")]] * 2


async def test_a_store_that_breaks_is_waited_for(
    make: Make, store: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.put("a")
    store.broken = OSError("No space left on device")
    stop = asyncio.Event()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            store.broken = None
        if len(slept) > 3:
            stop.set()

    await make(Told(), sleep=sleep).run(stop)
    assert slept == [1.0, 2.0, 4.0, 5.0]
    assert store.counts == {(EXPORTS, "delivered"): 1}
    assert _lines(caplog) == [
        "The store cannot be used: OSError.",
        "The receiver of traces takes them again.",
    ]


async def test_a_lost_lease_ends_it_and_what_it_held_is_forgotten(
    make: Make, store: Memory
) -> None:
    store.put("a")
    store.broken = LeaseLostError()
    sender = Told()
    exporter = make(sender)
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(exporter.run(asyncio.Event()), 10)
    store.broken = None
    store.read(lambda conn: outbox.confirm(conn, [1]))  # by the other bridge
    assert await exporter.drain(20)
    assert (len(sender.sent), store.steps) == (1, [])


async def test_what_the_cap_dropped_meanwhile_is_not_counted_twice(
    make: Make, store: Memory
) -> None:
    store.put("a", "b")

    class Dropping(Told):
        async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
            store.read(lambda conn: outbox.confirm(conn, [1]))
            return await super().send(signal, bodies)

    await make(Dropping()).run_once()
    assert store.counts == {(EXPORTS, "delivered"): 1}


async def test_what_the_cap_dropped_meanwhile_is_not_set_aside(make: Make, store: Memory) -> None:
    store.put("a")

    class Dropping(Told):
        async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
            store.read(lambda conn: outbox.confirm(conn, [1]))
            return await super().send(signal, bodies)

    await make(Dropping(Outcome(Kind.REFUSED, "bad"))).run_once()
    assert (store.counts, store.aside) == ({}, [])


# --- running, stopping, draining ---------------------------------------------
async def test_a_notice_wakes_it(make: Make, store: Memory) -> None:
    stop, sent = asyncio.Event(), asyncio.Event()

    class Stopping(Told):
        async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
            sent.set()
            return await super().send(signal, bodies)

    async def never(seconds: float) -> None:
        await asyncio.Event().wait()

    exporter = make(Stopping(), sleep=never)
    running = asyncio.create_task(exporter.run(stop))
    for name in ("a", "b"):
        sent.clear()
        store.put(name)
        exporter.notify()
        await asyncio.wait_for(sent.wait(), 10)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert store.counts[EXPORTS, "delivered"] >= 1


async def test_it_looks_now_and_then_without_a_notice(
    make: Make, store: Memory, world: World
) -> None:
    stop = asyncio.Event()

    async def sleep(seconds: float) -> None:
        world.slept.append(seconds)
        if store.counts:
            stop.set()
        else:
            store.put("a")

    await asyncio.wait_for(make(Told(), sleep=sleep).run(stop), 10)
    assert world.slept == [5.0, 5.0]
    assert store.counts == {(EXPORTS, "delivered"): 1}


async def test_a_stop_does_not_wait_for_the_receiver(make: Make, store: Memory) -> None:
    store.put("a")
    stop = asyncio.Event()
    sender = Silent()
    running = asyncio.create_task(make(sender).run(stop))
    await _until(lambda: sender.sent)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert (store.depth.items, store.steps) == (1, [])


async def test_a_cancelled_request_is_ended(make: Make, store: Memory) -> None:
    store.put("a")
    sender = Silent()
    running = asyncio.create_task(make(sender).run_once())
    await _until(lambda: sender.sent)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) == 1


async def test_a_drain_of_nothing_is_done_at_once(make: Make) -> None:
    assert await make(Told()).drain(20)


async def test_a_drain_ends_in_time_with_a_receiver_that_hangs(make: Make, store: Memory) -> None:
    store.put("a")
    found = await asyncio.wait_for(make(Silent()).drain(0.05), 10)
    assert (found, store.depth.items) == (False, 1)


async def test_a_drain_ends_in_time_while_it_backs_off(make: Make, store: Memory) -> None:
    store.put("a")

    async def never(seconds: float) -> None:
        await asyncio.Event().wait()

    found = await asyncio.wait_for(make(Told(RETRY), sleep=never).drain(0.05), 10)
    assert (found, store.depth.items) == (False, 1)


async def _until(condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), 10)
