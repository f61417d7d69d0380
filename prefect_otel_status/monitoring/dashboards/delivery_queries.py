"""What promotions, rollbacks and repairs are in the signals: the PromQL of the delivery panels."""

from __future__ import annotations

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards.queries import (
    ERRORS,
    FAILING,
    NOT_FAILING,
    OF_RUN,
    RANGE,
    STEP,
    SUCCESS,
    by,
    increase,
    last_run,
    series,
)
from prefect_otel_status.monitoring.promql import equals, matches

PROMOTE = "promote"
ROLLBACK = "rollback"
"""The stages by whose names promotions and rollbacks are known."""


def promotions(window: str) -> str:
    """Promotions within WINDOW, each once however much it says.

    The stage's end is what is counted. A deployment that never has such a stage
    and only says messages of it has as many as its most frequent template.
    """
    closed = _closed(PROMOTE, window, result=SUCCESS)
    said = increase(signals.MESSAGES, equals(signals.STAGE, PROMOTE), window=window)
    each = by("sum", said, *OF_RUN, signals.TEMPLATE)
    return f"({closed}) or ({by('max', each, *OF_RUN)})"


def rollbacks(window: str) -> str:
    """Rollbacks within WINDOW: ends of the stage, or its messages of level error if those are more.

    A rollback says one error. After a crash, a hook says it without a stage.
    """
    closed = _closed(ROLLBACK, window)
    said = increase(
        signals.MESSAGES,
        equals(signals.STAGE, ROLLBACK),
        matches(signals.LEVEL, ERRORS),
        window=window,
    )
    errors = by("sum", said, *OF_RUN)
    return f"(({closed}) > ({errors})) or ({errors}) or ({closed})"


def _closed(stage: str, window: str, *, result: str = "") -> str:
    matchers = (equals(signals.STAGE, stage), *([equals(signals.RESULT, result)] if result else []))
    ends = increase(signals.STAGE_DURATION, *matchers, part="count", window=window)
    return by("sum", ends, *OF_RUN)


def or_none(expression: str) -> str:
    """EXPRESSION, and 0 for each known deployment that it says nothing of."""
    return f"({expression}) or {by('max', series(signals.RUN_ACTIVE), *OF_RUN)} * 0"


def failure_rate(window: str, *, each: bool = False) -> str:
    """The share of rollbacks in all changes within WINDOW, of EACH deployment or of all."""
    went_back, went_live = or_none(rollbacks(window)), or_none(promotions(window))
    if not each:
        return f"sum({went_back}) / (sum({went_back}) + sum({went_live}) > 0)"
    return f"({went_back}) / (({went_back}) + ({went_live}) > 0)"


def frequency(window: str) -> str:
    """Promotions a day within the range that is shown."""
    return f"sum({or_none(promotions(window))}) / ($__range_s / 86400)"


def failing() -> str:
    """1 while the latest run of a deployment is a failed one, else 0."""
    return by("max", f"({last_run(FAILING)} * 0 + 1) or ({last_run(NOT_FAILING)} * 0)", *OF_RUN)


def time_to_restore(*, each: bool = False) -> str:
    """Seconds with a failed latest run for each time that a good one ended it.

    Looked at once in `STEP`: `resets` counts the falls from 1 to 0, which are
    the repairs. An outage that is not over adds its seconds and no repair.
    """
    history = f"({failing()})[{RANGE}:{STEP}]"
    seconds = f"sum_over_time({history}) * $__interval_ms / 1000"
    repairs = f"resets({history})"
    if each:
        return f"{seconds} / ({repairs} > 0)"
    return f"sum({seconds}) / (sum({repairs}) > 0)"


def failing_since() -> str:
    """Seconds since the last success of deployments whose latest run failed.

    Of one that never succeeded, since that latest run.
    """
    failed = by("max", last_run(FAILING), *OF_RUN)
    succeeded = by("max", series(signals.LAST_SUCCESS), *OF_RUN)
    return f"time() - (({succeeded} and {failed}) or {failed})"
