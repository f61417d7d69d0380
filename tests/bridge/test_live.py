"""Server-sent events: one for each change, a heartbeat while nothing does, an end when told."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

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


async def test_too_many_are_sent_away_until_one_leaves() -> None:
    live = World(changes=set(), looks=99).live
    streams: list[Any] = [(await live(REQUEST)).body_iterator for _ in range(2)]  # type: ignore[attr-defined]
    for stream in streams:
        await stream.__anext__()
    assert (await live(REQUEST)).status_code == 503
    await streams[0].aclose()
    assert (await live(REQUEST)).status_code == 200


async def test_a_wait_ends_at_once_when_it_is_closed() -> None:
    live = Live(lambda: 0)
    answer: Any = await live(REQUEST)
    stream = answer.body_iterator
    await stream.__anext__()
    live.close()
    assert [part async for part in stream] == []
