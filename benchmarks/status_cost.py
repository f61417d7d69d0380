"""What one `status()` costs, against the same five calls by hand, in one run, in turns.

By hand: an event on the current span, an OpenTelemetry counter, a counter of
`prometheus_client`, an event of Prefect, a line in Prefect's run log. Ours does
all of that and a log event. Both speak to a real Prefect server and use the
same providers. Shown are medians over the rounds, and their ratio: CPU of the
calling thread, CPU of the whole process until everything is passed on, and the
99th percentile of the wall time of a call.

Usage: python -m benchmarks.status_cost [--rounds 7] [--calls 400]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.server import environment, prefect_server

TEMPLATE = "Scored {model}: {accuracy:.1%}"


class Cost(NamedTuple):
    """Microseconds for one call."""

    thread: float
    process: float
    p99: float


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with prefect_server(home) as api:
            os.environ.update(environment(home, PREFECT_API_URL=api))
            os.environ.update(
                PREFECT_OTEL_STATUS_FOLDER=str(home / "telemetry"),
                PREFECT_OTEL_STATUS_PROMETHEUS="true",
                PREFECT_LOGGING_LEVEL="INFO",
            )
            report(*measure(rounds=arguments.rounds, calls=arguments.calls))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What one status() costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=400)
    return parser.parse_args()


def measure(*, rounds: int, calls: int) -> tuple[list[Cost], list[Cost]]:
    """The costs of each round: by hand, and ours; in turns, after one round that is not counted."""
    from prefect import flow

    from prefect_otel_status import flow_hooks

    by_hand: list[Cost] = []
    ours: list[Cost] = []

    @flow(**flow_hooks())
    def benchmark() -> None:
        hand = calls_by_hand()
        for number in range(rounds + 1):
            first, second = one_round(hand, calls, drain_prefect), one_round(say, calls, drain)
            if number:
                by_hand.append(first)
                ours.append(second)
        drain()

    with nothing_shown():
        benchmark()
    return by_hand, ours


@contextmanager
def nothing_shown() -> Iterator[None]:
    """Send the console's lines to nowhere: writing them is part of the cost, not of the report."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def one_round(call: Callable[[], object], calls: int, drained: Callable[[], object]) -> Cost:
    """The cost of CALL, made CALLS times in a row."""
    walls = []
    drained()
    process, thread = time.process_time(), time.thread_time()
    for _ in range(calls):
        start = time.perf_counter()
        call()
        walls.append(time.perf_counter() - start)
    thread = time.thread_time() - thread
    drained()
    process = time.process_time() - process
    per_call = 1e6 / calls
    p99 = statistics.quantiles(walls, n=100)[98]
    return Cost(thread * per_call, process * per_call, 1e6 * p99)


def say() -> None:
    """Ours."""
    from prefect_otel_status import status

    status(TEMPLATE, model="bert", accuracy=0.93)


def calls_by_hand() -> Callable[[], None]:
    """The same by hand, with the instruments made beforehand as one would."""
    from opentelemetry import metrics, trace
    from prefect import get_run_logger
    from prefect.events import emit_event
    from prefect.runtime import flow_run
    from prometheus_client import Counter

    meter = metrics.get_meter("benchmark").create_counter("messages")
    counter = Counter("benchmark_messages", "Messages", ["template"])
    run_id = flow_run.id

    def call() -> None:
        message = TEMPLATE.format(model="bert", accuracy=0.93)
        attributes = {"model": "bert", "accuracy": 0.93, "message": message}
        trace.get_current_span().add_event(TEMPLATE, attributes)
        meter.add(1, {"template": TEMPLATE})
        counter.labels(TEMPLATE).inc()
        emit_event(
            "benchmark.status",
            resource={"prefect.resource.id": f"prefect.flow-run.{run_id}"},
            payload=attributes,
        )
        get_run_logger().info(message)

    return call


def drain() -> None:
    """Wait until all of ours has been passed on."""
    from prefect_otel_status import flush

    flush(30)
    drain_prefect()


def drain_prefect() -> None:
    """Wait until Prefect's own queues are empty, for at most ten seconds."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    deadline = time.monotonic() + 10
    for worker in (EventsWorker.instance(), APILogWorker.instance()):
        while not worker._queue.empty() and time.monotonic() < deadline:
            time.sleep(0.02)
    time.sleep(0.5)  # what has left the queues is still being sent


def report(by_hand: list[Cost], ours: list[Cost]) -> None:
    """Print the medians and their ratios."""
    print(f"{'microseconds a call, medians of ' + str(len(ours)) + ' rounds':<44}"
          f"{'by hand':>10}{'status()':>10}{'ratio':>8}")  # fmt: skip
    for name, title in (
        ("thread", "CPU of the calling thread"),
        ("process", "CPU of the whole process"),
        ("p99", "wall time, 99th percentile"),
    ):
        hand = statistics.median(getattr(cost, name) for cost in by_hand)
        own = statistics.median(getattr(cost, name) for cost in ours)
        print(f"{title:<44}{hand:>10.1f}{own:>10.1f}{hand / own:>7.1f}x")


if __name__ == "__main__":
    main()
