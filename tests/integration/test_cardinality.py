"""A flood of distinct values stays within its budget, and every total is exact."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import run_flow
from tests.support.receiver import Received, attributes_of

pytestmark = pytest.mark.server

COUNT = 20_000
BUDGET = 50


@pytest.mark.fault(30)
def test_distinct_values_fold_into_other_and_totals_are_exact(
    otlp_env: dict[str, str], received: Received
) -> None:
    quiet = {
        "PREFECT_OTEL_STATUS_RUN_LOG": "false",
        "PREFECT_OTEL_STATUS_LOG_EVENTS": "false",
        "PREFECT_OTEL_STATUS_PREFECT_EVENTS": "false",
        "PREFECT_OTEL_STATUS_LABEL_BUDGET": str(BUDGET),
    }
    run_flow("million.py", str(COUNT), env={**otlp_env, **quiet}, timeout=110)
    points = received.wait_for_metric("prefect_status.messages").sum.data_points
    values: dict[str, set[str]] = {}
    total = Counter[str]()
    for point in points:
        for name, value in attributes_of(point.attributes).items():
            values.setdefault(name, set()).add(value)
        total["messages"] += point.as_int
    assert total["messages"] == COUNT + 300
    assert {name: len(found) <= BUDGET + 1 for name, found in values.items()} == dict.fromkeys(
        values, True
    )
    assert "__other__" in values["prefect_status.stage"]
    overflow = received.wait_for_metric("prefect_status.process.overflow").sum.data_points
    by_metric = {attributes_of(p.attributes)["prefect_status.metric"]: p.as_int for p in overflow}
    assert by_metric["prefect_status.stage.duration"] >= 300 - BUDGET
