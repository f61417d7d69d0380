"""What pages are made from is read once for many readers, and never all the time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from prefect_otel_status.bridge.daemon import Bridge
from prefect_otel_status.bridge.page_source import FRESH, SHARE, PageSource
from prefect_otel_status.bridge.run_view import RunView
from prefect_otel_status.web.overview import Card


class SlowBridge:
    """Has another card each time, and takes `takes` seconds to say so."""

    def __init__(self, *, takes: float = 0.0) -> None:
        self.now = 100.0
        self._takes = takes
        self._times = 0

    async def cards(self) -> list[Card]:
        self.now += self._takes
        self._times += 1
        await asyncio.sleep(0)
        return [Card(f"flow-{self._times}")]


def source_of(bridge: SlowBridge) -> PageSource:
    runs: Any = None
    return PageSource(cast(Bridge, bridge), cast(RunView, runs), monotonic=lambda: bridge.now)


async def test_many_who_ask_at_once_are_answered_from_one_reading() -> None:
    source = source_of(SlowBridge())
    found = await asyncio.gather(*(source.cards() for _ in range(10)))
    assert found == [[Card("flow-1")]] * 10


async def test_it_is_read_anew_once_it_is_old() -> None:
    bridge = SlowBridge()
    source = source_of(bridge)
    assert await source.cards() == [Card("flow-1")]
    bridge.now += FRESH - 0.01
    assert await source.cards() == [Card("flow-1")]
    bridge.now += 0.01
    assert await source.cards() == [Card("flow-2")]


async def test_what_takes_long_to_read_is_read_less_often() -> None:
    bridge = SlowBridge(takes=0.5)
    source = source_of(bridge)
    await source.cards()
    bridge.now += SHARE * 0.5 - 0.01
    assert await source.cards() == [Card("flow-1")]
    bridge.now += 0.01
    assert await source.cards() == [Card("flow-2")]
