"""What the bridge shows of one deployment, from a few words about its runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prefect_otel_status.model import ERROR_RESULTS
from prefect_otel_status.signals import (
    DEPLOYMENT,
    DURATION_BOUNDS,
    ENVIRONMENT,
    ERROR_TYPE,
    EXPECTED_INTERVAL,
    LAST_RUN,
    LAST_SUCCESS,
    PIPELINE_NAME,
    RESULT,
    RUN_ACTIVE,
    RUN_DURATION,
    RUN_ERRORS,
    RUN_STATE,
    RUNS_LATE,
    STAGE,
    STAGE_DURATION,
    Attribute,
    Metric,
)
from tests.monitoring.rules.series import Series, Value, counted, flat

MINUTE = 60.0
NONE = flat(0)
BOUNDS = (*(f"{bound!r}" for bound in DURATION_BOUNDS), "+Inf")


@dataclass(frozen=True)
class Run:
    """A run that ended at a MINUTE. One that the store is too young for was not COUNTED."""

    minute: float
    result: str = "success"
    counted: bool = True


def runs(*minutes: float, result: str = "success") -> tuple[Run, ...]:
    """Runs that ended with RESULT at MINUTES."""
    return tuple(Run(minute, result) for minute in minutes)


@dataclass(frozen=True)
class Deployment:
    """A deployment, by the labels of its series."""

    flow: str = "deploy-model"
    name: str = "nightly"
    environment: str = "production"

    @property
    def labels(self) -> dict[Attribute, str]:
        return {PIPELINE_NAME: self.flow, DEPLOYMENT: self.name, ENVIRONMENT: self.environment}

    def one(self, metric: Metric, value: Value, more: dict[Attribute, str] | None = None) -> Series:
        """A series of METRIC."""
        return Series(metric, value, {**self.labels, **(more or {})})

    def ended(self, *ended: Run) -> tuple[Series, ...]:
        """All that follows from runs that ENDED; their durations are 45 s."""
        good = [run.minute for run in ended if run.result == "success" and run.counted]
        bad = [run.minute for run in ended if run.result in ERROR_RESULTS and run.counted]
        return (
            *self.idle(),
            self.one(RUN_ERRORS, counted(bad), {ERROR_TYPE: "ValueError"}),
            *self.took(45, good),
            *(self.one(LAST_RUN, _last(ended, result), {RESULT: result}) for result in _RESULTS),
            self.one(LAST_SUCCESS, _last([run for run in ended if run.result == "success"])),
        )

    def took(self, seconds: float, minutes: Iterable[float]) -> tuple[Series, ...]:
        """Runs that succeeded at MINUTES after so many SECONDS."""
        more = {RUN_STATE: "executing", RESULT: "success"}
        return _histogram(RUN_DURATION, {**self.labels, **more}, seconds, minutes)

    def stage_took(self, stage: str, seconds: float, *minutes: float) -> tuple[Series, ...]:
        """STAGE of some runs succeeded at MINUTES after so many SECONDS."""
        more = {STAGE: stage, RESULT: "success"}
        return _histogram(STAGE_DURATION, {**self.labels, **more}, seconds, minutes)

    def idle(self) -> tuple[Series, ...]:
        """What the bridge shows of every deployment that it knows."""
        return (*self.active(), self.one(RUNS_LATE, NONE))

    def active(self, executing: Value = NONE, pending: Value = NONE) -> tuple[Series, ...]:
        """How many of its runs are active."""
        values = {"executing": executing, "pending": pending, "finalizing": NONE}
        return tuple(
            self.one(RUN_ACTIVE, value, {RUN_STATE: state}) for state, value in values.items()
        )

    def scheduled(self, interval: Value) -> Series:
        """It is due again within INTERVAL, in minutes; without one it is paused."""
        labels = {PIPELINE_NAME: self.flow, DEPLOYMENT: self.name}
        return Series(EXPECTED_INTERVAL, _in_seconds(interval), labels)


_RESULTS = ("success", "failure", "error", "timeout", "cancellation", "skip")


def _last(ended: Iterable[Run], result: str = "") -> Value:
    """When the latest of the runs that ENDED did, in seconds; None where RESULT was not its own."""
    known = tuple(ended)

    def value(minute: float) -> float | None:
        latest = max((run for run in known if run.minute <= minute), key=_minute, default=None)
        return latest.minute * MINUTE if latest and result in ("", latest.result) else None

    return value


def _minute(run: Run) -> float:
    return run.minute


def _in_seconds(minutes: Value) -> Value:
    def value(minute: float) -> float | None:
        found = minutes(minute)
        return None if found is None else found * MINUTE

    return value


def _histogram(
    metric: Metric, labels: dict[Attribute, str], seconds: float, minutes: Iterable[float]
) -> tuple[Series, ...]:
    steps = tuple(minutes)
    buckets = (
        Series(metric, counted(steps if seconds <= float(bound) else ()), labels, bound)
        for bound in BOUNDS
    )
    return (*buckets, Series(metric, counted(steps), labels, "count"))
