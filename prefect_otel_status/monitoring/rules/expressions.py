"""Pieces of PromQL that many rules are made of.

A failed scrape marks all series of the bridge as gone until the next one. So
no rule looks at a bare gauge: `latest` looks back over several scrapes.
"""

from __future__ import annotations

from prefect_otel_status.monitoring.promql import Match, Part, equals, labels, select
from prefect_otel_status.signals import (
    DEPLOYMENT,
    ENVIRONMENT,
    PIPELINE_NAME,
    RUN_ACTIVE,
    RUN_STATE,
    Metric,
)

DEPLOYMENT_KEY = labels(PIPELINE_NAME, DEPLOYMENT)
"""What names a deployment. Its runs may be in several environments."""

OF_DEPLOYMENT = labels(PIPELINE_NAME, DEPLOYMENT, ENVIRONMENT)
"""The labels of every alert about a deployment, and no others."""

BAD_RESULTS = "failure|error|timeout"
"""A cancelled or skipped run is neither bad nor good."""

RECENT = "2m"
"""Some scrapes: longer than a restart or a takeover of the bridge takes."""

LASTING = "10m"
"""For what stays true while the bridge is away, such as how the last run ended."""


def latest(
    metric: Metric, *matchers: Match, part: Part = "", window: str = RECENT, ago: str = ""
) -> str:
    """The latest value within WINDOW, now or some time AGO, also where the last scrape failed."""
    samples = select(metric, *matchers, part=part, window=window)
    return f"last_over_time({samples} offset {ago})" if ago else f"last_over_time({samples})"


def increase(metric: Metric, *matchers: Match, window: str, part: Part = "") -> str:
    """By how much a counter went up within WINDOW."""
    return f"increase({select(metric, *matchers, part=part, window=window)})"


def sum_by(by: str, expression: str) -> str:
    """The sum of EXPRESSION by the labels BY."""
    return f"sum by ({by}) ({expression})"


def max_by(by: str, expression: str) -> str:
    """The greatest of EXPRESSION by the labels BY."""
    return f"max by ({by}) ({expression})"


def min_by(by: str, expression: str) -> str:
    """The least of EXPRESSION by the labels BY."""
    return f"min by ({by}) ({expression})"


def executing(by: str) -> str:
    """How many runs execute now: a run that is paused waits for a person, and is not among them."""
    return sum_by(by, latest(RUN_ACTIVE, equals(RUN_STATE, "executing")))
