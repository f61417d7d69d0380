"""Memory for a run that goes on: the bridge's, against a live span of the SDK.

`python -m benchmarks.memory_cost [--runs 4000]`. Bytes of Python objects, by tracemalloc, once all
runs have begun; what the bridge knows of a run is in its store.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import uuid4

from opentelemetry.sdk.trace import TracerProvider

from prefect_otel_status.bridge.ingest import WEBSOCKET
from prefect_otel_status.bridge.ledger import active_rows
from prefect_otel_status.bridge.records import Observation, StateFact, StatusFact
from tests.support.core import a_core

NOW = 1_795_514_400 * 10**9


def held() -> int:
    """Bytes that are traced now."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def bridge(runs: int) -> float:
    """Bytes a run in a bridge."""
    with tempfile.TemporaryDirectory() as folder:
        async with a_core(Path(folder)) as core:
            await _begin(core, 100)
            before = held()
            await _begin(core, runs)
            after = held()
            count = len(await core.store.read(active_rows))
            assert count == runs + 100, count
            return (after - before) / runs


async def _begin(core: Any, runs: int) -> None:
    for start in range(0, runs, 100):
        found: list[Observation] = []
        for _ in range(min(100, runs - start)):
            run_id = str(uuid4())
            names = (f"flow-{start % 20}", "prod", "wise-owl")
            for number, kind in enumerate(("PENDING", "RUNNING")):
                state = StateFact(str(uuid4()), kind, kind.title(), NOW + number)
                found.append(Observation(run_id, run_id, state, *names))
            said = StatusFact(NOW + 2, "Working", "Working", stage="fit", sequence=1)
            found.append(Observation(run_id, run_id, said, *names))
        await core.ingest(found, path=WEBSOCKET)


def sdk(runs: int) -> float:
    """Bytes a live span of the SDK, with two events of states and one status."""
    tracer = TracerProvider().get_tracer("bench")
    before = held()
    spans = []
    for _ in range(runs):
        span = tracer.start_span("RUN flow", attributes={"cicd.pipeline.run.id": str(uuid4())})
        for name in ("Pending", "Running", "Working"):
            span.add_event(name, {"prefect.state.name": name, "prefect.state.id": str(uuid4())})
        spans.append(span)
    found = (held() - before) / len(spans)
    for span in spans:
        span.end()
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=4000)
    runs = parser.parse_args().runs
    tracemalloc.start()
    ours, theirs = asyncio.run(bridge(runs)), sdk(runs)
    print(f"Bytes of memory for a run that goes on, of {runs}")
    print(f"  a live span of the SDK   {theirs:8,.0f}")
    print(f"  the bridge               {ours:8,.0f}")


if __name__ == "__main__":
    main()
