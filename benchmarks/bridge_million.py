"""A million distinct templates into the bridge's counters: series, totals, time of a scrape.

`python -m benchmarks.bridge_million [--values 1000000]`. Through the store, in batches, as if a
flow put ids into its templates.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from prefect_otel_status import signals
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.exposition import Exposition
from prefect_otel_status.bridge.lease import Lease, this_process
from prefect_otel_status.bridge.options import Options
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.store import open_store
from prefect_otel_status.bridge.values import Buckets
from prefect_otel_status.tally import Tally

BATCH = 10_000
SERIES = ("deploy", "prod", "prod", "evaluate", "info")


async def measure(values: int) -> str:
    """What came of VALUES distinct templates, in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(str(Path(folder) / "bridge.db"), now=1)
        lease = Lease(this_process("bench"), seconds=10, clock=time.monotonic)
        core = Core(store, lease, Options(scrape_interval=0.001), clock=time.time_ns, tally=Tally())
        await store.run(lease.try_take)
        await core.load()
        began = time.perf_counter()
        for start in range(0, values, BATCH):
            numbers = range(start, min(start + BATCH, values))
            steps = [Step(signals.MESSAGES.name, (*SERIES, f"Row {n}")) for n in numbers]
            await core.commit(lambda connection: None, steps)
        taken = time.perf_counter() - began
        found = await _scrape(core)
        await store.close()
    return f"{values:,} distinct templates in {taken:.1f} s: {found}"


async def _scrape(core: Core) -> str:
    core.series.note_scrape(1)
    await core.release(10**12)
    began = time.perf_counter()
    body = Exposition().render(core.series.families(), openmetrics=True)
    taken = time.perf_counter() - began
    (family,) = [f for f in core.series.families() if f.metric is signals.MESSAGES]
    shown = [value for _, value in family.samples if not isinstance(value, Buckets)]
    parsed = sum(1 for _ in text_string_to_metric_families(body.decode()))
    return (
        f"{len(shown)} series, {sum(shown):,.0f} counted, "
        f"a scrape of {len(body):,} bytes in {1000 * taken:.1f} ms, {parsed} families parsed"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", type=int, default=1_000_000)
    print(asyncio.run(measure(parser.parse_args().values)))
