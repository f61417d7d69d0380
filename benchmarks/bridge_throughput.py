"""How many events a second the bridge takes in on one core: decode, parse, project, commit.

`python -m benchmarks.bridge_throughput [--runs 400] [--rounds 7]`. The events are those of a
recorded run of a real server, under new ids; the store is SQLite on this disk, with every
commit synced. Beside it, in the same rounds: what a stock subscriber does with each event,
which is to validate it, and nothing more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from prefect.events import Event as PrefectEvent

from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.collection import keep_what_is_loaded
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.decoding import decode_event
from prefect_otel_status.bridge.lease import Lease, this_process
from prefect_otel_status.bridge.options import Options
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.store import open_store
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally
from tests.support.histories import load

BATCH = 500
"""Events of one delivery, as the listener batches them."""

TEMPLATE = "success.plain"


def made_events(runs: int) -> list[bytes]:
    """The events of RUNS runs, each like the recorded one, under ids of their own."""
    recorded = load(TEMPLATE)
    text = json.dumps(recorded.events)
    ids = {run["id"] for run in recorded.flow_runs} | {task["id"] for task in recorded.task_runs}
    ids |= {event["id"] for event in recorded.events}
    found: list[bytes] = []
    for _ in range(runs):
        copy = text
        for known in ids:
            copy = copy.replace(known, str(uuid4()))
        found += [json.dumps(event).encode() for event in json.loads(copy)]
    return found


async def ours(events: list[bytes]) -> float:
    """Seconds of CPU and waiting that the bridge takes for EVENTS, through the commit."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(str(Path(folder) / "bridge.db"), now=1)
        lease = Lease(this_process("bench"), seconds=10, clock=time.monotonic)
        core = Core(store, lease, Options(), clock=time.time_ns, tally=Tally())
        await store.run(lease.try_take)
        await core.load()
        parser = Parser(Cleaning(Settings(), tally=Tally()), on_bad=core.bad)
        began = time.perf_counter()
        for start in range(0, len(events), BATCH):
            decoded = [decode_event(raw, on_bad=core.bad) for raw in events[start : start + BATCH]]
            found = [o for event in decoded if event for o in parser.event(event)]
            await core.ingest(found, path="websocket")
        taken = time.perf_counter() - began
        await store.close()
    return taken


def stock(events: list[bytes]) -> float:
    """Seconds that validating EVENTS takes, as Prefect's own subscriber does."""
    began = time.perf_counter()
    for raw in events:
        PrefectEvent.model_validate_json(raw)
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    events = made_events(chosen.runs)
    keep_what_is_loaded()  # as the command does; the other side gains from it too
    rates: dict[str, list[float]] = {"bridge, through the commit": [], "stock, parse only": []}
    for _ in range(chosen.rounds):
        rates["bridge, through the commit"].append(len(events) / asyncio.run(ours(events)))
        rates["stock, parse only"].append(len(events) / stock(events))
    print(f"{len(events)} events, {chosen.rounds} rounds, events a second")
    for name, found in rates.items():
        low, middle, high = statistics.quantiles(found, n=4)
        print(f"{name:30} {middle:9,.0f}   quartiles {low:,.0f} to {high:,.0f}")


if __name__ == "__main__":
    main()
