"""The stream of Prefect's events: a hint that comes at once. The sweep is the truth."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from prefect_otel_status.bridge.api import EVENT_PREFIXES, SINCE_EVER, UNTIL_EVER
from prefect_otel_status.bridge.connection import Unauthorized
from prefect_otel_status.bridge.decoding import OnBad, decode, decode_event
from prefect_otel_status.bridge.event_pages import OLDEST_FIRST, Window
from prefect_otel_status.bridge.outage import Backoff, Outage
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.bridge.wire import Event
from prefect_otel_status.settings import ConfigurationError

_log = logging.getLogger("prefect_otel_status.bridge")

Deliver = Callable[[list[Event]], Awaitable[None]]

LARGEST_MESSAGE = 4 * 1024 * 1024
"""Well above Prefect's own limit of events; the library's usual 1 MiB is below it."""

_BATCH, _BATCH_SECONDS = 500, 0.02
_GREETING_SECONDS = 10.0
_STEADY_SECONDS = 10.0
_REFUSED = (
    "Prefect refuses the credentials of the event stream; set PREFECT_API_AUTH_STRING, "
    "or PREFECT_API_KEY for Prefect Cloud, to what it accepts."
)


class _Message(msgspec.Struct, frozen=True):
    type: str = ""
    event: msgspec.Raw = msgspec.Raw(b"null")


_MESSAGE = msgspec.json.Decoder(_Message)


class Listener:
    """Hands over events as they come, in small batches, and connects again for ever.

    SERVER_FACTORY is asked at each connection, so that a rotated key is found.
    `connected` says whether the stream is open, `connected_since` when it was last
    opened, `last_message_ns` when it last said something. `on_bad` gets the
    reason for each message passed over.
    """

    def __init__(
        self,
        server_factory: Callable[[], PrefectServer],
        *,
        on_bad: OnBad = lambda reason: None,
        prefixes: Sequence[str] = EVENT_PREFIXES,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
        largest_message: int = LARGEST_MESSAGE,
    ) -> None:
        self.connected = False
        self.connected_since = 0
        self.last_message_ns = 0
        self._server_factory = server_factory
        self._on_bad = on_bad
        self._prefixes = tuple(prefixes)
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._backoff = Backoff(random)
        self._largest = largest_message
        self._stream = Outage("The stream of Prefect's events", logger=_log, monotonic=monotonic)
        self._taking = Outage("Taking in Prefect's events", logger=_log, monotonic=monotonic)

    @property
    def trouble(self) -> str:
        """What is wrong with the stream now; empty while all is well."""
        return self._stream.sentence

    async def run(self, deliver: Deliver, stop: asyncio.Event) -> None:
        """Listen until STOP is set. Raises nothing; a delivery under way is let finish.

        What DELIVER raises is logged: the sweep will find those events.
        """
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                await _until_stopped(self._listen_once(deliver), stopped)
                if not stop.is_set():
                    await _until_stopped(self._wait(), stopped)
        finally:
            stopped.cancel()

    async def _wait(self) -> None:
        await self._sleep(self._backoff.next())

    async def _listen_once(self, deliver: Deliver) -> None:
        began = self._monotonic()
        try:
            await self._listen(deliver)
        except Exception as error:
            if isinstance(error, ConnectionClosed) and error.sent and error.sent.code == 1009:
                self._on_bad("too_large")
            self._stream.failed(_why(error))
        finally:
            self.connected = False
        if self._monotonic() - began >= _STEADY_SECONDS:
            self._backoff.reset()

    async def _listen(self, deliver: Deliver) -> None:
        server = self._server_factory()
        async with self._connection(server) as socket:
            await asyncio.wait_for(self._greet(socket, server), _GREETING_SECONDS)
            self.connected, self.connected_since = True, self._clock()
            self._stream.over()
            while True:
                events = await self._batch(socket)
                if events:
                    await _undisturbed(self._hand_over(events, deliver))

    def _connection(self, server: PrefectServer) -> connect:
        headers = dict(server.headers)
        return connect(
            server.websocket_url,
            subprotocols=[Subprotocol("prefect")],
            user_agent_header=headers.pop("user-agent", None),
            additional_headers=headers,
            ssl=server.ssl_context(),
            max_size=self._largest,
            close_timeout=2,
            # What the library logs includes our headers and the token.
            logger=logging.Logger("silent", logging.CRITICAL + 1),
        )

    async def _greet(self, socket: ClientConnection, server: PrefectServer) -> None:
        await socket.send(_text({"type": "auth", "token": server.token}))
        try:
            answer = decode(await socket.recv(decode=False), _MESSAGE, on_bad=self._on_bad)
        except ConnectionClosed as error:
            if error.rcvd and error.rcvd.code == 1008:
                raise Unauthorized(_REFUSED) from None
            raise
        if answer is None or answer.type != "auth_success":
            raise Unauthorized(_REFUSED)
        # Without an end ahead the server would keep back what is dated ahead.
        window = Window(iso(SINCE_EVER), iso(UNTIL_EVER), OLDEST_FIRST, self._prefixes)
        message = {"type": "filter", "filter": window.filter(), "backfill": False}
        await socket.send(_text(message))

    async def _batch(self, socket: ClientConnection) -> list[Event]:
        """The next message's event, and those that follow within a moment."""
        events = self._read(await socket.recv(decode=False))
        ends = self._monotonic() + _BATCH_SECONDS
        while len(events) < _BATCH and (left := ends - self._monotonic()) > 0:
            data = await _next(socket, left)
            if data is None:
                break
            events += self._read(data)
        return events

    def _read(self, data: bytes) -> list[Event]:
        self.last_message_ns = self._clock()
        self._backoff.reset()
        message = decode(data, _MESSAGE, on_bad=self._on_bad)
        if message is None or message.type != "event":
            return []
        event = decode_event(message.event, on_bad=self._on_bad)
        return [] if event is None else [event]

    async def _hand_over(self, events: list[Event], deliver: Deliver) -> None:
        try:
            await deliver(events)
            self._taking.over()
        except Exception as error:
            self._taking.failed(type(error).__name__)


async def _next(socket: ClientConnection, seconds: float) -> bytes | None:
    """What comes within SECONDS. Where it is closed, the next read says so; None until then."""
    try:
        return await asyncio.wait_for(socket.recv(decode=False), seconds)
    except (asyncio.TimeoutError, ConnectionClosed):
        return None


async def _until_stopped(work: Coroutine[Any, Any, None], stopped: asyncio.Future[Any]) -> None:
    """Do WORK; cancel it when STOPPED is done, or when this is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Do WORK to its end, even when this is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _text(message: Any) -> str:
    return msgspec.json.encode(message).decode()


def _why(error: Exception) -> str:
    """What is wrong, in words that hold no secret."""
    if isinstance(error, (Unauthorized, ConfigurationError)):
        return str(error)
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return _REFUSED if status in (401, 403) else f"the server answered {status}."
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd else error.sent.code if error.sent else "no code"
        return f"the connection was closed ({code})."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"{type(error).__name__}."
