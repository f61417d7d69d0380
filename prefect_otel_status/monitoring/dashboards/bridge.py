"""The bridge: whether it keeps up, and whether anything is lost on its way."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import meanings, panels, uids, variables
from prefect_otel_status.monitoring.dashboards.frame import Frame, Placed, Row, dashboard
from prefect_otel_status.monitoring.dashboards.panels import Line, Look, Words
from prefect_otel_status.monitoring.dashboards.queries import (
    CHOSEN_JOB,
    RANGE,
    RATE,
    by,
    increase,
    series,
)
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.signals import Attribute, Metric


def bridge(links: Links) -> model.Dashboard:
    """The dashboard."""
    frame = Frame(
        uids.BRIDGE,
        "Prefect: the bridge",
        "Whether the bridge keeps up with Prefect, and whether anything is lost on its way.",
        variables.usual(variables.Choice(deployments=False, window=False)),
        since="now-6h",
    )
    numbers = [up(links), lag(), websocket(), outbox_age(), set_aside(), store_size()]
    read = [lag_over_time(), events(), missed(), gaps(), bad_events(), history_gap()]
    sent = [outbox(), outbox_size(), outbox_age_over_time(), exports(), spans(), drops()]
    kept = [overflow(), redactions(), store_over_time()]
    rows = [
        Row("Now", [Placed(panel, 4, 4) for panel in numbers]),
        Row("What it reads", [Placed(panel, 8, 8) for panel in read]),
        Row("What it sends", [Placed(panel, 8, 8) for panel in sent]),
        Row("What it keeps", [Placed(panel, 8, 8) for panel in kept]),
    ]
    return dashboard(frame, rows)


def _rate(metric: Metric, *attributes: Attribute) -> str:
    return by("sum", f"rate({series(metric, window=RATE)})", *attributes)


def _in_each_interval(metric: Metric, *attributes: Attribute) -> Line:
    # Only what there was: these are empty when all is well.
    legend = " ".join(f"{{{{{attribute.label}}}}}" for attribute in attributes)
    return Line(f"{by('sum', increase(metric, window=RATE), *attributes)} > 0", legend)


# --- now -----------------------------------------------------------------------
def up(links: Links) -> Any:
    """Whether Prometheus reaches it."""
    words = Words(
        "Scraped",
        "Bridges that Prometheus reaches. With two of them one is a standby, and is scraped too. "
        f"When it is red, no figure on any dashboard is fresh: ask {links.bridge}/readyz and read "
        "the bridge's log.",
    )
    look = Look("short", {0: panels.RED, 1: panels.GREEN}, decimals=0)
    return panels.number(words, look, f"sum(up{{{CHOSEN_JOB}}})")


def lag() -> Any:
    """How old its knowledge is."""
    words = Words(
        "Lag",
        "Time since the last complete sweep of Prefect's history; some seconds are usual. When it "
        "is red, the server does not answer or the bridge does not keep up: its log says which.",
    )
    look = Look("s", {30: panels.YELLOW, 120: panels.RED})
    return panels.number(words, look, f"max({series(signals.BRIDGE_LAG)})")


def websocket() -> Any:
    """Whether it hears events at once."""
    words = Words(
        "Websocket",
        "1 while the websocket to Prefect is connected. When it is yellow nothing is lost: "
        "statuses show after the next sweep, some seconds later. A proxy in between may not let "
        "websockets through.",
    )
    look = Look("short", {0: panels.YELLOW, 1: panels.GREEN}, decimals=0)
    return panels.number(words, look, f"max({series(signals.BRIDGE_CONNECTED)})")


def outbox_age() -> Any:
    """For how long the oldest waits for its export."""
    words = Words(
        "Oldest in the outbox",
        "Age of the oldest span or log event that waits for the receiver's confirmation. When it "
        "is red, the receiver is down or refuses: see the exports by outcome.",
    )
    look = Look("s", {60: panels.YELLOW, 600: panels.RED})
    return panels.number(words, look, f"max({series(signals.BRIDGE_OUTBOX_AGE)})")


def set_aside() -> Any:
    """What the receiver refused."""
    words = Words(
        "Set aside",
        "Spans and log events that the receiver refused for good; they are kept, and not sent "
        "again by themselves. When it is red, `prefect-otel-status bridge --set-aside` "
        "says why, and `--set-aside --release` tries them again.",
    )
    look = Look("short", meanings.ANY, decimals=0)
    return panels.number(words, look, f"sum({series(signals.BRIDGE_SET_ASIDE)})")


def store_size() -> Any:
    """How large the store is."""
    words = Words(
        "Store",
        "Bytes of the bridge's store. It grows with the runs that are kept and with what waits for "
        "export. When the disk gets small, see the outbox first, then shorten the retention.",
    )
    return panels.number(words, Look("bytes"), f"sum({series(signals.BRIDGE_STORE_SIZE)})")


# --- what it reads -------------------------------------------------------------
def lag_over_time() -> Any:
    """The lag over time."""
    words = Words(
        "Lag over time",
        "Time since the last complete sweep. A saw of some seconds is usual. When it climbs above "
        "the red line, the server is slow or gone, or the bridge has too much to do.",
    )
    look = Look("s", {120: panels.RED}, low=0)
    return panels.curves(words, look, Line(f"max({series(signals.BRIDGE_LAG)})", "lag"))


def events() -> Any:
    """New events by the way on which they came."""
    words = Words(
        "Events by path",
        "New events of Prefect a second, by the way on which each first came: `websocket`, at "
        "once; `sweep`, within seconds; `reconcile`, when its run was read once more at its end. "
        "When all of it stops while runs go on, see the lag.",
    )
    legend = f"{{{{{signals.PATH.label}}}}}"
    line = Line(_rate(signals.BRIDGE_EVENTS, signals.PATH), legend)
    return panels.stacked(words, Look("cps", low=0), line)


def missed() -> Any:
    """What only the sweep found."""
    words = Words(
        "Only the sweep found",
        "Events a second that the websocket should have brought and did not. Nothing is lost; they "
        "came some seconds late. Much of it for long means that the server drops subscribers: see "
        "its load.",
    )
    line = Line(f"sum(rate({series(signals.BRIDGE_MISSED, window=RATE)}))", "missed")
    return panels.curves(words, Look("cps", low=0), line)


def gaps() -> Any:
    """Statuses that are missing by their numbers."""
    words = Words(
        "Missing statuses",
        "Status messages that are missing by their numbers, in each interval: later ones of the "
        "same run came, and they did not. Some of it after an outage of the server is usual. "
        "When it grows without one, processes cannot reach the server: see their "
        "`prefect_status_process_drops_total`.",
    )
    expression = f"sum({increase(signals.BRIDGE_GAPS, window=RATE)})"
    return panels.bars(words, Look("short", low=0, decimals=0), Line(expression, "missing"))


def bad_events() -> Any:
    """Events that could not be read."""
    words = Words(
        "Events that could not be read",
        "Events that the bridge passed over, by what was wrong, in each interval. Empty when all "
        "is well. When it reaches the red line, the server is probably newer than the bridge: "
        "upgrade the bridge.",
    )
    look = Look("short", meanings.ANY, low=0, decimals=0)
    line = _in_each_interval(signals.BRIDGE_BAD_EVENTS, signals.REASON)
    return panels.bars(words, look, line)


def history_gap() -> Any:
    """Time for which the server had no history any more."""
    words = Words(
        "History that was gone",
        "Time for which the server no longer had events when the bridge came back, within the "
        "shown time. The runs of then are drawn from their states; their tasks and statuses may "
        "be missing. When it is red, the bridge was away for longer than the server keeps its "
        "events: have the server keep them longer.",
    )
    expression = f"sum({increase(signals.BRIDGE_HISTORY_GAP, window=RANGE)})"
    return panels.number(words, Look("s", meanings.ANY), expression)


# --- what it sends -------------------------------------------------------------
def outbox() -> Any:
    """How much waits for its export."""
    words = Words(
        "Outbox",
        "Spans and log events that wait for the receiver's confirmation. When it climbs, the "
        "receiver is down or slower than what comes; nothing is lost before the outbox is full.",
    )
    line = Line(f"sum({series(signals.BRIDGE_OUTBOX_ITEMS)})", "waiting")
    return panels.curves(words, Look("short", low=0, decimals=0), line)


def outbox_size() -> Any:
    """How many bytes wait for their export."""
    words = Words(
        "Outbox, bytes",
        "Bytes of what waits. Above its cap the bridge drops detail first and the spans of runs "
        "last, and counts what it drops.",
    )
    line = Line(f"sum({series(signals.BRIDGE_OUTBOX_SIZE)})", "waiting")
    return panels.curves(words, Look("bytes", low=0), line)


def outbox_age_over_time() -> Any:
    """The age of the oldest over time."""
    words = Words(
        "Outbox, age",
        "Age of the oldest that waits. When it climbs to the red line, as fast as time goes by, "
        "nothing leaves: the receiver is down, or its address is wrong.",
    )
    look = Look("s", {600: panels.RED}, low=0)
    return panels.curves(words, look, Line(f"max({series(signals.BRIDGE_OUTBOX_AGE)})", "oldest"))


def exports() -> Any:
    """What became of exports."""
    words = Words(
        "Exports by outcome",
        "Spans and log events a second by what became of them: `delivered`; `partial`, of which "
        "the receiver refused some; `retried`, which are sent again; `set_aside`, which it refused "
        "for good. When there is more `retried` than `delivered`, look at the receiver.",
    )
    legend = f"{{{{{signals.OUTCOME.label}}}}}"
    line = Line(_rate(signals.BRIDGE_EXPORTS, signals.OUTCOME), legend)
    return panels.stacked(words, Look("cps", low=0), line)


def spans() -> Any:
    """The spans that it made."""
    words = Words(
        "Spans made",
        "Spans a second that the bridge made: of runs without this package, and of those whose "
        "process was killed. It needs no action.",
    )
    line = Line(f"sum(rate({series(signals.BRIDGE_SPANS, window=RATE)}))", "spans")
    return panels.curves(words, Look("cps", low=0), line)


def drops() -> Any:
    """What was dropped."""
    words = Words(
        "Dropped",
        "Spans and log events that were dropped, by reason, in each interval. Empty when all is "
        "well. When it reaches the red line, traces lack detail: bring the receiver back, or "
        "give the outbox more room.",
    )
    look = Look("short", meanings.ANY, low=0, decimals=0)
    return panels.bars(words, look, _in_each_interval(signals.BRIDGE_DROPS, signals.REASON))


# --- what it keeps -------------------------------------------------------------
def overflow() -> Any:
    """Label values beyond their budget."""
    words = Words(
        "Label values beyond their budget",
        f"Values that were counted under `{signals.OTHER}`, by metric, in each interval. Empty "
        "when all is well. When it reaches the red line, something that varies from run to run is "
        "a label: a template made of values, a stage with a number in it. `prefect-otel-status "
        "lint` finds most of them.",
    )
    look = Look("short", meanings.ANY, low=0, decimals=0)
    return panels.bars(words, look, _in_each_interval(signals.BRIDGE_OVERFLOW, signals.METRIC))


def redactions() -> Any:
    """Secrets that were taken out."""
    words = Words(
        "Redactions",
        "Secrets that were taken out of text, by kind, in each interval. Empty when there were "
        "none. They did not get out; but a flow that says them should not.",
    )
    look = Look("short", low=0, decimals=0)
    return panels.bars(words, look, _in_each_interval(signals.BRIDGE_REDACTIONS, signals.REASON))


def store_over_time() -> Any:
    """The store over time."""
    words = Words(
        "Store over time",
        "Bytes of the bridge's store. It should level off after the time for which runs are kept. "
        "When it does not, see the outbox, and whether the retention fits the disk.",
    )
    line = Line(f"sum({series(signals.BRIDGE_STORE_SIZE)})", "store")
    return panels.curves(words, Look("bytes", low=0), line)
