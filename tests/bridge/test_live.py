"""Server-sent events: one for each change, a heartbeat while nothing does, an end when told."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from prefect_otel_status.bridge.live import HEARTBEAT, Live

REQUEST = Request({"type": "http", "method": "GET", "path": "/live", "headers": []})


class World:
    """Changes at the looks that are told, and closes at the last."""

    def __init__(self, *, changes: set[int], looks: int) -> None:
        self.version = 7
        self.looks = 0
        self._changes = changes
        self._last = looks
        self.live = Live(lambda: self.version, most=2, pause=self.pass_by)

    async def pass_by(self, seconds: float) -> None:
        assert seconds == 1.0
        self.looks += 1
        self.version += self.looks in self._changes
        if self.looks >= self._last:
            self.live.close()


async def told(answer: Any) -> list[str]:
    return [part async for part in answer.body_iterator]


async def test_each_change_is_told_once() -> None:
    answer: Any = await World(changes={2, 3}, looks=5).live(REQUEST)
    assert answer.media_type == "text/event-stream"
    assert await told(answer) == ["retry: 3000\n: hello\n\n", "data: 8\n\n", "data: 9\n\n"]


async def test_while_nothing_changes_there_is_a_heartbeat() -> None:
    answer = await World(changes=set(), looks=2 * HEARTBEAT).live(REQUEST)
    assert (await told(answer))[1:] == [": still here\n\n"] * 2


class Browser:
    """Asks for the stream, and leaves when it is told to."""

    def __init__(self, live: Live) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._leaves = asyncio.Event()
        self._task = asyncio.create_task(self._ask(live))

    async def _ask(self, live: Live) -> None:
        answer = await live(REQUEST)
        await answer({"type": "http"}, self._receive, self._send)

    async def _receive(self) -> Message:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status.set_result(message["status"])

    async def leave(self) -> None:
        self._leaves.set()
        await self._task


async def test_too_many_are_sent_away_until_one_leaves() -> None:
    live = Live(lambda: 0, most=2)
    crowd = [Browser(live) for _ in range(5)]  # all at once
    assert [await browser.status for browser in crowd] == [200, 200, 503, 503, 503]
    await crowd[0].leave()
    late = Browser(live)
    assert await late.status == 200
    assert await Browser(live).status == 503
    live.close()
    for browser in (*crowd[1:], late):
        await browser.leave()
    assert live.listeners == 0


async def test_a_wait_ends_at_once_when_it_is_closed() -> None:
    live = Live(lambda: 0)
    answer: Any = await live(REQUEST)
    stream = answer.body_iterator
    await stream.__anext__()
    live.close()
    assert [part async for part in stream] == []
