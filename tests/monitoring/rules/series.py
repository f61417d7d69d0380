"""What Prometheus would have scraped of a bridge, in the notation of promtool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from prefect_otel_status.monitoring.promql import JOB, select
from prefect_otel_status.signals import Attribute, Metric

SCRAPED = {"job": JOB, "instance": JOB}
"""The labels that Prometheus puts on everything it scrapes of the bridge."""

Value = Callable[[float], "float | None"]
"""What is shown at a minute; None where the series is not shown."""

Window = tuple[float, float]
"""From one minute to another."""


@dataclass(frozen=True)
class Series:
    """One series of METRIC. `le` is the bound of a bucket, in seconds, or `count`."""

    metric: Metric
    value: Value
    labels: Mapping[Attribute, str] = field(default_factory=dict)
    le: str = ""

    @property
    def name(self) -> str:
        """The series as Prometheus names it. Raises for a label that the metric does not have."""
        assert set(self.labels) <= set(self.metric.labels), self
        part = "" if not self.le else "count" if self.le == "count" else "bucket"
        pairs = {**SCRAPED, **{a.label: v for a, v in self.labels.items() if v}}
        if part == "bucket":
            pairs["le"] = self.le
        inside = ", ".join(f'{label}="{value}"' for label, value in pairs.items())
        return f"{select(self.metric, part=part).partition('{')[0]}{{{inside}}}"


def flat(value: float) -> Value:
    """Always VALUE."""
    return lambda minute: value


def counted(minutes: Iterable[float]) -> Value:
    """A counter that goes up by one at each of MINUTES."""
    steps = tuple(minutes)
    return lambda minute: sum(step <= minute for step in steps)


def during(start: float, end: float, value: Value, otherwise: float | None = None) -> Value:
    """VALUE from START until before END, and OTHERWISE before and after."""
    return lambda minute: value(minute) if start <= minute < end else otherwise


def notation(series: Series, minutes: Sequence[float], away: Iterable[Window]) -> str:
    """SERIES as it was scraped at MINUTES; the scrapes within AWAY failed, or found nothing."""
    gaps = tuple(away)
    shown = [
        None if any(start <= minute < end for start, end in gaps) else series.value(minute)
        for minute in minutes
    ]
    return " ".join(_run(value, len(list(same))) for value, same in groupby(shown)).strip()


def _run(value: float | None, times: int) -> str:
    # Prometheus marks a series as stale with the first scrape that does not show it. A marker
    # where nothing was before does no harm.
    if value is None:
        return f"stale _x{times - 1}" if times > 1 else "stale"
    return f"{value:g}x{times - 1}" if times > 1 else f"{value:g}"
