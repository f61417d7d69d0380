"""The stream of events: from a real server, and from one that misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from prefect_otel_status.bridge.listen import Listener
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.times import iso, nanoseconds
from prefect_otel_status.bridge.wire import Event
from prefect_otel_status.settings import ConfigurationError
from tests.support.records import NOW
from tests.support.server import free_port, prefect_server

AUTH = "admin:hush"
Behave = Callable[[ServerConnection], Awaitable[None]]


class Heard:
    """A listener at work, and what it handed over."""

    def __init__(self, factory: Callable[[], PrefectServer], **options: Any) -> None:
        self.batches: asyncio.Queue[list[Event]] = asyncio.Queue()
        self.reasons: list[str] = []
        self.waits: list[float] = []
        self.stop = asyncio.Event()
        usual = {"sleep": self._sleep, "random": lambda: 1.0, "on_bad": self.reasons.append}
        self.listener = Listener(factory, **{**usual, **options})

    async def deliver(self, events: list[Event]) -> None:
        await self.batches.put(events)

    async def next(self) -> list[Event]:
        return await asyncio.wait_for(self.batches.get(), 30)

    async def next_named(self, name: str) -> Event:
        while True:
            for event in await self.next():
                if event.event == name:
                    return event

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(factory: Callable[[], PrefectServer], **options: Any) -> AsyncIterator[Heard]:
    heard = Heard(factory, **options)
    task = asyncio.create_task(heard.listener.run(heard.deliver, heard.stop))
    try:
        yield heard
    finally:
        heard.stop.set()
        await asyncio.wait_for(task, 30)
    assert not heard.listener.connected


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.01)


def an_event(name: str, *, occurred: str = "") -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "event": name,
        "occurred": occurred or iso(time.time_ns()),
        "resource": {"prefect.resource.id": "prefect.flow-run.1"},
    }


async def emit(address: str, *events: dict[str, Any], auth: str = "") -> None:
    credentials = tuple(auth.split(":", 1)) if auth else None
    async with httpx.AsyncClient(auth=credentials, timeout=60) as client:
        (await client.post(f"{address}/events", json=list(events))).raise_for_status()


@pytest.mark.server
async def test_hands_over_the_events_of_a_real_server(prefect_api: str) -> None:
    async with listening(lambda: PrefectServer(prefect_api)) as heard:
        await until(lambda: heard.listener.connected, "the stream")
        # The server subscribes us a moment after it has read our filter.
        name = f"prefect-otel-status.{uuid4()}"
        for _ in range(100):
            await emit(prefect_api, an_event("else.it"), an_event(name))
            if not heard.batches.empty():
                break
        event = await heard.next_named(name)
        assert event.resource == {"prefect.resource.id": "prefect.flow-run.1"}
        assert nanoseconds(event.received) > 0
        assert abs(heard.listener.last_message_ns - time.time_ns()) < 60 * 10**9
        ahead = f"{name}.ahead"
        await emit(prefect_api, an_event(ahead, occurred="2090-01-01T00:00:00Z"))
        assert nanoseconds((await heard.next_named(ahead)).occurred) > time.time_ns()
        await emit(prefect_api, an_event(f"{name}.after"))
        await heard.next_named(f"{name}.after")
        assert heard.reasons == []


@pytest.mark.server
@pytest.mark.fault(13)
async def test_outlives_servers_that_are_down_refuse_it_and_are_killed(
    prefect_api: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = PrefectServer(f"http://127.0.0.1:{free_port()}/api", token="wrong")
    caplog.set_level(logging.INFO, "prefect_otel_status.bridge")
    async with listening(lambda: now) as heard:
        await until(lambda: len(heard.waits) > 2, "some tries")
        with ExitStack() as stack:
            server = prefect_server(tmp_path, PREFECT_SERVER_API_AUTH_STRING=AUTH)
            address = await asyncio.to_thread(stack.enter_context, server)
            now = PrefectServer(address, token="admin:wrong")
            tries = len(heard.waits)
            await until(lambda: len(heard.waits) > tries + 2, "refusals")
            now = PrefectServer(address, token=AUTH)
            await until(lambda: heard.listener.connected, "the guarded stream")
        # It was killed with SIGKILL.
        await until(lambda: not heard.listener.connected, "the end")
        now = PrefectServer(prefect_api)
        await until(lambda: heard.listener.connected, "the stream")
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "hush" not in caplog.text
    assert caplog.messages[-1].startswith("The stream of Prefect's events is back after")


class Stage:
    """A server of ours on the websocket; BEHAVE is what it does after the greeting."""

    def __init__(self, behave: Behave, *, answer: str = '{"type":"auth_success"}') -> None:
        self.said: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self._behave = behave
        self._answer = answer

    async def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.headers.append({k.lower(): v for k, v in socket.request.headers.raw_items()})
        with suppress(ConnectionClosed):
            self.said.append(json.loads(await socket.recv()))
            await socket.send(self._answer)
            self.said.append(json.loads(await socket.recv()))
            await self._behave(socket)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[str]:
        protocols = [Subprotocol("prefect")]
        async with serve(self.handle, "127.0.0.1", 0, subprotocols=protocols, **options) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield f"http://127.0.0.1:{port}/api"


async def stay(socket: ServerConnection) -> None:
    await socket.wait_closed()


def message(name: str, **changes: Any) -> str:
    event = {"id": "1", "event": name, "occurred": "2026-11-24T00:00:00Z", **changes}
    return json.dumps({"type": "event", "event": event})


async def test_greets_as_prefects_subscriber_does() -> None:
    stage = Stage(stay)
    async with stage.open() as address:
        path = f"{address}/accounts/a/workspaces/w"
        headers = (("user-agent", "us"), ("authorization", "Bearer key"), ("x-proxy", "in"))
        server = PrefectServer(path, headers=headers, token="key")
        async with listening(lambda: server) as heard:
            await until(lambda: len(stage.said) == 2, "the greeting")
            assert heard.listener.connected
    assert stage.said == [
        {"type": "auth", "token": "key"},
        {
            "type": "filter",
            "filter": {
                "occurred": {
                    "since": "1970-01-01T00:00:00.000000Z",
                    "until": "2100-01-01T00:00:00.000000Z",
                },
                "order": "ASC",
                "event": {
                    "prefix": ["prefect.flow-run.", "prefect.task-run.", "prefect-otel-status."]
                },
            },
            "backfill": False,
        },
    ]
    sent = stage.headers[0]
    assert (sent["user-agent"], sent["authorization"], sent["x-proxy"]) == (
        "us",
        "Bearer key",
        "in",
    )
    assert sent["sec-websocket-protocol"] == "prefect"


@pytest.mark.fault(14)
async def test_connects_again_after_a_clean_close() -> None:
    async def say_and_close(socket: ServerConnection) -> None:
        await socket.send(message("x"))

    async with (
        Stage(say_and_close).open() as address,
        listening(lambda: PrefectServer(address), clock=lambda: NOW) as heard,
    ):
        assert [await heard.next() for _ in range(3)] == [
            [Event(id="1", event="x", occurred="2026-11-24T00:00:00Z")]
        ] * 3
        assert heard.listener.last_message_ns == NOW
        # What speaks is well: the wait does not grow.
        assert set(heard.waits) == {0.5}


async def test_waits_longer_for_a_server_that_only_closes() -> None:
    async def close(socket: ServerConnection) -> None:
        return

    async with (
        Stage(close).open() as address,
        listening(lambda: PrefectServer(address)) as heard,
    ):
        await until(lambda: len(heard.waits) >= 8, "some tries")
    assert heard.waits[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_passes_over_what_it_cannot_read() -> None:
    bad = [
        "not json",
        "[]",
        '{"type":"event"}',
        '{"type":"event","event":{"event":"x"}}',
        '{"type":"event","event":{"id":"1","event":' + '"x' * 3 + "}",
        json.dumps({"type": "event", "event": {"id": "1", "event": "x" * 2_000_001}}),
        '{"type":"hello"}',
        '{"type":7}',
    ]

    async def say(socket: ServerConnection) -> None:
        for text in bad:
            await socket.send(text)
        await socket.send(b"\xff\xfe")
        nan = '{"type":"event","event":{"id":"1","event":"x","payload":{"loss":NaN}}}'
        await socket.send(nan)
        await stay(socket)

    async with Stage(say).open() as address, listening(lambda: PrefectServer(address)) as heard:
        assert await heard.next() == [Event(id="1", event="x", payload={"loss": None})]
        assert heard.reasons == [
            "not_json",
            "wrong_type",
            "wrong_type",
            "missing_field",
            "not_json",
            "too_large",
            "wrong_type",
            "not_json",
        ]
        assert heard.listener.connected


async def test_outlives_a_message_larger_than_it_takes() -> None:
    async def say(socket: ServerConnection) -> None:
        await socket.send(message("x" * 2000))
        await stay(socket)

    async with (
        Stage(say).open() as address,
        listening(lambda: PrefectServer(address), largest_message=1000) as heard,
    ):
        await until(lambda: len(heard.reasons) >= 2, "two large messages")
        assert set(heard.reasons) == {"too_large"}
        assert heard.batches.empty()


async def test_takes_a_message_larger_than_the_librarys_usual_limit() -> None:
    async def say(socket: ServerConnection) -> None:
        await socket.send(message("x", payload={"text": "y" * 1_400_000}))
        await stay(socket)

    async with Stage(say).open() as address, listening(lambda: PrefectServer(address)) as heard:
        assert len((await heard.next())[0].payload["text"]) == 1_400_000


async def test_hands_over_in_batches() -> None:
    async def say(socket: ServerConnection) -> None:
        for number in range(1200):
            await socket.send(message("x", id=str(number)))
        await stay(socket)

    # A clock that stands still: only the number ends a batch, or a pause.
    async with (
        Stage(say).open() as address,
        listening(lambda: PrefectServer(address), monotonic=lambda: 0.0) as heard,
    ):
        found: list[Event] = []
        sizes: list[int] = []
        while len(found) < 1200:
            batch = await heard.next()
            found += batch
            sizes.append(len(batch))
        assert [event.id for event in found] == [str(number) for number in range(1200)]
        assert max(sizes) <= 500
        assert len(sizes) < 100


async def test_logs_what_taking_in_raises_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def say(socket: ServerConnection) -> None:
        await socket.send(message("first"))
        await go_on.wait()
        await socket.send(message("second"))
        await stay(socket)

    taken: list[str] = []
    stop, go_on = asyncio.Event(), asyncio.Event()

    async def deliver(events: list[Event]) -> None:
        taken.append(events[0].event)
        go_on.set()
        if len(taken) == 1:
            raise RuntimeError("hush")

    caplog.set_level(logging.INFO, "prefect_otel_status.bridge")
    async with Stage(say).open() as address:
        listener = Listener(lambda: PrefectServer(address), monotonic=lambda: 0.0)
        task = asyncio.create_task(listener.run(deliver, stop))
        await until(lambda: len(taken) == 2, "the second")
        stop.set()
        await asyncio.wait_for(task, 30)
    assert caplog.messages == [
        "Taking in Prefect's events broke off: RuntimeError",
        "Taking in Prefect's events is back after 0 s.",
    ]


async def test_a_delivery_under_way_is_let_finish() -> None:
    async def say(socket: ServerConnection) -> None:
        await socket.send(message("x"))
        await stay(socket)

    stop, begun, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def deliver(events: list[Event]) -> None:
        begun.set()
        await may_end.wait()
        done.append(len(events))

    async with Stage(say).open() as address:
        listener = Listener(lambda: PrefectServer(address))
        task = asyncio.create_task(listener.run(deliver, stop))
        await asyncio.wait_for(begun.wait(), 30)
        stop.set()
        await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        await asyncio.wait_for(task, 30)
    assert done == [1]


@pytest.mark.parametrize("status", [401, 403, 502])
async def test_says_why_a_proxy_turned_it_away(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, "hush")  # type: ignore[arg-type]

    refused = (
        "Prefect refuses the credentials of the event stream; set PREFECT_API_AUTH_STRING, "
        "or PREFECT_API_KEY for Prefect Cloud, to what it accepts."
    )
    why = "the server answered 502." if status == 502 else refused
    async with (
        Stage(stay).open(process_request=refuse) as address,
        listening(lambda: PrefectServer(address), monotonic=lambda: 0.0) as heard,
    ):
        await until(lambda: len(heard.waits) > 2, "some tries")
    assert caplog.messages == [f"The stream of Prefect's events broke off: {why}"]


@pytest.mark.parametrize("answer", ['{"type":"auth_failure","reason":"hush"}', "hush", "[]"])
async def test_a_greeting_that_is_none(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        Stage(stay, answer=answer).open() as address,
        listening(lambda: PrefectServer(address, token="hush")) as heard,
    ):
        await until(lambda: len(heard.waits) > 2, "some tries")
        assert not heard.listener.connected
    assert "refuses the credentials" in caplog.text
    assert "hush" not in caplog.text


async def test_settings_that_are_wrong_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    def factory() -> PrefectServer:
        raise ConfigurationError("Set PREFECT_API_URL.")

    async with listening(factory, monotonic=lambda: 0.0) as heard:
        await until(lambda: len(heard.waits) > 2, "some tries")
    expected = "The stream of Prefect's events broke off: Set PREFECT_API_URL."
    assert caplog.messages == [expected]


async def test_shows_no_secret_in_the_librarys_own_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stage = Stage(stay)
    async with stage.open() as address:
        logging.getLogger("websockets.server").setLevel(logging.WARNING)
        headers = (("authorization", "Basic c2VjcmV0"),)
        server = PrefectServer(address, headers=headers, token=AUTH)
        async with listening(lambda: server):
            await until(lambda: len(stage.said) == 2, "the greeting")
    assert "hush" not in caplog.text
    assert "c2VjcmV0" not in caplog.text
