"""Selectors name only what the signals declare."""

from __future__ import annotations

import pytest

from prefect_otel_status import signals
from prefect_otel_status.monitoring.promql import (
    JOB,
    Match,
    differs,
    equals,
    labels,
    matches,
    select,
)
from prefect_otel_status.signals import Kind, Metric, declared
from tests.monitoring.syntax import known_series, named

METRICS = [metric for metric in declared(Metric) if isinstance(metric, Metric)]


def test_a_selector_with_all_it_can_have() -> None:
    text = select(
        signals.RUN_DURATION,
        equals(signals.PIPELINE_NAME, "deploy"),
        matches(signals.RESULT, "error|failure"),
        differs(signals.ENVIRONMENT, "test"),
        Match("le", "=", "+Inf"),
        part="bucket",
        window="5m",
    )
    assert text == (
        'cicd_pipeline_run_duration_seconds_bucket{job="prefect-otel-bridge", '
        'cicd_pipeline_name="deploy", cicd_pipeline_result=~"error|failure", '
        'deployment_environment_name!="test", le="+Inf"}[5m]'
    )


def test_a_selector_of_another_job() -> None:
    text = select(signals.BRIDGE_LAG, job=Match("job", "=~", "$job"))
    assert text == 'prefect_status_bridge_lag_seconds{job=~"$job"}'


def test_values_are_escaped() -> None:
    awkward = equals(signals.PIPELINE_NAME, 'a "b" \\c')
    assert str(awkward) == 'cicd_pipeline_name="a \\"b\\" \\\\c"'
    named(select(signals.RUN_ERRORS, awkward))  # it can be parsed


def test_a_label_that_the_metric_has_not_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^prefect_status\.bridge\.lag has no label error_type\.$"
    ):
        select(signals.BRIDGE_LAG, equals(signals.ERROR_TYPE, "x"))


@pytest.mark.parametrize("part", ["bucket", "sum", "count"])
def test_only_a_histogram_has_parts(part: str) -> None:
    with pytest.raises(ValueError, match=f"it has no part '{part}'"):
        select(signals.RUN_ERRORS, part=part)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="it has no part ''"):
        select(signals.RUN_DURATION)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_can_be_selected_by_each_of_its_labels(metric: Metric) -> None:
    part = "count" if metric.kind is Kind.HISTOGRAM else ""
    text = select(metric, *(equals(label, "x") for label in metric.labels), part=part)  # type: ignore[arg-type]
    found = named(text)
    assert found.selectors[0][1] == {"job", *metric.label_names}
    assert list(found.unknown(known_series())) == []


def test_labels_are_listed_as_prometheus_writes_them() -> None:
    assert labels(signals.PIPELINE_NAME, signals.DEPLOYMENT) == (
        "cicd_pipeline_name, prefect_deployment_name"
    )
    assert JOB == "prefect-otel-bridge"
