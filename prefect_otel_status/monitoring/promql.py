"""Selectors in PromQL that can only name metrics and labels which `signals` declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prefect_otel_status.signals import Attribute, Kind, Metric

Operator = Literal["=", "!=", "=~", "!~"]
Part = Literal["", "bucket", "sum", "count"]

JOB = "prefect-otel-bridge"
"""The `job` under which Prometheus scrapes the bridge; every rule and panel selects it."""


@dataclass(frozen=True)
class Match:
    """One matcher: a label, an operator and a value (of `=~` and `!~` a regular expression)."""

    label: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.operator}"{value}"'


def equals(attribute: Attribute, value: str) -> Match:
    """ATTRIBUTE is VALUE."""
    return Match(attribute.label, "=", value)


def matches(attribute: Attribute, expression: str) -> Match:
    """ATTRIBUTE matches the regular EXPRESSION, from its beginning to its end."""
    return Match(attribute.label, "=~", expression)


def differs(attribute: Attribute, value: str) -> Match:
    """ATTRIBUTE is not VALUE."""
    return Match(attribute.label, "!=", value)


THIS_JOB = Match("job", "=", JOB)


def select(
    metric: Metric, *matchers: Match, part: Part = "", job: Match = THIS_JOB, window: str = ""
) -> str:
    """The selector of METRIC, or of one PART of a histogram, with MATCHERS and of one JOB.

    With a WINDOW, such as `5m`, it is a range. Raises `ValueError` where METRIC
    has no such label or no such part.
    """
    if bool(part) is not (metric.kind is Kind.HISTOGRAM):
        raise ValueError(f"{metric.name} is a {metric.kind.value}: it has no part {part!r}.")
    unknown = {match.label for match in matchers} - {*metric.label_names, "le"}
    if unknown:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}.")
    name = metric.prometheus_name + (f"_{part}" if part else "")
    inside = ", ".join(map(str, (job, *matchers)))
    return f"{name}{{{inside}}}" + (f"[{window}]" if window else "")


def labels(*attributes: Attribute) -> str:
    """ATTRIBUTES as a list for `by (...)` and `on (...)`."""
    return ", ".join(attribute.label for attribute in attributes)
