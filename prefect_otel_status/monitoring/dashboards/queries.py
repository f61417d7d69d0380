"""The PromQL that several panels share, with Grafana's variables in it.

Windows: `RATE` follows the zoom: a step and one scrape more, so that no two
neighbouring steps miss what happened between their samples. It suits rates, and
counts in each step. A pipeline that runs twice a day has no quantile within it,
so what is about runs is taken over `WINDOW`, which the viewer chooses, or over
`RANGE`, all that is shown.
"""

from __future__ import annotations

from collections.abc import Callable

from prefect_otel_status import signals
from prefect_otel_status.monitoring.promql import (
    Match,
    Part,
    differs,
    equals,
    labels,
    matches,
    select,
)
from prefect_otel_status.signals import Attribute, Metric

RATE = "$__rate_interval"
WINDOW = "$window"
RANGE = "$__range"
STEP = "$__interval"

FAILED = "error|failure|timeout"
"""The results of a run that failed, as a regular expression."""

SUCCESS = "success"
ERRORS = "critical|error"
"""The levels of an error, as a regular expression."""

OF_RUN = (signals.PIPELINE_NAME, signals.DEPLOYMENT, signals.ENVIRONMENT)
CHOSEN_JOB = Match("job", "=~", "$job")
CHOSEN = (
    matches(signals.PIPELINE_NAME, "$flow"),
    matches(signals.DEPLOYMENT, "$deployment"),
    matches(signals.ENVIRONMENT, "$environment"),
)

Query = Callable[[str], str]
"""A query, with text that goes behind each of its selectors: none, or ` @ end()`."""


def series(metric: Metric, *matchers: Match, part: Part = "", window: str = "") -> str:
    """The selector of METRIC, of the chosen job and, as far as it has their labels, deployments."""
    chosen = tuple(match for match in CHOSEN if match.label in metric.label_names)
    return select(metric, *chosen, *matchers, part=part, job=CHOSEN_JOB, window=window)


def increase(metric: Metric, *matchers: Match, window: str, part: Part = "", at: str = "") -> str:
    """By how much METRIC, a counter or a PART of a histogram, rose within WINDOW."""
    return f"increase({series(metric, *matchers, part=part, window=window)}{at})"


def by(operator: str, expression: str, *attributes: Attribute) -> str:
    """EXPRESSION aggregated with OPERATOR, of which the labels ATTRIBUTES stay."""
    return f"{operator} by ({labels(*attributes)}) ({expression})"


def quantile(q: float, metric: Metric, *attributes: Attribute, window: str, at: str = "") -> str:
    """The quantile Q of a histogram over WINDOW. Nothing, not NaN, where nothing was measured."""
    rate = f"rate({series(metric, part='bucket', window=window)}{at})"
    return f"histogram_quantile({q:g}, sum by ({labels(*attributes, _LE)}) ({rate})) >= 0"


_LE = Attribute("le", "The upper bound of a histogram's bucket.")


def top(
    count: int, query: Query, *attributes: Attribute, rank: Query | None = None, of: str = "topk"
) -> str:
    """QUERY of the COUNT with the highest RANK at the end of the range; else of QUERY itself.

    `topk` alone picks anew at each step, and the legend would get a line for
    each that was ever picked.
    """
    ranked = f"{of}({count}, {(rank or query)(' @ end()')})"
    return f"(({query('')}) and on ({labels(*attributes)}) {ranked})"


def number_of(some: str, every: str) -> str:
    """How many SOME there are among EVERY series. 0 and not nothing where there are none."""
    return f"sum(({some} * 0 + 1) or ({every} * 0))"


# --- runs ----------------------------------------------------------------------
def success_ratio(window: str, *attributes: Attribute, at: str = "") -> str:
    """The share of the runs that ended with an answer within WINDOW and succeeded.

    Failures are those of the error counter: a run that crashed before it began
    has no duration. Cancelled and skipped runs are no answer.
    """
    good = increase(
        signals.RUN_DURATION, equals(signals.RESULT, SUCCESS), part="count", window=window, at=at
    )
    bad = increase(signals.RUN_ERRORS, window=window, at=at)
    return (
        f"sum by ({labels(*attributes)}) ({good} or {bad} * 0)"
        f" / (sum by ({labels(*attributes)}) ({good} or {bad}) > 0)"
    )


def objective(at: str = "") -> str:
    """The objective of each deployment, in each of its environments, from the recording rules."""
    recorded = _recorded("deployment:prefect_status_objective:ratio") + at
    each = by("max", f"{series(signals.RUN_ACTIVE)}{at}", *OF_RUN)
    pair = labels(signals.PIPELINE_NAME, signals.DEPLOYMENT)
    return f"{recorded} * on ({pair}) group_right () ({each} * 0 + 1)"


def _recorded(name: str) -> str:
    chosen = ", ".join(str(match) for match in CHOSEN[:2])
    return f"{name}{{{chosen}}}"


def above_objective(window: str, at: str = "") -> str:
    """By how much the success ratio is above its objective; below it is negative."""
    pair = labels(*OF_RUN)
    return f"({success_ratio(window, *OF_RUN, at=at)}) - on ({pair}) ({objective(at)})"


def last_run(*matchers: Match) -> str:
    """The end of the latest run of each deployment, if its result fits MATCHERS."""
    return series(signals.LAST_RUN, *matchers)


FAILING = matches(signals.RESULT, FAILED)
NOT_FAILING = Match(signals.RESULT.label, "!~", FAILED)


def run_health() -> str:
    """1 for a deployment whose latest run succeeded, 2 for one that failed, 3 for other ends."""
    good = last_run(equals(signals.RESULT, SUCCESS))
    other = last_run(NOT_FAILING, differs(signals.RESULT, SUCCESS))
    return by(
        "max", f"({good} * 0 + 1) or ({last_run(FAILING)} * 0 + 2) or ({other} * 0 + 3)", *OF_RUN
    )


def silence(at: str = "") -> str:
    """Seconds since the last status of a deployment's active runs; of the most silent of them."""
    return by("max", f"time() - {series(signals.LAST_MESSAGE)}{at}", *OF_RUN)


def ago(metric: Metric, *attributes: Attribute) -> str:
    """Milliseconds since 1970 of METRIC, as Grafana wants them to say how long ago that is."""
    return by("max", series(metric), *attributes) + " * 1000"
