"""What a scrape of 10,000 series costs, against `prometheus_client`, in one run, in turns.

Both show the same counters in OpenMetrics; before each round one series in a
hundred goes up. Shown are medians of the CPU time of the rounds, and their ratio.

Usage: python -m benchmarks.metrics_cost [--rounds 15] [--series 10000]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.exposition import generate_latest

from prefect_otel_status import signals
from prefect_otel_status.bridge.exposition import Exposition
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.series import SeriesTable

METRIC = signals.MESSAGES


class Side(NamedTuple):
    """One that is measured: `step` makes a series go up, `render` is what a scrape costs."""

    step: Callable[[tuple[str, ...]], None]
    render: Callable[[], bytes]


def main() -> None:
    arguments = _arguments()
    labels = [
        (f"flow-{n % 50}", "prod", "live", f"stage-{n % 20}", "info", f"Template {n}")
        for n in range(arguments.series)
    ]
    sides = ours(labels), theirs(labels)
    same = [sorted(_samples(side.render())) for side in sides]
    assert same[0] == same[1]
    own, other = measure(sides, labels, rounds=arguments.rounds)
    print(f"{len(labels)} series, medians of {arguments.rounds} rounds, ms of CPU a scrape:")
    print(f"prometheus_client {other:.1f}   ours {own:.1f}   ratio {other / own:.1f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a scrape costs.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--series", type=int, default=10_000)
    return parser.parse_args()


def ours(labels: list[tuple[str, ...]]) -> Side:
    """The bridge's table, all series released."""
    table = SeriesTable(scrape_interval=0, label_budget=len(labels))
    exposition = Exposition()
    table.adopt(table.stage([Step(METRIC.name, values) for values in labels], now=0))
    table.note_scrape(0)
    table.adopt(table.due_releases(0))

    def step(values: tuple[str, ...]) -> None:
        table.adopt(table.stage([Step(METRIC.name, values)], now=0))

    return Side(step, lambda: exposition.render(table.families(), openmetrics=True))


def theirs(labels: list[tuple[str, ...]]) -> Side:
    """A counter of `prometheus_client`."""
    registry = CollectorRegistry()
    name = METRIC.prometheus_name
    counter = Counter(name, METRIC.description, METRIC.label_names, registry=registry)
    for values in labels:
        counter.labels(*values).inc()
    return Side(lambda values: counter.labels(*values).inc(), lambda: generate_latest(registry))


def _samples(text: bytes) -> list[tuple[tuple[str, ...], float]]:
    """The samples of TEXT: labels in order, and the value; without the times of creation."""
    lines = [line for line in text.decode().splitlines() if "_total{" in line]
    split = [line.split("{", 1)[1].rsplit("} ", 1) for line in lines]
    return [(tuple(sorted(labels.split(","))), float(value)) for labels, value in split]


def measure(
    sides: tuple[Side, Side], labels: list[tuple[str, ...]], *, rounds: int
) -> tuple[float, float]:
    """Median milliseconds of each side, in turns."""
    costs: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side, cost in zip(sides, costs, strict=True):
            for values in labels[number % 100 :: 100]:
                side.step(values)
            start = time.process_time()
            side.render()
            cost.append(1e3 * (time.process_time() - start))
    return statistics.median(costs[0]), statistics.median(costs[1])


if __name__ == "__main__":
    main()
