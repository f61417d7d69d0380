"""What an expression names that does not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import promql_parser

from prefect_otel_status.signals import Attribute, Kind, Metric, declared

PROMETHEUS_OWN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
"""What Prometheus has beside what it scraped."""


def unknown_in(expression: str, *, records: Collection[str]) -> list[str]:
    """Metrics and labels of EXPRESSION that neither `signals` nor RECORDS have.

    What was scraped must be selected by its job. Raises `ValueError` for what
    is no PromQL.
    """
    nodes = list(_walk(promql_parser.parse(expression)))
    selectors = [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]
    found = [problem for one in selectors for problem in _of_selector(one, records)]
    return found + sorted({label for node in nodes for label in _grouped(node)} - LABELS)


def _of_selector(selector: Any, records: Collection[str]) -> Iterator[str]:
    matchers = {matcher.name for matcher in selector.matchers.matchers}
    if selector.name in records:
        yield from sorted(matchers - LABELS)
    elif selector.name in PROMETHEUS_OWN:
        yield from sorted(matchers - PROMETHEUS_OWN[selector.name])
    elif selector.name in METRICS:
        yield from sorted(matchers - METRICS[selector.name])
        yield from () if "job" in matchers else (f"{selector.name} without a job",)
    else:
        yield selector.name


def _metrics() -> dict[str, set[str]]:
    """The names that Prometheus has of each metric, with the labels."""
    found = {}
    for metric in declared(Metric):
        assert isinstance(metric, Metric)
        parts = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        for part in parts:
            found[metric.prometheus_name + part] = {*metric.label_names, "job", "instance"}
    return found


METRICS = _metrics()
LABELS = {a.label for a in declared(Attribute) if isinstance(a, Attribute)} | {"job", "le"}


def _walk(expression: Any) -> Iterator[Any]:
    """EXPRESSION and everything in it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from _walk(inner)
    for argument in getattr(expression, "args", None) or ():
        yield from _walk(argument)


def _grouped(node: Any) -> set[str]:
    """The labels by which NODE groups or matches."""
    modifier = getattr(node, "modifier", None)
    matching = getattr(modifier, "matching", None)
    by = getattr(matching or modifier, "labels", None) or ()
    return {*by, *(getattr(modifier, "group_labels", None) or ())}
