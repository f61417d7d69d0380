"""Cases of the alerts about the bridge itself."""

from __future__ import annotations

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
from tests.monitoring.rules.case import Case, Fired
from tests.monitoring.rules.cases_deployments import GAPS, ROBUST
from tests.monitoring.rules.deployment import MINUTE
from tests.monitoring.rules.series import Series, Value, counted, during, flat

JOB = {"job": "prefect-otel-bridge"}
DASHBOARD = "prefect-bridge"


def lag(seconds: Value) -> Series:
    return Series(BRIDGE_LAG, seconds)


# --- BridgeDown ---------------------------------------------------------------
DOWN = Fired(
    {**JOB, "severity": "critical"},
    summary="The bridge is down",
    description=(
        "No bridge has shown metrics for four minutes: none runs, none has the lease, or "
        "Prometheus does not reach it. All other alerts about Prefect are blind meanwhile."
    ),
    dashboard=DASHBOARD,
)

DOWNS = (
    Case(
        "BridgeDown",
        "it shows nothing any more",
        (lag(during(0, 20, flat(5))),),
        at=(25, 40),
        fired=(DOWN,),
    ),
    Case("BridgeDown", "it was never there", (), at=(5, 40), fired=(DOWN,)),
    Case(
        "BridgeDown",
        "a missed scrape, a restart, a takeover",
        (lag(flat(5)),),
        at=(40, 41, 42, 50, 51, 52, 53, 60, 61, 62, 63, 64),
        away=GAPS,
        covers=ROBUST,
    ),
    Case(
        "BridgeDown",
        "a machine is lost, and the other bridge waits three minutes for the lease",
        (lag(flat(5)),),
        at=(41, 42, 43, 44, 45),
        away=((40, 43),),
        covers=("takeover",),
    ),
)


# --- BridgeLagging ------------------------------------------------------------
def lagging(words: str) -> Fired:
    return Fired(
        {**JOB, "severity": "warning"},
        summary=f"The bridge {words}",
        description=(
            "The bridge cannot read Prefect's history, or not fast enough: dashboards, alerts and "
            "traces are out of date. Its /readyz page says why."
        ),
        dashboard=DASHBOARD,
    )


LAGS = (
    Case(
        "BridgeLagging",
        "nothing was read for long",
        (lag(lambda minute: 5 if minute < 10 else 600),),
        at=(16, 30),
        fired=(lagging("is 10m 0s behind"),),
    ),
    Case(
        "BridgeLagging",
        "it was started while the server is away: it has read nothing yet",
        (lag(during(5, 1000, flat(0))),),
        at=(45, 60),
        fired=(lagging("has read nothing since it started"),),
    ),
    Case(
        "BridgeLagging",
        "a sweep of four minutes, and short ones again",
        (lag(lambda minute: (minute - 20) * MINUTE if 20.1 <= minute < 24 else 5),),
        at=(21, 22, 23, 24, 25, 26, 27),
    ),
    Case(
        "BridgeLagging",
        "the first sweep takes long, since it reads an old history",
        (lag(during(5, 1000, lambda minute: 0 if minute < 25 else 5)),),
        at=(10, 20, 25, 30, 60),
        covers=("backfill",),
    ),
    Case(
        "BridgeLagging",
        "it works, whatever happens to it",
        (lag(lambda minute: 0 if 51 <= minute < 52 else 5),),
        at=(40, 41, 50, 51, 52, 53, 60, 61, 62, 63, 90),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- TelemetryDropped ---------------------------------------------------------
def dropped(value: Value, reason: str = "outbox_size") -> Series:
    return Series(BRIDGE_DROPS, value, {REASON: reason})


def exported(outcome: str, value: Value) -> Series:
    return Series(BRIDGE_EXPORTS, value, {OUTCOME: outcome})


def lost(reason: str, number: int) -> Fired:
    return Fired(
        {"prefect_status_reason": reason, "severity": "warning"},
        summary=f"Not delivered ({reason}): {number} spans or log events",
        description=(
            "Spans and log events that did not reach the receiver within the last 15 minutes, for "
            f"the reason {reason}: {number}. Counters are not affected."
        ),
        dashboard=DASHBOARD,
    )


DROPS = (
    Case(
        "TelemetryDropped",
        "the outbox was full, and the receiver refused some",
        (dropped(during(0, 20, flat(0), 20)), exported("set_aside", counted((20, 21)))),
        at=(24, 30),
        fired=(lost("outbox_size", 20), lost("set_aside", 2)),
    ),
    Case(
        "TelemetryDropped",
        "what was dropped long ago, whatever happens to the bridge and whatever is backfilled",
        (
            dropped(during(0, 5, flat(0), 40)),
            exported("set_aside", flat(2)),
            exported("delivered", lambda minute: 1000 * minute),
        ),
        at=(40, 41, 51, 52, 61, 62, 63, 90),
        away=GAPS,
        covers=(*ROBUST, "backfill"),
    ),
)


# --- OutboxFilling ------------------------------------------------------------
def waiting(age: str) -> Fired:
    return Fired(
        {**JOB, "severity": "warning"},
        summary=f"Spans have waited {age} for the receiver",
        description=(
            f"The oldest span or log event that waits is {age} old: the OTLP receiver does not "
            "confirm. Nothing is lost until the outbox is full or PREFECT_OTEL_STATUS_OUTBOX_AGE "
            "has passed."
        ),
        dashboard=DASHBOARD,
    )


def oldest(seconds: Value) -> Series:
    return Series(BRIDGE_OUTBOX_AGE, seconds)


OUTBOXES = (
    Case(
        "OutboxFilling",
        "the receiver does not confirm",
        (oldest(during(0, 20, flat(0), 900)),),
        at=(26, 40),
        fired=(waiting("15m 0s"),),
    ),
    Case(
        "OutboxFilling",
        "a missed scrape, a restart and a takeover do not resolve it",
        (oldest(flat(900)),),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        fired=(waiting("15m 0s"),),
        away=GAPS,
    ),
    Case(
        "OutboxFilling",
        "the receiver is away for thirteen minutes",
        (oldest(lambda minute: (minute - 20) * MINUTE if 20 <= minute < 33 else 0),),
        at=(25, 30, 32, 33, 34, 35),
    ),
    Case(
        "OutboxFilling",
        "a backfill makes many spans, and they are new; whatever happens to the bridge",
        (oldest(flat(30)),),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        away=GAPS,
        covers=(*ROBUST, "backfill"),
    ),
)


# --- CardinalityOverflow ------------------------------------------------------
def overflow(value: Value) -> Series:
    return Series(BRIDGE_OVERFLOW, value, {METRIC: "prefect_status.messages"})


OVERFLOWS = (
    Case(
        "CardinalityOverflow",
        "too many templates",
        (overflow(during(0, 20, flat(0), 7)),),
        at=(25, 60),
        fired=(
            Fired(
                {"prefect_status_metric": "prefect_status.messages", "severity": "info"},
                summary="A label of prefect_status.messages has too many values",
                description=(
                    "Values of labels of prefect_status.messages that were counted under "
                    "__other__ within the last hour: 7. Totals are right; what is behind them "
                    "cannot be told apart."
                ),
                dashboard=DASHBOARD,
            ),
        ),
    ),
    Case(
        "CardinalityOverflow",
        "what overflowed before, whatever happens to the bridge",
        (overflow(flat(7)),),
        at=(30, 40, 41, 50, 51, 52, 60, 61, 62, 63),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- Watchdog -----------------------------------------------------------------
WATCHDOG = Case(
    "Watchdog",
    "always, also where nothing was scraped yet",
    (),
    at=(0, 1, 600),
    fired=(
        Fired(
            {"severity": "info"},
            summary="Alerts get through",
            description=(
                "This always fires, so that its absence can be noticed: then no alert gets through."
            ),
            dashboard=DASHBOARD,
        ),
    ),
    evaluate="10m",
)

CASES = (*DOWNS, *LAGS, *DROPS, *OUTBOXES, *OVERFLOWS, WATCHDOG)
