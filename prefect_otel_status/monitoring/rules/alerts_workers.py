"""Alerts about workers."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals
from prefect_otel_status.monitoring.rules.expressions import latest, max_by
from prefect_otel_status.monitoring.rules.rule import Alert, Group
from prefect_otel_status.monitoring.rules.templates import COUNT, value_of
from prefect_otel_status.signals import WORK_POOL, WORKER_COUNT, WORKER_STATE


def worker_alerts() -> Group:
    """The alerts."""
    return Group("prefect-worker-alerts", (_down(),))


def _down() -> Alert:
    pool = value_of(WORK_POOL)
    offline = latest(WORKER_COUNT, equals(WORKER_STATE, "offline"))
    available = latest(WORKER_COUNT, equals(WORKER_STATE, "available"))
    return Alert(
        "WorkerDown",
        cleandoc(f"""
              {max_by(WORK_POOL.label, offline)} > 0
            # Some are offline and none is left. A pool that never had a worker needs none: it
            # starts its runs itself.
            and on ({WORK_POOL.label})
              {max_by(WORK_POOL.label, available)} == 0
        """),
        severity="critical",
        summary=f"No worker of the work pool {pool} is available",
        description=(
            f"Workers of the work pool {pool} that have sent no heartbeat lately: {COUNT}. None is "
            "left to take its runs, which will be late."
        ),
        dashboard="prefect-workers",
        wait="3m",
        of_deployment=False,
    )
