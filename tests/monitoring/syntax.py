"""PromQL, parsed: which metrics a query names, by which labels it groups them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import promql_parser

from prefect_otel_status.signals import Kind, Metric, declared

OF_DEPLOYMENT = frozenset(
    {"cicd_pipeline_name", "prefect_deployment_name", "deployment_environment_name"}
)
_TARGET = frozenset({"job", "instance"})
_OF_ALERTS = OF_DEPLOYMENT | {"alertname", "severity", "alertstate", "prefect_work_pool_name"}
_OTHERS = {
    "up": _TARGET,
    "ALERTS": _OF_ALERTS,
    "ALERTS_FOR_STATE": _OF_ALERTS,
    "deployment:prefect_status_objective:ratio": OF_DEPLOYMENT - {"deployment_environment_name"},
}
"""What is no signal of ours: Prometheus' own series, and what the recording rules make."""


def known_series() -> dict[str, frozenset[str]]:
    """The names under which Prometheus has our metrics, with their labels; and the others."""
    found: dict[str, frozenset[str]] = dict(_OTHERS)
    for metric in declared(Metric):
        assert isinstance(metric, Metric)
        labels = _TARGET | set(metric.label_names)
        if metric.kind is Kind.HISTOGRAM:
            found[f"{metric.prometheus_name}_bucket"] = labels | {"le"}
            found[f"{metric.prometheus_name}_count"] = labels
            found[f"{metric.prometheus_name}_sum"] = labels
        else:
            found[metric.prometheus_name] = labels
    return found


@dataclass
class Named:
    """What an expression names: selectors with the labels that they match, and groupings."""

    selectors: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: list[tuple[set[str], set[str]]] = field(default_factory=list)
    """Labels that are grouped by, each with the metrics that they are of."""

    def unknown(self, known: Mapping[str, frozenset[str]]) -> Iterator[str]:
        """The metrics and labels that are not KNOWN."""
        for metric, labels in self.selectors:
            for label in sorted(labels - known.get(metric, frozenset())):
                yield f"{metric}{{{label}}}"
            if metric not in known:
                yield metric
        for labels, metrics in self.grouped:
            has = set().union(*(known.get(metric, frozenset()) for metric in metrics))
            yield from (f"by ({label})" for label in sorted(labels - has))


def named(expression: str) -> Named:
    """What EXPRESSION names. Raises `ValueError` where it is no PromQL."""
    found = Named()
    _visit(promql_parser.parse(expression), found)
    return found


def _visit(node: Any, found: Named) -> set[str]:
    """Take NODE into FOUND; the metrics that are in it."""
    if isinstance(node, promql_parser.MatrixSelector):
        return _visit(node.vector_selector, found)
    if isinstance(node, promql_parser.VectorSelector):
        return _selector(node, found)
    metrics = set().union(*(_visit(child, found) for child in _children(node)))
    labels = _labels(node)
    if labels:
        found.grouped.append((labels, metrics))
    return metrics


def _selector(node: Any, found: Named) -> set[str]:
    found.selectors.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
    return {node.name}


def _children(node: Any) -> list[Any]:
    if isinstance(node, promql_parser.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql_parser.Call):
        return list(node.args)
    inner = getattr(node, "expr", None)
    return [] if inner is None else [inner]


def _labels(node: Any) -> set[str]:
    modifier = getattr(node, "modifier", None)
    if modifier is None:
        return set()
    matching = getattr(modifier, "matching", None)
    of_matching = matching.labels if matching else []
    of_group = getattr(modifier, "group_labels", None) or []
    return {*(getattr(modifier, "labels", None) or []), *of_matching, *of_group}
