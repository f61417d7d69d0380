"""Panels that stand on more than one dashboard."""

from __future__ import annotations

from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import meanings, panels, queries, ways
from prefect_otel_status.monitoring.dashboards.panels import Line, Look, Words
from prefect_otel_status.monitoring.dashboards.queries import (
    OF_RUN,
    WINDOW,
    by,
    quantile,
    series,
    top,
)
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import labels

OF_DEPLOYMENT = (
    f"{{{{{signals.PIPELINE_NAME.label}}}}}/{{{{{signals.DEPLOYMENT.label}}}}}"
    f" {{{{{signals.ENVIRONMENT.label}}}}}"
)
"""A legend: flow, deployment and environment."""

PAIR = labels(*OF_RUN)
"""What names a deployment, for `on (...)`."""

SHARES = {0.5: "Half", 0.95: "95 %"}
"""Quantiles in words."""

SHOWN = 10
"""As many deployments have a line of their own."""


def run_duration(links: Links, q: float) -> Any:
    """The quantile Q of the durations of runs, of the slowest deployments."""
    words = Words(
        f"Run duration, p{q * 100:g}",
        f"{SHARES[q]} of the runs within the window took at most this long; the {SHOWN} "
        "slowest deployments. Each dot is a run: click on it for its trace. When a curve jumps, "
        "compare the trace of a run before with one after: its stages show where the time goes.",
    )

    def query(at: str) -> str:
        return quantile(q, signals.RUN_DURATION, *OF_RUN, window=WINDOW, at=at)

    line = Line(top(SHOWN, query, *OF_RUN), OF_DEPLOYMENT)
    return panels.over_window(
        words, Look("s", low=0), line, exemplars=True, ways=ways.to_traces(links, ways.LINE)
    )


def queue_wait(links: Links) -> Any:
    """The p95 of the time that runs waited, of the deployments that wait longest."""
    words = Words(
        "Queue wait, p95",
        "Time between the expected and the actual start of runs; 95 % waited at most this long; "
        f"the {SHOWN} deployments that wait longest. Each dot is a run: click on it for its trace. "
        "When it is red, runs wait for a worker or for a concurrency limit: see the dashboard of "
        "workers and queues.",
    )

    def query(at: str) -> str:
        return quantile(0.95, signals.QUEUE_DURATION, *OF_RUN, window=WINDOW, at=at)

    look = Look("s", meanings.WAIT, low=0)
    line = Line(top(SHOWN, query, *OF_RUN), OF_DEPLOYMENT)
    return panels.over_window(
        words, look, line, exemplars=True, ways=ways.to_traces(links, ways.LINE)
    )


def active_by_state() -> Any:
    """All active runs, stacked by where they are."""
    words = Words(
        "Active runs by state",
        "Runs that have not ended: `pending` waits for its time, a worker, a limit or an approval; "
        "`executing` runs; `finalizing` is being cancelled. When `pending` grows and `executing` "
        "does not, workers are missing or full.",
    )
    line = Line(
        by("sum", series(signals.RUN_ACTIVE), signals.RUN_STATE),
        f"{{{{{signals.RUN_STATE.label}}}}}",
    )
    return panels.stacked(words, Look("short", low=0, decimals=0), line)


def late_runs(links: Links) -> Any:
    """Late runs of the deployments that have most of them."""
    words = Words(
        "Late runs by deployment",
        "Runs that should have started and have not; "
        f"the {SHOWN} deployments with most of them. When it is red, look whether the work pool "
        "of the deployment has a worker, and whether a concurrency limit holds its runs.",
    )

    def query(at: str) -> str:
        return by("max", series(signals.RUNS_LATE) + at, *OF_RUN)

    line = Line(top(SHOWN, query, *OF_RUN), OF_DEPLOYMENT)
    look = Look("short", meanings.ANY, low=0, decimals=0)
    return panels.curves(words, look, line, ways=ways.of_deployment(links, ways.LINE, here=""))


def silence(links: Links) -> Any:
    """For how long the active runs of each deployment have said nothing."""
    words = Words(
        "Silence of active runs",
        "Time since the last status of a deployment's active runs, of the most silent of them; "
        f"the {SHOWN} most silent deployments. Empty while nothing runs. When it is red, the run "
        "may hang: its last words are on the status page, and its trace shows the open stage. A "
        "stage that is always this long needs `track` or a status within.",
    )
    look = Look("s", meanings.SILENCE, low=0)
    line = Line(top(SHOWN, queries.silence, *OF_RUN), OF_DEPLOYMENT)
    return panels.curves(words, look, line, ways=ways.of_deployment(links, ways.LINE, here=""))
