"""How evaluation gates decide, over windows."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals, labels
from prefect_otel_status.monitoring.rules.expressions import increase, sum_by
from prefect_otel_status.monitoring.rules.rule import Group, Recording
from prefect_otel_status.signals import (
    DECISION,
    DEPLOYMENT,
    ENVIRONMENT,
    GATE,
    GATE_RESULTS,
    PIPELINE_NAME,
)

WINDOWS = ("1h", "6h", "1d", "3d")
OF_GATE = labels(PIPELINE_NAME, DEPLOYMENT, ENVIRONMENT, GATE)


def decisions(window: str) -> str:
    """Name of the record: all decisions."""
    return f"gate:prefect_status_gate_results:increase{window}"


def refusals(window: str) -> str:
    """Name of the record: those that were `fail`."""
    return f"gate:prefect_status_gate_failures:increase{window}"


def refusal_ratio(window: str) -> str:
    """Name of the record: the share of them that were `fail`."""
    return f"gate:prefect_status_gate_failures:ratio_increase{window}"


def gates() -> Group:
    """The records of all windows."""
    rules = tuple(rule for window in WINDOWS for rule in _records(window))
    return Group("prefect-gates", rules, "1m")


def _records(window: str) -> tuple[Recording, ...]:
    failed = increase(GATE_RESULTS, equals(DECISION, "fail"), window=window)
    return (
        Recording(decisions(window), sum_by(OF_GATE, increase(GATE_RESULTS, window=window))),
        Recording(refusals(window), sum_by(OF_GATE, failed)),
        Recording(refusal_ratio(window), _ratio(window)),
    )


def _ratio(window: str) -> str:
    return cleandoc(f"""
        # A gate that never failed has no series of failures, one that judged nothing no ratio.
        ({refusals(window)} or 0 * {decisions(window)})
        /
        ({decisions(window)} > 0)
    """)
