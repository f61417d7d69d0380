"""Cases of the alerts about workers."""

from __future__ import annotations

from prefect_otel_status.signals import WORK_POOL, WORKER_COUNT, WORKER_STATE
from tests.monitoring.rules.case import Case, Fired
from tests.monitoring.rules.cases_deployments import GAPS, ROBUST
from tests.monitoring.rules.series import Series, Value, during, flat


def workers(available: Value, offline: Value) -> tuple[Series, ...]:
    """The workers of a work pool, by their states."""
    return tuple(
        Series(WORKER_COUNT, number, {WORK_POOL: "kubernetes", WORKER_STATE: state})
        for state, number in (("available", available), ("offline", offline))
    )


DOWN = Fired(
    {"prefect_work_pool_name": "kubernetes", "severity": "critical"},
    summary="No worker of the work pool kubernetes is available",
    description=(
        "Workers of the work pool kubernetes that have sent no heartbeat lately: 2. None is left "
        "to take its runs, which will be late."
    ),
    dashboard="prefect-workers",
)

CASES = (
    Case(
        "WorkerDown",
        "both workers went away",
        workers(available=during(0, 10, flat(2), 0), offline=during(10, 1000, flat(2), 0)),
        at=(14, 30),
        fired=(DOWN,),
    ),
    Case(
        "WorkerDown",
        "a missed scrape, a restart and a takeover do not resolve it",
        workers(available=flat(0), offline=flat(2)),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        fired=(DOWN,),
        away=GAPS,
    ),
    Case(
        "WorkerDown",
        "one is left",
        workers(available=flat(1), offline=flat(3)),
        at=(10, 30),
    ),
    Case(
        "WorkerDown",
        "a work pool that never had a worker",
        workers(available=flat(0), offline=flat(0)),
        at=(10, 30),
        covers=("new deployment",),
    ),
    Case(
        "WorkerDown",
        "the only worker restarts within two minutes",
        workers(available=during(10, 12, flat(0), 1), offline=during(10, 12, flat(1), 0)),
        at=(11, 12, 13, 14),
    ),
    Case(
        "WorkerDown",
        "a worker that works, whatever happens to the bridge",
        workers(available=flat(1), offline=flat(0)),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        away=GAPS,
        covers=ROBUST,
    ),
)
