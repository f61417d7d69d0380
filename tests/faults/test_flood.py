"""A flood of events, as fast as they can be taken: what the bridge holds of them does not grow."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bridge_throughput import BATCH, made_events
from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.decoding import decode_event
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.ingest import WEBSOCKET
from prefect_otel_status.bridge.ledger import count_unsettled
from prefect_otel_status.bridge.outbox import depth
from prefect_otel_status.bridge.settle import Settler
from tests.support.core import a_core, cleaning, parser_of

RATE = 10_000
"""Events of a round."""

ROUNDS = int(os.environ.get("FLOOD_ROUNDS", "8"))
RUNS_AT_ONCE = 40
"""Runs whose events come together; then others begin."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(ROUNDS * 10 + 120)]


class Forgetful:
    """A server that no longer knows any run: all is drawn from the events that came."""

    async def _none(self, *_: Any, **__: Any) -> list[Any]:
        return []

    runs_by_id = task_runs_by_id = task_runs_of = flow_states = task_states = deployments = _none

    async def flow_names(self, ids: Any) -> dict[str, str]:
        return {}

    async def events_of(
        self, run_ids: Sequence[str], *, kind: str = ""
    ) -> AsyncIterator[tuple[list[wire.Event], int]]:
        yield [], 0


class Flood:
    """Events of ever new runs, taken in and settled as they come."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.taken = 0
        self._parser = parser_of(core)
        api: Any = Forgetful()
        self._settler = Settler(
            core,
            api,
            Describer(api, cleaning()),
            self._parser,
            sampled=lambda trace_id: True,
            url_of=lambda kind, run_id: None,
        )

    async def round(self) -> None:
        """A round of events, and the settlement of what has ended by then."""
        taken = 0
        while taken < RATE:
            events = made_events(RUNS_AT_ONCE)
            for start in range(0, len(events), BATCH):
                await self._take(events[start : start + BATCH])
            taken += len(events)
            while await self._settler.settle_due():
                pass
            await self._export()
        self.taken += taken

    async def _take(self, raw: list[bytes]) -> None:
        events = [decode_event(data, on_bad=self.core.bad) for data in raw]
        found = [o for event in events if event for o in self._parser.event(event)]
        await self.core.ingest(found, path=WEBSOCKET)

    async def _export(self) -> None:
        """The receiver confirms all at once."""
        from prefect_otel_status.bridge.tables import outbox

        await self.core.commit(lambda connection: connection.execute(outbox.delete()))


def resident() -> float:
    """Megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.fault(33)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_a_flood_of_events_leaves_memory_flat(tmp_path: Path, record_property: Any) -> None:
    asyncio.run(_flood(tmp_path, record_property))


async def _flood(folder: Path, record_property: Any) -> None:
    held: list[float] = []
    async with a_core(folder) as core:
        flood = Flood(core)
        began, cpu = time.monotonic(), time.process_time()
        for number in range(ROUNDS):
            await flood.round()
            held.append(resident())
            if number % 30 == 29:
                print(f"{flood.taken:,} events, {held[-1]:.0f} MB", flush=True)
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        assert await core.store.read(count_unsettled) == 0
        assert (await core.store.read(depth)).items == 0
    # What is warm after a quarter of the time stays as it is.
    warm, end = max(held[: max(3, ROUNDS // 4)]), max(held[-3:])
    assert end < warm * 1.15, held
    record_property(
        "seen",
        f"{flood.taken:,} events in {took:.0f} s, {cpu:.0f} s of CPU; "
        f"{warm:.0f} MB once warm, {end:.0f} MB at the end",
    )
