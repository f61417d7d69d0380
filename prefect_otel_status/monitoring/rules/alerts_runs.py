"""Alerts about runs that go on, or should."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals, select
from prefect_otel_status.monitoring.rules.expressions import (
    DEPLOYMENT_KEY,
    OF_DEPLOYMENT,
    executing,
    increase,
    latest,
    max_by,
    min_by,
)
from prefect_otel_status.monitoring.rules.rule import Alert, Group
from prefect_otel_status.monitoring.rules.templates import COUNT, WHO
from prefect_otel_status.monitoring.rules.usual import RUN_P95, SILENCE_LIMIT
from prefect_otel_status.signals import (
    ERROR_TYPE,
    LAST_MESSAGE,
    OLDEST_ACTIVE_START,
    RUN_ACTIVE,
    RUN_ERRORS,
    RUN_STATE,
    RUNS_LATE,
    STATE_TYPE,
    TRANSITIONS,
)

_LEAST_CRASHES = 3
_LEAST_WAITING = 10


def run_alerts() -> Group:
    """The alerts."""
    return Group("prefect-run-alerts", (_silent(), _stuck(), _late(), _crashing(), _backlog()))


def _silent() -> Alert:
    return Alert(
        "RunSilent",
        cleandoc(f"""
              time() - {min_by(OF_DEPLOYMENT, latest(LAST_MESSAGE))}
            > on ({DEPLOYMENT_KEY}) group_left ()
              {SILENCE_LIMIT}
            # Only while a run executes: one that has ended, or waits for a person, need not speak.
            and on ({OF_DEPLOYMENT})
              {executing(OF_DEPLOYMENT)} > 0
        """),
        severity="warning",
        summary=f"A run of {WHO} has been silent for {{{{ $value | humanizeDuration }}}}",
        description=(
            f"An active run of {WHO} said its last status {{{{ $value | humanizeDuration }}}} ago: "
            "more than three times what its stage usually takes. Its status page has its last "
            "words."
        ),
        dashboard="prefect-statuses",
        wait="2m",
    )


def _stuck() -> Alert:
    return Alert(
        "RunStuck",
        cleandoc(f"""
              time() - {min_by(OF_DEPLOYMENT, latest(OLDEST_ACTIVE_START))}
            # Three times its own usual, and never less than ten minutes. A new deployment has no
            # usual, and is silent.
            > on ({DEPLOYMENT_KEY}) group_left ()
              clamp_min(3 * {RUN_P95}, 600)
            # Not where its runs only wait, such as for an approval.
            and on ({OF_DEPLOYMENT})
              {executing(OF_DEPLOYMENT)} > 0
        """),
        severity="warning",
        summary=f"A run of {WHO} has gone on for {{{{ $value | humanizeDuration }}}}",
        description=(
            f"The oldest active run of {WHO} started {{{{ $value | humanizeDuration }}}} ago. That "
            "is more than three times as long as 95 % of its successful runs take."
        ),
        dashboard="prefect-health",
        wait="2m",
    )


def _late() -> Alert:
    return Alert(
        "RunsLate",
        f"{max_by(OF_DEPLOYMENT, latest(RUNS_LATE))} > 0",
        severity="warning",
        summary=f"Late runs of {WHO}: {COUNT}",
        description=(
            f"Runs of {WHO} that should have started and have not: {COUNT}. Some have been late "
            "for more than five minutes: nobody picks them up, or a concurrency limit holds them."
        ),
        dashboard="prefect-workers",
        wait="5m",
    )


def _crashing() -> Alert:
    return Alert(
        "RunsCrashing",
        cleandoc(f"""
            sum by ({OF_DEPLOYMENT}) (
              {increase(TRANSITIONS, equals(STATE_TYPE, "CRASHED"), window="1h")}
              # Of these nobody said that they crashed: their heartbeats stopped.
              or
              {increase(RUN_ERRORS, equals(ERROR_TYPE, "HeartbeatLost"), window="1h")}
            ) >= {_LEAST_CRASHES}
        """),
        severity="warning",
        summary=f"{COUNT} runs of {WHO} crashed within an hour",
        description=(
            f"{COUNT} runs of {WHO} crashed or vanished within the last "
            "hour. That is rarely the flow's own code: look for memory, evictions, lost machines."
        ),
        dashboard="prefect-health",
    )


def _backlog() -> Alert:
    waiting = select(RUN_ACTIVE, equals(RUN_STATE, "pending"), window="10m")
    return Alert(
        "QueueBacklog",
        cleandoc(f"""
            # The least of ten minutes: a burst that is worked off is no backlog, and a scrape that
            # failed does not count as none.
            {min_by(OF_DEPLOYMENT, f"min_over_time({waiting})")} >= {_LEAST_WAITING}
        """),
        severity="warning",
        summary=f"{COUNT} runs of {WHO} wait",
        description=(
            f"For the last ten minutes at least {COUNT} runs of {WHO} have been waiting "
            "for a worker, a concurrency limit or an approval."
        ),
        dashboard="prefect-workers",
        wait="5m",
    )
