"""The page of a run: read once for many, and what is said of a death."""

from __future__ import annotations

import asyncio

from prefect_otel_status.bridge.reading import Trace
from prefect_otel_status.bridge.recent import EndedRun
from prefect_otel_status.bridge.run_view import FRESH, RunView
from prefect_otel_status.web.frame import Frame
from tests.support.replay import trace_of

FRAME = Frame(now=10**18)


class Traces:
    """Counts how often it is asked."""

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.asked = 0

    async def read(self, run_id: str) -> Trace | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self.trace


async def none(run_id: str) -> EndedRun | None:
    return None


def view(traces: Traces, now: list[float]) -> RunView:
    return RunView(traces, none, links=lambda run: {}, monotonic=lambda: now[0])


def test_many_readers_are_one_read_until_it_is_old() -> None:
    traces, now = Traces(trace_of("success.ours")), [0.0]

    async def look() -> None:
        runs = view(traces, now)
        pages = await asyncio.gather(*(runs.page("a", FRAME) for _ in range(5)))
        assert len(set(pages)) == 1
        assert traces.asked == 1
        now[0] += FRESH + 1
        await runs.page("a", FRAME)
        assert traces.asked == 2
        for number in range(100):  # the oldest are let go
            await runs.page(f"{number}", FRAME)
        assert len(runs._read) == 32

    asyncio.run(look())


def test_a_run_that_nobody_knows_has_no_page() -> None:
    assert asyncio.run(view(Traces(None), [0.0]).page("a", FRAME)) is None


def page_of(name: str, *, after: float = 1.0) -> str:
    found = asyncio.run(view(Traces(trace_of(name, after=after)), [0.0]).page("a", FRAME))
    assert found is not None
    return found


def test_a_killed_run_says_where_it_died_and_what_it_last_said() -> None:
    killed = page_of("killed_served.ours")
    assert "Its process was killed. What it did after its last words is not known." in killed
    assert "<p>About to be killed</p>" in killed
    silent = page_of("killed_by_hand.ours", after=3600)
    assert "Its heartbeats stopped, and nobody reported its end" in silent
    alive = page_of("killed_by_hand.ours")
    assert "banner" not in alive
    assert "So far" in alive
