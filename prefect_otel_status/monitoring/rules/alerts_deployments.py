"""Alerts about how the runs of a deployment end."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals, matches
from prefect_otel_status.monitoring.rules.budget import error_ratio, judged
from prefect_otel_status.monitoring.rules.errors_said import errors_said
from prefect_otel_status.monitoring.rules.expressions import (
    BAD_RESULTS,
    DEPLOYMENT_KEY,
    LASTING,
    OF_DEPLOYMENT,
    increase,
    latest,
    max_by,
    sum_by,
)
from prefect_otel_status.monitoring.rules.gates import decisions, refusal_ratio, refusals
from prefect_otel_status.monitoring.rules.objectives import OBJECTIVE
from prefect_otel_status.monitoring.rules.rule import Alert, Group, Severity
from prefect_otel_status.monitoring.rules.schedule import SCHEDULED_SINCE, SUCCESS_LIMIT
from prefect_otel_status.monitoring.rules.templates import COUNT, WHO, value_of
from prefect_otel_status.signals import (
    GATE,
    LAST_RUN,
    LAST_SUCCESS,
    MESSAGES,
    RESULT,
    RUN_ERRORS,
    STAGE,
)

_LEAST_RUNS = 10
_LEAST_REFUSALS = 3
_LEAST_ERRORS = 10


def deployment_alerts() -> Group:
    """The alerts."""
    rules = (_failing(), *_burns(), _no_success(), _gate_failing(), _rollback(), _error_burst())
    return Group("prefect-deployment-alerts", rules)


def _failing() -> Alert:
    return Alert(
        "DeploymentFailing",
        cleandoc(f"""
              max by ({OF_DEPLOYMENT}) (
                {latest(LAST_RUN, matches(RESULT, BAD_RESULTS), window=LASTING)}
              )
            # is the latest of all that were shown lately: the result is a label, and that of the
            # run before is still within the ten minutes. They keep this alert as it is where a
            # scrape fails, and while the bridge restarts or another one takes over.
            == on ({DEPLOYMENT_KEY}) group_left ()
              {max_by(DEPLOYMENT_KEY, latest(LAST_RUN, window=LASTING))}
            # What ended before the bridge's store was made is drawn and never counted: without
            # this a backfill would page somebody.
            and on ({DEPLOYMENT_KEY})
              {sum_by(DEPLOYMENT_KEY, latest(RUN_ERRORS, window=LASTING))} > 0
        """),
        severity="warning",
        summary=f"The latest run of {WHO} failed",
        description=(
            f"The latest run of {WHO} ended badly at {{{{ $value | humanizeTimestamp }}}}. "
            "This resolves when a run succeeds."
        ),
        dashboard="prefect-health",
        wait="1m",
    )


# --- the error budget ---------------------------------------------------------
_WHY = """
# A burn rate is the share of errors over the share that the objective allows. For a modest
# objective 14.4 times that would be more than all runs: nine of ten that fail are enough for any.
# One failure of two runs is no rate: with little traffic this is silent, and DeploymentFailing
# and DeploymentNoSuccess speak. It ends when the shorter window is good again; a shorter window
# without runs is no recovery. One alert for both pairs of windows, so that one outage calls once.
"""


def _burns() -> tuple[Alert, Alert]:
    page = (_burn(14.4, "1h", "5m"), _burn(6, "6h", "30m"))
    ticket = (_burn(3, "1d", "2h"), _burn(1, "3d", "6h"))
    return (
        _budget_alert(page, "critical", over="hour, or over the last six hours", wait="2m"),
        _budget_alert(ticket, "warning", over="day, or over the last three days", wait="15m"),
    )


def _budget_alert(burns: Iterable[str], severity: Severity, *, over: str, wait: str) -> Alert:
    share = "{{ $value | humanizePercentage }}"
    return Alert(
        "DeploymentErrorBudgetBurn",
        _WHY.lstrip() + "\nor\n".join(burns),
        severity=severity,
        summary=f"{WHO}: {share} of its runs fail",
        description=(
            f"{share} of the runs of {WHO} ended badly over the last {over}: more than its "
            "objective allows, and it has not recovered since."
        ),
        dashboard="prefect-health",
        wait=wait,
    )


def _burn(rate: float, long: str, short: str) -> str:
    limit = f"on ({DEPLOYMENT_KEY}) group_left () clamp_max({rate:g} * (1 - {OBJECTIVE}), 0.9)"
    return cleandoc(f"""
        (
          {error_ratio(long)} > {limit}
          unless
          {error_ratio(short)} <= {limit}
          and
          {judged(long)} >= {_LEAST_RUNS}
        )
    """)


# --- the schedule -------------------------------------------------------------
def _no_success() -> Alert:
    return Alert(
        "DeploymentNoSuccess",
        cleandoc(f"""
              time() - (
                {max_by(OF_DEPLOYMENT, latest(LAST_SUCCESS, window=LASTING))}
                # It never succeeded: since it was scheduled.
                or on ({DEPLOYMENT_KEY})
                {SCHEDULED_SINCE}
              )
            > on ({DEPLOYMENT_KEY}) group_left ()
              {SUCCESS_LIMIT}
            # New, or paused until lately: it has had no time yet. Without a schedule, or paused,
            # there is no such series, and nothing is expected.
            and on ({DEPLOYMENT_KEY})
              time() - {SCHEDULED_SINCE} > {SUCCESS_LIMIT}
        """),
        severity="critical",
        summary=f"{WHO} has not succeeded for {{{{ $value | humanizeDuration }}}}",
        description=(
            f"The last success of {WHO} was {{{{ $value | humanizeDuration }}}} ago. By its "
            "schedule it should have succeeded at least twice since."
        ),
        dashboard="prefect-health",
        wait="5m",
    )


# --- what runs say ------------------------------------------------------------
def _gate_failing() -> Alert:
    gate = value_of(GATE)
    return Alert(
        "GateFailing",
        cleandoc(f"""
            (
              {_refusing("6h", "1h")}
            )
            or
            # A gate that judges seldom needs more time to show it.
            (
              {_refusing("3d", "1d")}
              unless
                {decisions("6h")} >= {_LEAST_REFUSALS}
            )
        """),
        severity="warning",
        summary=f"Gate {gate} of {WHO} refuses {{{{ $value | humanizePercentage }}}}",
        description=(
            f"The gate {gate} of {WHO} refused {{{{ $value | humanizePercentage }}}} of what it "
            "judged over the last six hours, or over the last three days where it judges seldom."
        ),
        dashboard="prefect-statuses",
        wait="5m",
    )


def _refusing(long: str, short: str) -> str:
    """More than half of several decisions, and no recovery since."""
    return (
        f"{refusal_ratio(long)} > 0.5"
        f" and {refusals(long)} >= {_LEAST_REFUSALS}"
        f" unless {refusal_ratio(short)} <= 0.5"
    )


def _rollback() -> Alert:
    said = increase(MESSAGES, equals(STAGE, "rollback"), window="30m")
    return Alert(
        "RollbackHappened",
        cleandoc(f"""
            # It stays for half an hour, so that a look at the alerts still finds it.
            {sum_by(OF_DEPLOYMENT, said)} > 0
        """),
        severity="info",
        summary=f"{WHO} rolled back",
        description=(
            f"Status messages of {WHO} in the stage rollback within the last 30 minutes: "
            f"{COUNT}. Its status page has the last one."
        ),
        dashboard="prefect-delivery",
    )


def _error_burst() -> Alert:
    return Alert(
        "StatusErrorBurst",
        cleandoc(f"""
              {errors_said("10m")} >= {_LEAST_ERRORS}
            # and five times as many as in ten minutes of the last day, of which there are 144. A
            # deployment that always says some errors is used to them.
            and
              {errors_said("10m")} > 5 * {errors_said("1d")} / 144
        """),
        severity="warning",
        summary=f"{WHO} said {COUNT} errors within 10 minutes",
        description=(
            f"Runs of {WHO} said {COUNT} status messages of level error or critical within "
            "the last 10 minutes: more than five times the usual."
        ),
        dashboard="prefect-statuses",
        wait="1m",
    )
