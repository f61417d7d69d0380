"""Workers and queues: who takes the runs, and how long they wait."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import (
    meanings,
    panels,
    shared,
    uids,
    variables,
    ways,
)
from prefect_otel_status.monitoring.dashboards.frame import Frame, Placed, Row, dashboard
from prefect_otel_status.monitoring.dashboards.panels import Line, Look, Words
from prefect_otel_status.monitoring.dashboards.queries import OF_RUN, RANGE, by, quantile, series
from prefect_otel_status.monitoring.dashboards.tables import (
    Column,
    Label,
    Value,
    of_deployments,
    table_of,
)
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import equals

POOL = signals.WORK_POOL


def workers(links: Links) -> model.Dashboard:
    """The dashboard."""
    frame = Frame(
        uids.WORKERS,
        "Prefect: workers and queues",
        "Which work pools have workers, which runs wait for one, and for how long.",
        variables.usual(variables.Choice()),
    )
    numbers = [available(), offline(), unserved(), waiting(), late()]
    widths = (5, 5, 5, 5, 4)
    rows = [
        Row(
            "Workers",
            [
                *(Placed(panel, width, 4) for panel, width in zip(numbers, widths, strict=True)),
                Placed(pools(), 12, 9),
                Placed(over_time(), 12, 9),
            ],
        ),
        Row(
            "Queues",
            [
                Placed(shared.active_by_state(), 8, 9),
                Placed(shared.late_runs(links), 8, 9),
                Placed(shared.queue_wait(links), 8, 9),
                Placed(queues(links), 24, 10),
            ],
        ),
    ]
    return dashboard(frame, rows)


def _workers(state: str) -> str:
    return series(signals.WORKER_COUNT, equals(signals.WORKER_STATE, state))


# --- workers -------------------------------------------------------------------
def available() -> Any:
    """Workers that can take runs."""
    words = Words(
        "Workers available",
        "Workers whose heartbeats come, in all work pools. A flow that is served by its own "
        "process, with `serve()`, has none. When it falls, see which pool below.",
    )
    return panels.number(words, Look("short", decimals=0), f"sum({_workers('available')})")


def offline() -> Any:
    """Workers whose heartbeats stopped."""
    words = Words(
        "Workers offline",
        "Workers that Prefect knows and whose heartbeats stopped. When it is red, see whether they "
        "were stopped on purpose; a worker that is gone for good can be deleted in Prefect.",
    )
    look = Look("short", meanings.ANY, decimals=0)
    return panels.number(words, look, f"sum({_workers('offline')})")


def unserved() -> Any:
    """Work pools that nobody serves."""
    words = Words(
        "Work pools without a worker",
        "Work pools of which no worker is available. A push pool, which needs none, counts too. "
        "When it is red, start a worker: `prefect worker start --pool NAME`.",
    )
    idle = by("sum", _workers("available"), POOL)
    look = Look("short", meanings.ANY, decimals=0)
    return panels.number(words, look, f"sum({idle} == bool 0)")


def waiting() -> Any:
    """Runs that wait."""
    words = Words(
        "Runs that wait",
        "Runs that are late, pending or paused: for a worker, a limit or an approval. When it "
        "grows while workers are available, look at concurrency limits.",
    )
    pending = series(signals.RUN_ACTIVE, equals(signals.RUN_STATE, "pending"))
    return panels.number(words, Look("short", decimals=0), f"sum({pending})")


def late() -> Any:
    """Runs that are late."""
    words = Words(
        "Late runs",
        "Runs that should have started and have not. When it is red, see the late runs by "
        "deployment below, and whether their work pool has a worker.",
    )
    look = Look("short", meanings.ANY, decimals=0)
    return panels.number(words, look, f"sum({series(signals.RUNS_LATE)})")


def pools() -> Any:
    """A row for each work pool."""
    words = Words(
        "Work pools",
        "Each work pool's workers by state. When a pool is red it has none available: start one "
        "with `prefect worker start --pool NAME`.",
    )
    columns: list[Column] = [
        Label(POOL, "Work pool"),
        Value(
            by("sum", _workers("available"), POOL),
            "Available",
            "short",
            {-1: panels.RED, 1: panels.GREEN},
            decimals=0,
        ),
        Value(by("sum", _workers("offline"), POOL), "Offline", "short", {1: panels.ORANGE}),
    ]
    return table_of(words, columns, sort="Available", descending=False)


def over_time() -> Any:
    """Workers by state over time."""
    words = Words(
        "Workers by state",
        "All workers by state over time. Where `available` falls and `offline` rises, workers were "
        "lost and not stopped; where both fall, somebody deleted them.",
    )
    line = Line(
        by("sum", series(signals.WORKER_COUNT), signals.WORKER_STATE),
        f"{{{{{signals.WORKER_STATE.label}}}}}",
    )
    return panels.stacked(words, Look("short", low=0, decimals=0), line)


# --- queues --------------------------------------------------------------------
def queues(links: Links) -> Any:
    """A row for each deployment: what waits, and for how long."""
    words = Words(
        "Queues by deployment",
        "Each deployment's runs that wait and that run, and how long its runs waited within the "
        "shown time. When the wait is red and workers are available, a concurrency limit of the "
        "deployment, its work queue or its tags holds the runs.",
    )
    columns = [
        *of_deployments(ways.of_deployment(links, ways.ROW, here="")),
        Value(_active("pending"), "Waiting", "short", decimals=0),
        Value(by("sum", series(signals.RUNS_LATE), *OF_RUN), "Late", "short", meanings.ANY),
        Value(_active("executing"), "Running", "short", decimals=0),
        Value(_wait(0.5), "Wait p50", "s", meanings.WAIT),
        Value(_wait(0.95), "Wait p95", "s", meanings.WAIT),
    ]
    return table_of(words, columns, sort="Wait p95")


def _active(state: str) -> str:
    return by("sum", series(signals.RUN_ACTIVE, equals(signals.RUN_STATE, state)), *OF_RUN)


def _wait(q: float) -> str:
    return quantile(q, signals.QUEUE_DURATION, *OF_RUN, window=RANGE)
