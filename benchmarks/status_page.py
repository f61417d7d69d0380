"""What the overview of the status page costs, by the number of deployments.

Each has 30 ended runs with 20 statuses in the store. Shown are medians of CPU
time: reading the store, and writing the page of the first hundred, for the first
time and again. A browser that looks costs both, at most once a second.

Usage: python -m benchmarks.status_page [--rounds 7] [--deployments 50 100 500]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from prefect_otel_status.bridge import cards, recent
from prefect_otel_status.bridge.catalogue import Catalogue, Known
from prefect_otel_status.bridge.recent import KEPT, MOST_SAID, EndedRun, Said
from prefect_otel_status.bridge.store import Store, open_store
from prefect_otel_status.web import bars
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import Card, Query, overview_page

SECOND = 1_000_000_000
NOW = 1_795_514_400 * SECOND


class Cost(NamedTuple):
    """Milliseconds of CPU, and the length of the page."""

    read: float
    first: float
    again: float
    characters: int


def main() -> None:
    arguments = _arguments()
    print("deployments   read ms   first page ms   again ms   page kB")
    for number in arguments.deployments:
        cost = asyncio.run(measure(number, rounds=arguments.rounds))
        print(
            f"{number:11}{cost.read:10.1f}{cost.first:16.1f}{cost.again:11.1f}"
            f"{cost.characters / 1000:10.0f}"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the overview costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deployments", type=int, nargs="+", default=[50, 100, 500])
    return parser.parse_args()


async def measure(number: int, *, rounds: int) -> Cost:
    """The cost of an overview of NUMBER deployments."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(str(Path(folder) / "bridge.db"), now=0)
        try:
            return await _measure(store, await _filled(store, number), rounds)
        finally:
            await store.close()


async def _measure(store: Store, catalogue: Catalogue, rounds: int) -> Cost:
    def read(connection: Connection) -> list[Card]:
        return cards.cards(connection, catalogue, {})

    reads, firsts, agains = [], [], []
    page = ""
    for _ in range(rounds):
        began = time.process_time()
        found = await store.read(read)
        reads.append(1e3 * (time.process_time() - began))
        bars.small_bars.cache_clear()
        for times in (firsts, agains):
            took, page = _timed(lambda found=found: overview_page(found, Query(), Frame(now=NOW)))
            times.append(took)
    return Cost(*map(statistics.median, (reads, firsts, agains)), len(page))


def _timed(work: Callable[..., str]) -> tuple[float, str]:
    began = time.process_time()
    result = work()
    return 1e3 * (time.process_time() - began), result


async def _filled(store: Store, number: int) -> Catalogue:
    catalogue = Catalogue()
    for n in range(number):
        key: dict[str, Any] = {"flow": f"flow-{n}", "deployment": "prod", "environment": "live"}
        runs = list(_runs(n, key))

        def write(connection: Connection, runs: Sequence[EndedRun] = runs) -> None:
            recent.keep(connection, runs)

        await store.run(write)
        catalogue.adopt([Known(**key, last_result="success", said_at=NOW, message="Scored")])
    return catalogue


def _runs(number: int, key: dict[str, Any]) -> Iterator[EndedRun]:
    words = "Scored batch {} of the model bert: 93.4 %"
    said = tuple(Said(NOW + n, words.format(n), stage="evaluate") for n in range(MOST_SAID))
    for n in range(KEPT):
        started = NOW - n * 60 * SECOND
        yield EndedRun(
            id=f"{number:08x}-0000-4000-8000-{n:012x}",
            name=f"wise-owl-{n}",
            started=started,
            ended=started + (n + 1) * SECOND,
            result="failure" if n % 7 == 3 else "success",
            said=said,
            **key,
        )


if __name__ == "__main__":
    main()
