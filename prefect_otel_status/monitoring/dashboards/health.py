"""Deployment health: which deployments are healthy, and why the others are not."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import (
    meanings,
    panels,
    queries,
    shared,
    uids,
    variables,
    ways,
)
from prefect_otel_status.monitoring.dashboards.frame import Frame, Placed, Row, dashboard
from prefect_otel_status.monitoring.dashboards.panels import Line, Look, Words
from prefect_otel_status.monitoring.dashboards.queries import (
    FAILING,
    OF_RUN,
    RANGE,
    RATE,
    WINDOW,
    ago,
    by,
    increase,
    last_run,
    number_of,
    quantile,
    series,
    top,
)
from prefect_otel_status.monitoring.dashboards.tables import (
    Column,
    Label,
    Value,
    of_deployments,
    table_of,
)
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import Match, equals
from prefect_otel_status.monitoring.rules.alerts import alert_groups
from prefect_otel_status.monitoring.rules.rule import Alert
from prefect_otel_status.signals import Attribute

_HEARTBEAT = "Watchdog"
"""The alert that always fires."""

_ALERT = Attribute("alertname", "Prometheus' own label with the name of an alert.")
_SEVERITY = Attribute("severity", "How bad it is, by the alert rules.")
_AGO = "dateTimeFromNow"


def health(links: Links) -> model.Dashboard:
    """The dashboard."""
    frame = Frame(
        uids.HEALTH,
        "Prefect: deployment health",
        "Which deployments are healthy, what they said last, and where to look when they are not.",
        variables.usual(variables.Choice()),
    )
    return dashboard(frame, [_now(links), _deployments(links), _runs(links), _under_way(links)])


def _now(links: Links) -> Row:
    numbers = [healthy(), failing(), success(), active(), late(), silent()]
    return Row("Now", [*(Placed(panel, 4, 4) for panel in numbers), Placed(firing(links), 24, 7)])


def _deployments(links: Links) -> Row:
    found = [
        Placed(deployments(links), 24, 12),
        Placed(history(links), 24, 10),
        Placed(times(links), 24, 9),
    ]
    return Row("Deployments", found)


def _runs(links: Links) -> Row:
    found = [
        above_objective(links),
        failures(links),
        shared.run_duration(links, 0.5),
        shared.run_duration(links, 0.95),
        durations(),
        shared.queue_wait(links),
    ]
    return Row("Runs", [Placed(panel, 12, 9) for panel in found])


def _under_way(links: Links) -> Row:
    found = [shared.active_by_state(), shared.late_runs(links), shared.silence(links)]
    return Row("Under way", [Placed(panel, 8, 9) for panel in found])


# --- now -----------------------------------------------------------------------
def healthy() -> Any:
    """How many deployments' latest run succeeded."""
    words = Words(
        "Healthy deployments",
        "Deployments whose latest ended run succeeded. "
        "If it falls, look at the failing ones beside it.",
    )
    good = last_run(equals(signals.RESULT, queries.SUCCESS))
    return panels.number(words, Look("short", decimals=0), number_of(good, last_run()))


def failing() -> Any:
    """How many deployments' latest run failed."""
    words = Words(
        "Failing deployments",
        "Deployments whose latest ended run failed, crashed or timed out. When it is red, the "
        "table below has them: click on the deployment for its traces and its last words.",
    )
    expression = number_of(last_run(FAILING), last_run())
    return panels.number(words, Look("short", meanings.ANY, decimals=0), expression)


def success() -> Any:
    """The share of runs that succeeded."""
    words = Words(
        "Success rate",
        "The share of the runs within the shown time that succeeded, of those that succeeded or "
        "failed, over all chosen deployments. Empty where no run ended. When it falls, the "
        "failures by type of error below say what they have in common.",
    )
    look = Look("percentunit", low=0, high=1, decimals=1)
    return panels.number(words, look, queries.success_ratio(RANGE))


def active() -> Any:
    """How many runs have not ended."""
    words = Words(
        "Active runs",
        "Flow runs that have not ended: late, pending, paused or running. If it only grows, look "
        "at the dashboard of workers and queues.",
    )
    expression = f"sum({series(signals.RUN_ACTIVE)})"
    return panels.number(words, Look("short", decimals=0), expression)


def late() -> Any:
    """How many runs are late."""
    words = Words(
        "Late runs",
        "Flow runs that should have started and have not. When it is red, no worker takes "
        "them or a limit holds them: the dashboard of workers and queues says which.",
    )
    expression = f"sum({series(signals.RUNS_LATE)})"
    return panels.number(words, Look("short", meanings.ANY, decimals=0), expression)


def silent() -> Any:
    """The longest silence of an active run."""
    words = Words(
        "Longest silence",
        "Time since the last status of the most silent active run. Empty while nothing runs. When "
        "it is red, that run may hang: the silence of active runs, at the end, names it.",
    )
    return panels.number(words, Look("s", meanings.SILENCE), f"max({queries.silence()})")


def firing(links: Links) -> Any:
    """The alerts that fire, with their runbooks."""
    words = Words(
        "Alerts that fire",
        "The alerts of this project that fire for the chosen deployments and for none in "
        "particular, from Prometheus' own rules. Empty when all is well, and where the alert "
        "rules are not loaded. Begin with the red ones; click on an alert for its runbook.",
    )
    rules = [rule for group in alert_groups() for rule in group.rules]
    names = [rule.name for rule in rules if isinstance(rule, Alert) and rule.name != _HEARTBEAT]
    return table_of(words, _alert_columns(links, names), sort="Since")


def _alert_columns(links: Links, names: list[str]) -> list[Column]:
    matchers = [
        Match("alertstate", "=", "firing"),
        Match("alertname", "=~", "|".join(names)),
        *queries.CHOSEN,
    ]
    alerts = f"ALERTS{{{', '.join(map(str, matchers))}}}"
    since = f"ALERTS_FOR_STATE * 1000 and ignoring (alertstate) {alerts}"
    runbook = links.runbook("${__data.fields.Alert:percentencode}")
    return [
        Label(_ALERT, "Alert", ways=[ways.Way("Its runbook", runbook, far=True)]),
        Label(_SEVERITY, "Severity", names=meanings.SEVERITIES, width=110),
        *of_deployments(ways.of_deployment(links, ways.ROW, here=uids.HEALTH)),
        Label(signals.WORK_POOL, "Work pool"),
        Value(by("max", since, _ALERT, _SEVERITY, *OF_RUN, signals.WORK_POOL), "Since", _AGO),
    ]


# --- deployments ---------------------------------------------------------------
def deployments(links: Links) -> Any:
    """A row for each deployment: how it is and what it said."""
    words = Words(
        "Deployments",
        "Each deployment: the result of its latest ended run, its latest status message, its "
        "success rate within the shown time against its objective, and what is under way. Click "
        "on a flow or deployment for its traces, its last words and the other dashboards. When its "
        "health is red, read the last status first: it says at which step the run failed. The "
        "objective needs the recording rules; a deployment that never ran has no health yet.",
    )
    columns = [*of_deployments(ways.of_deployment(links, ways.ROW, here=uids.HEALTH)), *_health()]
    return table_of(words, columns, sort="Success above objective", descending=False)


def _health() -> list[Column]:
    return [
        Label(signals.RESULT, "Health", names=meanings.RESULTS, width=140),
        Value(ago(signals.LAST_RUN, *OF_RUN, signals.RESULT), "Last run", _AGO),
        Label(signals.TEMPLATE, "Last status"),
        Label(signals.LEVEL, "Level", names=meanings.LEVELS, width=90),
        Label(signals.STAGE, "Stage"),
        Value(_last_status(), "Said", _AGO),
        Value(queries.success_ratio(RANGE, *OF_RUN), "Success", "percentunit", decimals=1),
        Value(queries.objective(), "Objective", "percentunit", decimals=1),
        Value(
            queries.above_objective(RANGE),
            "Success above objective",
            "percentunit",
            {-1: panels.RED, 0: panels.GREEN},
            decimals=1,
        ),
        Value(ago(signals.LAST_SUCCESS, *OF_RUN), "Last success", _AGO),
        Value(by("sum", series(signals.RUN_ACTIVE), *OF_RUN), "Active", "short", width=80),
        Value(
            by("sum", series(signals.RUNS_LATE), *OF_RUN), "Late", "short", meanings.ANY, width=80
        ),
        Value(queries.silence(), "Silence", "s", meanings.SILENCE),
    ]


def _last_status() -> str:
    of_status = (*OF_RUN, signals.STAGE, signals.LEVEL, signals.TEMPLATE)
    return ago(signals.LAST_STATUS, *of_status)


def history(links: Links) -> Any:
    """How each deployment was over time."""
    words = Words(
        "Run history",
        "For each deployment the result of its latest ended run, over time: green succeeded, red "
        "failed, grey was cancelled or skipped. Twenty deployments a page. Click on a red bar for "
        "the traces of the failed runs in the shown time; a trace leads on to the run in Prefect.",
    )
    line = Line(queries.run_health(), shared.OF_DEPLOYMENT)
    out = [
        *ways.to_traces(links, ways.LINE, failed=True),
        *ways.of_deployment(links, ways.LINE, here=uids.HEALTH),
    ]
    return panels.states(words, line, meanings.HEALTH, out)


def times(links: Links) -> Any:
    """A row for each deployment: how long things take."""
    words = Words(
        "Deployments: time",
        "Each deployment's run durations and queue wait within the shown time, and its failures. "
        "A run lasts from its first execution to its end. When the wait is red, look at the "
        "dashboard of workers and queues.",
    )
    wait = quantile(0.95, signals.QUEUE_DURATION, *OF_RUN, window=RANGE)
    columns = [
        *of_deployments(ways.of_deployment(links, ways.ROW, here=uids.HEALTH)),
        Value(_ended(), "Runs", "short", decimals=0),
        Value(_duration(0.5), "Duration p50", "s"),
        Value(_duration(0.95), "Duration p95", "s"),
        Value(wait, "Queue wait p95", "s", meanings.WAIT),
        Value(_failed(), "Failures", "short", meanings.ANY, decimals=0),
    ]
    return table_of(words, columns, sort="Duration p95")


def _duration(q: float) -> str:
    return quantile(q, signals.RUN_DURATION, *OF_RUN, window=RANGE)


def _ended() -> str:
    return by("sum", increase(signals.RUN_DURATION, part="count", window=RANGE), *OF_RUN)


def _failed() -> str:
    return by("sum", increase(signals.RUN_ERRORS, window=RANGE), *OF_RUN)


# --- runs ----------------------------------------------------------------------
def above_objective(links: Links) -> Any:
    """The deployments that are furthest below their objective."""
    words = Words(
        "Success rate above its objective",
        "Success rate within the window, less the deployment's objective; the "
        f"{shared.SHOWN} worst. Below 0 it spends more of its error budget than it has. Needs the "
        "recording rules. When it is red, look at its failures and at what was promoted before.",
    )
    look = Look("percentunit", {-1: panels.RED, 0: panels.GREEN})
    line = Line(
        top(shared.SHOWN, lambda at: queries.above_objective(WINDOW, at), *OF_RUN, of="bottomk"),
        shared.OF_DEPLOYMENT,
    )
    return panels.over_window(words, look, line, ways=ways.of_deployment(links, ways.LINE, here=""))


def failures(links: Links) -> Any:
    """What the failed runs had in common."""
    words = Words(
        "Failures by type of error",
        "Runs that failed, crashed or timed out, by the class of the exception or the name of the "
        f"state; the {shared.SHOWN} most frequent. Empty while nothing fails. Click on a bar for "
        "the traces that have this error.",
    )

    def in_all(at: str) -> str:
        return by("sum", increase(signals.RUN_ERRORS, window=RANGE, at=at), signals.ERROR_TYPE)

    def now(at: str) -> str:
        return by("sum", increase(signals.RUN_ERRORS, window=RATE, at=at), signals.ERROR_TYPE)

    expression = top(shared.SHOWN, now, signals.ERROR_TYPE, rank=in_all)
    line = Line(f"{expression} > 0", f"{{{{{signals.ERROR_TYPE.label}}}}}")
    look = Look("short", low=0, decimals=0)
    return panels.bars(words, look, line, exemplars=True, ways=ways.to_traces_of_error(links))


def durations() -> Any:
    """How the durations of all runs are spread."""
    words = Words(
        "Run durations, all together",
        "How many runs of all chosen deployments ended in each interval, by how long they took: "
        "the darker, the more. Each dot is a run: click on it for its trace. A second band above "
        "the usual one is a kind of run of its own: choose a deployment to see whose.",
    )
    bucket = increase(signals.RUN_DURATION, part="bucket", window=RATE)
    return panels.density(words, Look("s"), f"sum by (le) ({bucket})")
