"""How much of their error budget deployments spend: runs and errors over windows."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals, select
from prefect_otel_status.monitoring.rules.expressions import OF_DEPLOYMENT, increase, sum_by
from prefect_otel_status.monitoring.rules.rule import Group, Recording
from prefect_otel_status.signals import RESULT, RUN_DURATION, RUN_ERRORS

FAST = ("5m", "30m", "1h")
SLOW = ("2h", "6h", "1d", "3d")

_SUCCESS = equals(RESULT, "success")


def errors(window: str) -> str:
    """Name of the record: runs that ended badly."""
    return f"deployment:cicd_pipeline_run_errors:increase{window}"


def judged(window: str) -> str:
    """Name of the record: runs that ended well or badly."""
    return f"deployment:cicd_pipeline_run_judged:increase{window}"


def error_ratio(window: str) -> str:
    """Name of the record: the share of the latter that ended badly."""
    return f"deployment:cicd_pipeline_run_errors:ratio_increase{window}"


def success_ratio(window: str) -> str:
    """Name of the record: the share of them that ended well."""
    return f"deployment:cicd_pipeline_run_success:ratio_increase{window}"


def budget_groups() -> tuple[Group, Group]:
    """The records of all windows; the long ones, which read more, are evaluated less often."""
    fast = tuple(rule for window in FAST for rule in _records(window))
    slow = tuple(rule for window in SLOW for rule in _records(window))
    return Group("prefect-runs", (*fast, _rate())), Group("prefect-runs-slow", slow, "2m")


def _records(window: str) -> tuple[Recording, ...]:
    return _errors(window), _judged(window), _error_ratio(window), _success_ratio(window)


def _errors(window: str) -> Recording:
    return Recording(errors(window), sum_by(OF_DEPLOYMENT, increase(RUN_ERRORS, window=window)))


def _judged(window: str) -> Recording:
    good = increase(RUN_DURATION, _SUCCESS, part="count", window=window)
    return Recording(
        judged(window),
        cleandoc(f"""
            # Errors are counted for all runs, durations only for those that started. What was
            # cancelled or skipped is neither good nor bad.
            sum by ({OF_DEPLOYMENT}) (
              {good}
              or
              {errors(window)}
            )
        """),
    )


def _error_ratio(window: str) -> Recording:
    return Recording(
        error_ratio(window),
        cleandoc(f"""
            # A deployment whose runs never failed has no series of errors. One without runs in
            # this time has no ratio: no runs are neither good nor bad.
            ({errors(window)} or 0 * {judged(window)})
            /
            ({judged(window)} > 0)
        """),
    )


def _success_ratio(window: str) -> Recording:
    return Recording(success_ratio(window), f"1 - {error_ratio(window)}")


def _rate() -> Recording:
    ended = select(RUN_DURATION, part="count", window="5m")
    return Recording(
        "deployment:cicd_pipeline_run_duration_seconds_count:rate5m",
        sum_by(OF_DEPLOYMENT, f"rate({ended})"),
    )
