"""Status messages: what the runs say, how much of it, and what is wrong in it."""

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
    OF_RUN,
    RANGE,
    RATE,
    WINDOW,
    ago,
    by,
    increase,
    quantile,
    series,
    top,
)
from prefect_otel_status.monitoring.dashboards.tables import Label, Value, of_deployments, table_of
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import equals, labels, matches
from prefect_otel_status.signals import Attribute

OF_STAGE = (*OF_RUN, signals.STAGE)
OF_GATE = (*OF_RUN, signals.GATE)
SAID = (signals.TEMPLATE, signals.STAGE, signals.LEVEL)
ERROR = matches(signals.LEVEL, queries.ERRORS)
MANY = 50
"""As many rows a table of templates has."""


def statuses(links: Links) -> model.Dashboard:
    """The dashboard."""
    frame = Frame(
        uids.STATUSES,
        "Prefect: status messages",
        "What the runs say: how much, what is new, what went wrong, and who is silent.",
        variables.usual(variables.Choice()),
        since="now-6h",
    )
    messages = [by_level(), by_stage(), top_templates(), new_templates()]
    errors = [error_messages(links), last_errors(links)]
    rows = [
        Row("Messages", [Placed(panel, 12, 9) for panel in messages]),
        Row("Errors", [Placed(panel, 12, 9) for panel in errors]),
        Row("Under way", [Placed(progress(links), 12, 9), Placed(silent(links), 12, 9)]),
        Row("Stages", [Placed(stage_durations(links), 12, 10), Placed(stages(links), 12, 10)]),
        Row("Gates", [Placed(gate_scores(links), 12, 9), Placed(gates(links), 12, 9)]),
    ]
    return dashboard(frame, rows)


def _legend(attribute: Attribute) -> str:
    return f"{{{{{attribute.label}}}}}"


# --- messages ------------------------------------------------------------------
def by_level() -> Any:
    """Messages a minute by level."""
    words = Words(
        "Messages by level",
        "Status messages a minute by level. When the red of `error` and `critical` grows, the "
        "panels of errors below say who says what. When all of it stops while runs are active, see "
        "the silence below and then the dashboard of the bridge.",
    )
    rate = by("sum", f"rate({series(signals.MESSAGES, window=RATE)})", signals.LEVEL)
    line = Line(f"{rate} * 60", _legend(signals.LEVEL))
    panel = panels.stacked(words, Look("cpm", low=0), line)
    return panels.colored(panel, {level: color for level, (_, color) in meanings.LEVELS.items()})


def by_stage() -> Any:
    """Messages a minute by stage."""
    words = Words(
        "Messages by stage",
        f"Status messages a minute by stage, the {shared.SHOWN} stages that say most; those "
        "without a stage have no name. A stage that says hundreds a minute could use `track`, "
        "which says at most one a second.",
    )

    def query(at: str) -> str:
        rate = f"rate({series(signals.MESSAGES, window=RATE)}{at})"
        return f"{by('sum', rate, signals.STAGE)} * 60"

    def rank(at: str) -> str:
        return by("sum", increase(signals.MESSAGES, window=RANGE, at=at), signals.STAGE)

    line = Line(top(shared.SHOWN, query, signals.STAGE, rank=rank), _legend(signals.STAGE))
    return panels.stacked(words, Look("cpm", low=0), line)


def top_templates() -> Any:
    """What is said most."""
    words = Words(
        "Top templates",
        f"The {MANY} templates that were said most within the shown time: the message before its "
        "values were filled in. Read those first whose level is red. "
        f"`{signals.OTHER}` stands for those beyond the budget of labels: when it is among the "
        "first, a template is made of values, and `prefect-otel-status lint` finds it.",
    )
    count = by("sum", increase(signals.MESSAGES, window=RANGE), *SAID)
    value = Value(f"topk({MANY}, {count}) > 0", "Messages", "short", decimals=0, width=110)
    return table_of(words, [*_said(), value], sort="Messages")


def _said() -> list[Label]:
    return [
        Label(signals.TEMPLATE, "Template"),
        Label(signals.STAGE, "Stage", width=130),
        Label(signals.LEVEL, "Level", names=meanings.LEVELS, width=90),
    ]


def new_templates() -> Any:
    """What was said for the first time."""
    words = Words(
        "New templates",
        "Templates that were said within the shown time and not on the day before it. After a "
        "release they are what the release says anew; without one, a red message that nobody has "
        "seen before is worth reading. All are new while there is no older data.",
    )
    count = by("sum", increase(signals.MESSAGES, window=RANGE), *SAID)
    # Over a day, because a bridge that was down just then would make everything new.
    before = f"last_over_time({series(signals.MESSAGES, window='1d')} offset {RANGE})"
    expression = f"topk({MANY}, ({count} > 0) unless {by('sum', before, *SAID)})"
    value = Value(expression, "Messages", "short", decimals=0, width=110)
    return table_of(words, [*_said(), value], sort="Messages")


# --- errors --------------------------------------------------------------------
def error_messages(links: Links) -> Any:
    """How often errors are said."""
    words = Words(
        "Error messages",
        "Status messages of level error and critical, by template, in each interval; the "
        f"{shared.SHOWN} most frequent. Empty when nobody says an error. Click on a bar for the "
        "spans on which it was said.",
    )

    def query(at: str) -> str:
        return by("sum", increase(signals.MESSAGES, ERROR, window=RATE, at=at), signals.TEMPLATE)

    def rank(at: str) -> str:
        return by("sum", increase(signals.MESSAGES, ERROR, window=RANGE, at=at), signals.TEMPLATE)

    expression = f"{top(shared.SHOWN, query, signals.TEMPLATE, rank=rank)} > 0"
    look = Look("short", low=0, decimals=0)
    line = Line(expression, _legend(signals.TEMPLATE))
    return panels.bars(words, look, line, ways=ways.to_traces_of_message(links))


def last_errors(links: Links) -> Any:
    """The deployments whose last words are an error."""
    words = Words(
        "Last words that are errors",
        "Deployments whose latest status message is an error, with its template. Empty when there "
        "is none. For each red one, click on the deployment for its status page, which has the "
        "message in full, and for its traces.",
    )
    said = by("max", series(signals.LAST_STATUS, ERROR), *OF_RUN, *SAID) + " * 1000"
    columns = [
        *of_deployments(_out(links)),
        Label(signals.TEMPLATE, "Template"),
        Label(signals.STAGE, "Stage"),
        Label(signals.LEVEL, "Level", names=meanings.LEVELS, width=90),
        Value(said, "Said", "dateTimeFromNow"),
    ]
    return table_of(words, columns, sort="Said")


def _out(links: Links) -> list[ways.Way]:
    return list(ways.of_deployment(links, ways.ROW, here=uids.STATUSES))


# --- under way -----------------------------------------------------------------
def progress(links: Links) -> Any:
    """How far the active runs are."""
    words = Words(
        "Progress of what is running",
        "How far the active runs are that tell their progress, by `track` or `progress=`; of each "
        "deployment and stage the run that spoke last, at most twenty. Empty while nothing that "
        "tells its progress runs. A bar that stands still: see the silence beside it.",
    )
    done = by("max", series(signals.PROGRESS_RATIO), *OF_STAGE)
    line = Line(f"topk(20, {done})", f"{shared.OF_DEPLOYMENT} {_legend(signals.STAGE)}")
    look = Look("percentunit", low=0, high=1, decimals=0)
    return panels.gauges(words, look, line, ways=ways.of_deployment(links, ways.LINE, here=""))


def silent(links: Links) -> Any:
    """A row for each deployment that has active runs which have spoken."""
    words = Words(
        "Silence by deployment",
        "Deployments with active runs, and the time since the last status of the most silent of "
        "them, with what the deployment said last. Empty while nothing runs. When it is red, the "
        "run may hang: its status page has its last words, its trace the open stage.",
    )
    running = by("max", series(signals.LAST_MESSAGE), *OF_RUN)
    said = ago(signals.LAST_STATUS, *OF_RUN, signals.TEMPLATE)
    said = f"{said} and on ({labels(*OF_RUN)}) {running}"
    columns = [
        *of_deployments(_out(links)),
        Value(queries.silence(), "Silence", "s", meanings.SILENCE),
        Label(signals.TEMPLATE, "Last status"),
        Value(said, "Said", "dateTimeFromNow"),
    ]
    return table_of(words, columns, sort="Silence")


# --- stages --------------------------------------------------------------------
def stage_durations(links: Links) -> Any:
    """How long the slowest stages take."""
    words = Words(
        "Stage duration, p95",
        f"95 % of a stage's passes within the window took at most this long; the {shared.SHOWN} "
        "slowest. When a curve jumps, look at the traces of before and after: the stage is a span, "
        "and what it waits for is below it.",
    )

    def query(at: str) -> str:
        return quantile(0.95, signals.STAGE_DURATION, *OF_STAGE, window=WINDOW, at=at)

    legend = f"{shared.OF_DEPLOYMENT} {_legend(signals.STAGE)}"
    line = Line(top(shared.SHOWN, query, *OF_STAGE), legend)
    out = ways.to_traces(links, ways.LINE)
    return panels.over_window(words, Look("s", low=0), line, exemplars=True, ways=out)


def stages(links: Links) -> Any:
    """A row for each stage of each deployment."""
    words = Words(
        "Stages",
        "Each stage within the shown time: how often it was passed, how long it took, and how "
        "often an exception ended it. When failures are red, the traces of the deployment show the "
        "exception on the stage's span.",
    )
    failed = increase(
        signals.STAGE_DURATION, equals(signals.RESULT, "failure"), part="count", window=RANGE
    )
    passed = increase(signals.STAGE_DURATION, part="count", window=RANGE)
    columns = [
        *of_deployments(_out(links)),
        Label(signals.STAGE, "Stage"),
        Value(by("sum", passed, *OF_STAGE), "Passes", "short", decimals=0, width=80),
        Value(_stage_duration(0.5), "p50", "s", width=90),
        Value(_stage_duration(0.95), "p95", "s", width=90),
        Value(by("sum", failed, *OF_STAGE), "Failures", "short", meanings.ANY, decimals=0),
    ]
    return table_of(words, columns, sort="p95")


def _stage_duration(q: float) -> str:
    return quantile(q, signals.STAGE_DURATION, *OF_STAGE, window=RANGE)


# --- gates ---------------------------------------------------------------------
def gate_scores(links: Links) -> Any:
    """The scores at gates over time."""
    words = Words(
        "Gate scores",
        "The latest score at each evaluation gate over time; the "
        f"{shared.SHOWN} lowest. When a score falls, the marks show whether a promotion came "
        "before. Click on a curve for the traces, which have the threshold too.",
    )

    def query(at: str) -> str:
        return by("min", series(signals.GATE_SCORE_VALUE) + at, *OF_GATE)

    legend = f"{shared.OF_DEPLOYMENT} {_legend(signals.GATE)}"
    line = Line(top(shared.SHOWN, query, *OF_GATE, of="bottomk"), legend)
    return panels.curves(words, Look("short"), line, ways=ways.to_traces(links, ways.LINE))


def gates(links: Links) -> Any:
    """A row for each gate of each deployment."""
    words = Words(
        "Gates",
        "Each evaluation gate: its latest score, the threshold that it was judged against, and how "
        "often it let a model pass or refused it within the shown time. When refusals are red, the "
        "message `Gate … failed` on the trace has the score that missed.",
    )
    columns = [
        *of_deployments(_out(links)),
        Label(signals.GATE, "Gate"),
        Value(by("min", series(signals.GATE_SCORE_VALUE), *OF_GATE), "Score", "short", decimals=3),
        Value(
            by("max", series(signals.GATE_THRESHOLD_VALUE), *OF_GATE),
            "Threshold",
            "short",
            decimals=3,
        ),
        Value(_decided("pass"), "Passed", "short", decimals=0, width=80),
        Value(_decided("fail"), "Refused", "short", meanings.ANY, decimals=0, width=80),
    ]
    return table_of(words, columns, sort="Refused")


def _decided(decision: str) -> str:
    results = increase(signals.GATE_RESULTS, equals(signals.DECISION, decision), window=RANGE)
    return by("sum", results, *OF_GATE)
