"""Delivery: how often models go live, how often that goes wrong, how fast it is repaired."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import delivery_queries as delivered
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
from prefect_otel_status.monitoring.dashboards.queries import OF_RUN, RANGE, RATE, by, series
from prefect_otel_status.monitoring.dashboards.tables import Label, Value, of_deployments, table_of
from prefect_otel_status.monitoring.links import Links

_COUNTED = (
    "A promotion is counted once, however much it says: by the end of a stage named "
    f"`{delivered.PROMOTE}` without an exception. Of a deployment that only says messages with "
    "that stage, its most frequent template is counted."
)
_WENT_BACK = (
    f"A rollback is counted by the end of a stage named `{delivered.ROLLBACK}`, or by the messages "
    "of level error with that stage where those are more: say one a rollback."
)
_LEAD_TIME = """
Lead time is the time from a commit to its promotion. No signal carries the time of a commit, so
there is no figure of it here.

To see it for each release, bind the commit's time where the run knows it, and say it at the
promotion:

```python
with bind(version=version, commit_time=commit_time):
    with stage("promote"):
        status("Promoted {version}, {lead_hours:.1f} h after its commit",
               version=version, lead_hours=hours_since(commit_time))
```

The bound value is then on the promotion's span in Jaeger, and the hours in its status. A panel
needs a metric of it, which this project does not have.
"""


def delivery(links: Links) -> model.Dashboard:
    """The dashboard."""
    frame = Frame(
        uids.DELIVERY,
        "Prefect: delivery",
        "How often models go live, how often that goes wrong, and how fast it is repaired.",
        variables.usual(variables.Choice(window=False)),
        since="now-7d",
        refresh="5m",
    )
    four = [frequency(), promotions(), rollbacks(), failure_rate(), time_to_restore()]
    rows = [
        Row(
            "Releases",
            [
                *(
                    Placed(panel, width, 4)
                    for panel, width in zip(four, (5, 4, 5, 5, 5), strict=True)
                ),
                Placed(releases(), 24, 9),
                Placed(by_deployment(links), 24, 10),
            ],
        ),
        Row("Live now", [Placed(live(links), 14, 10), Placed(broken(links), 10, 10)]),
        Row("Lead time", [Placed(lead_time(), 24, 9)]),
    ]
    return dashboard(frame, rows)


# --- in all --------------------------------------------------------------------
def frequency() -> Any:
    """Promotions a day."""
    words = Words(
        "Deployment frequency",
        f"Promotions a day within the shown time. {_COUNTED} When it falls, look at the rollbacks "
        "and at the failing deployments.",
    )
    look = Look("suffix: / day", decimals=2)
    return panels.number(words, look, delivered.frequency(RANGE))


def promotions() -> Any:
    """Promotions."""
    words = Words("Promotions", f"How often a model went live within the shown time. {_COUNTED}")
    expression = f"sum({delivered.or_none(delivered.promotions(RANGE))})"
    return panels.number(words, Look("short", decimals=0), expression)


def rollbacks() -> Any:
    """Rollbacks."""
    words = Words(
        "Rollbacks",
        f"How often a model was taken back within the shown time. {_WENT_BACK} When it "
        "is red, the table below says whose they are; the trace of the run shows the gate that "
        "refused the model, or the error.",
    )
    look = Look("short", meanings.ANY, decimals=0)
    expression = f"sum({delivered.or_none(delivered.rollbacks(RANGE))})"
    return panels.number(words, look, expression)


def failure_rate() -> Any:
    """The share of changes that were taken back."""
    words = Words(
        "Change failure rate",
        "Rollbacks as a share of promotions and rollbacks within the shown time. Empty where "
        f"nothing was released. {_WENT_BACK} When it is red, look at which gate refuses: a model "
        "that fails late could have failed at an earlier gate.",
    )
    look = Look("percentunit", meanings.CHANGE_FAILURES, decimals=1)
    return panels.number(words, look, delivered.failure_rate(RANGE))


def time_to_restore() -> Any:
    """The mean time from a failed run to a good one."""
    words = Words(
        "Time to restore",
        "The mean time from a deployment's failed run to its next good one. An approximation: it "
        "is looked at how the latest run of each deployment ended, once in each interval, and an "
        "outage that is not over adds its time too. Empty where nothing was repaired. When it is "
        "red, the table of what is broken now says where to begin.",
    )
    look = Look("s", meanings.OUTAGE)
    panel = panels.number(words, look, delivered.time_to_restore())
    # A fine interval finds short outages; a finer one would cost more than it finds.
    return panel.max_data_points(2000)


def releases() -> Any:
    """Promotions and rollbacks over time."""
    words = Words(
        "Promotions and rollbacks",
        "How often models went live and were taken back in each interval, over all chosen "
        f"deployments. {_COUNTED} {_WENT_BACK} A red bar after each green one means that something "
        "is tried again which cannot work.",
    )
    lines = [
        Line(f"sum({delivered.or_none(delivered.promotions(RATE))})", "promotions"),
        Line(f"sum({delivered.or_none(delivered.rollbacks(RATE))})", "rollbacks"),
    ]
    panel = panels.bars(words, Look("short", low=0, decimals=0), *lines)
    return panels.colored(panel, {"promotions": panels.GREEN, "rollbacks": panels.RED})


# --- by deployment -------------------------------------------------------------
def by_deployment(links: Links) -> Any:
    """A row for each deployment."""
    words = Words(
        "Delivery by deployment",
        "Each deployment's promotions, rollbacks, change failure rate and time to restore within "
        "the shown time, counted as above. When the rate is red, its traces show which gate "
        "refuses or what fails.",
    )
    columns = [
        *of_deployments(_out(links)),
        Value(delivered.or_none(delivered.promotions(RANGE)), "Promotions", "short", decimals=0),
        Value(delivered.or_none(delivered.rollbacks(RANGE)), "Rollbacks", "short", decimals=0),
        Value(
            delivered.failure_rate(RANGE, each=True),
            "Change failure rate",
            "percentunit",
            meanings.CHANGE_FAILURES,
            decimals=1,
        ),
        Value(delivered.time_to_restore(each=True), "Time to restore", "s", meanings.OUTAGE),
    ]
    return table_of(words, columns, sort="Promotions").max_data_points(2000)


def _out(links: Links) -> list[ways.Way]:
    return list(ways.of_deployment(links, ways.ROW, here=uids.DELIVERY))


def live(links: Links) -> Any:
    """The model and version of each deployment."""
    words = Words(
        "Models and versions live",
        "By environment, the model and version that each deployment's latest completed run bound "
        "with `bind(model=..., version=...)`. A version that is not the one you expect: its "
        "promotion failed or was rolled back, see the table above. Empty where nothing is bound.",
    )
    info = by("max", series(signals.DEPLOYMENT_INFO), *OF_RUN, signals.MODEL_NAME, _VERSION)
    done = by("max", series(signals.LAST_SUCCESS), *OF_RUN)
    since = f"{info} * on ({shared.PAIR}) group_left () ({done} * 1000)"
    columns = [
        *of_deployments(_out(links)),
        Label(signals.MODEL_NAME, "Model"),
        Label(_VERSION, "Version"),
        Value(since, "Completed", "dateTimeFromNow"),
    ]
    return table_of(words, columns, sort="Completed")


_VERSION = signals.MODEL_VERSION


def broken(links: Links) -> Any:
    """The deployments whose latest run failed, and for how long."""
    words = Words(
        "Broken now",
        "Deployments whose latest ended run failed, and the time since their last success; of "
        "one that never succeeded, since that run. Empty when all is well. Begin with those that "
        "are red, which have been broken for a day: their status pages have their last words.",
    )
    columns = [
        *of_deployments(_out(links)),
        Value(delivered.failing_since(), "For", "s", meanings.BROKEN),
    ]
    return table_of(words, columns, sort="For")


def lead_time() -> Any:
    """How lead time could be had."""
    words = Words(
        "Lead time for changes",
        "Why there is no figure of it, and how each release can say its own.",
    )
    return panels.words_only(words, _LEAD_TIME.strip())
