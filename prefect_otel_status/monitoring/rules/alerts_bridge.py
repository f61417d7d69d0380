"""Alerts about the bridge itself: while it is blind, all others are silent."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals, select
from prefect_otel_status.monitoring.rules.expressions import RECENT, increase, latest, sum_by
from prefect_otel_status.monitoring.rules.rule import Alert, Group
from prefect_otel_status.monitoring.rules.templates import COUNT, value_of
from prefect_otel_status.signals import (
    BRIDGE_DROPS,
    BRIDGE_EXPORTS,
    BRIDGE_LAG,
    BRIDGE_OUTBOX_AGE,
    BRIDGE_OVERFLOW,
    METRIC,
    OUTCOME,
    REASON,
)

_DASHBOARD = "prefect-bridge"


def bridge_alerts() -> Group:
    """The alerts."""
    rules = (_down(), _lagging(), _dropped(), _outbox(), _overflow(), _watchdog())
    return Group("prefect-bridge-alerts", rules)


def _down() -> Alert:
    return Alert(
        "BridgeDown",
        cleandoc(f"""
            # Not `up == 0`: a standby answers too, with nothing, and where both are scraped one of
            # them may be down. Two minutes, since a restart or a takeover costs a scrape or two.
            absent_over_time({select(BRIDGE_LAG, window=RECENT)})
        """),
        severity="critical",
        summary="The bridge is down",
        description=(
            "No bridge has shown metrics for four minutes: none runs, none has the lease, or "
            "Prometheus does not reach it. All other alerts about Prefect are blind meanwhile."
        ),
        dashboard=_DASHBOARD,
        wait="2m",
        of_deployment=False,
    )


def _lagging() -> Alert:
    return Alert(
        "BridgeLagging",
        cleandoc(f"""
            # The least of two minutes: one long sweep is no lag, and after a restart it is 0.
            min by (job) (min_over_time({select(BRIDGE_LAG, window=RECENT)})) > 60
            or
            # It stays at exactly 0 until the first sweep since the start has succeeded. That may
            # take long where an old history is read, but not half an hour.
            max by (job) (max_over_time({select(BRIDGE_LAG, window="30m")})) == 0
            and on (job)
              {latest(BRIDGE_LAG, window="5m", ago="25m")}
        """),
        severity="warning",
        summary=(
            "The bridge {{ if $value }}is {{ $value | humanizeDuration }} behind"
            "{{ else }}has read nothing since it started{{ end }}"
        ),
        description=(
            "The bridge cannot read Prefect's history, or not fast enough: dashboards, alerts and "
            "traces are out of date. Its /readyz page says why."
        ),
        dashboard=_DASHBOARD,
        wait="3m",
        of_deployment=False,
    )


def _dropped() -> Alert:
    reason = value_of(REASON)
    refused = increase(BRIDGE_EXPORTS, equals(OUTCOME, "set_aside"), window="15m")
    return Alert(
        "TelemetryDropped",
        cleandoc(f"""
            sum by ({REASON.label}) (
              {increase(BRIDGE_DROPS, window="15m")}
              # What the receiver refused is kept aside: not lost yet, and not delivered either.
              or
              label_replace({refused}, "{REASON.label}", "set_aside", "", "")
            ) > 0
        """),
        severity="warning",
        summary=f"Not delivered ({reason}): {COUNT} spans or log events",
        description=(
            f"Spans and log events that did not reach the receiver within the last 15 minutes, for "
            f"the reason {reason}: {COUNT}. Counters are not affected."
        ),
        dashboard=_DASHBOARD,
        of_deployment=False,
    )


def _outbox() -> Alert:
    return Alert(
        "OutboxFilling",
        f"min by (job) (min_over_time({select(BRIDGE_OUTBOX_AGE, window=RECENT)})) > 600",
        severity="warning",
        summary="Spans have waited {{ $value | humanizeDuration }} for the receiver",
        description=(
            "The oldest span or log event that waits is {{ $value | humanizeDuration }} old: the "
            "OTLP receiver does not confirm. Nothing is lost until the outbox is full or "
            "PREFECT_OTEL_STATUS_OUTBOX_AGE has passed."
        ),
        dashboard=_DASHBOARD,
        wait="3m",
        of_deployment=False,
    )


def _overflow() -> Alert:
    metric = value_of(METRIC)
    return Alert(
        "CardinalityOverflow",
        f"{sum_by(METRIC.label, increase(BRIDGE_OVERFLOW, window='1h'))} > 0",
        severity="info",
        summary=f"A label of {metric} has too many values",
        description=(
            f"Values of labels of {metric} that were counted under __other__ within the last hour: "
            f"{COUNT}. Totals are right; what is behind them cannot be told apart."
        ),
        dashboard=_DASHBOARD,
        of_deployment=False,
    )


def _watchdog() -> Alert:
    return Alert(
        "Watchdog",
        cleandoc("""
            # Always fires. Whoever gets it must call when it stops coming: then Prometheus,
            # Alertmanager or the way between is broken, and no other alert can say so.
            vector(1)
        """),
        severity="info",
        summary="Alerts get through",
        description=(
            "This always fires, so that its absence can be noticed: then no alert gets through."
        ),
        dashboard=_DASHBOARD,
        of_deployment=False,
    )
