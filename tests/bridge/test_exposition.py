"""The text that Prometheus reads, as its own parsers understand it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from prefect_otel_status import signals
from prefect_otel_status.bridge.exposition import Exposition, Family
from prefect_otel_status.bridge.values import Buckets, Exemplar
from prefect_otel_status.signals import DURATION_BOUNDS

OF_RUN = ("deploy", "prod", "")
SHOWN = {"cicd_pipeline_name": "deploy", "prefect_deployment_name": "prod"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARSERS: dict[bool, Any] = {False: plain, True: openmetrics}


def read(families: list[Family], *, as_openmetrics: bool) -> list[Any]:
    """FAMILIES rendered and read again: name, type, help and samples of each."""
    text = Exposition().render(families, openmetrics=as_openmetrics).decode()
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [(sample.name, sample.labels, sample.value) for sample in family.samples],
        )
        for family in PARSERS[as_openmetrics](text)
    ]


@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_each_kind_is_read_as_what_it_is(as_openmetrics: bool) -> None:
    duration = Buckets().seeing(0.3).seeing(0.1).seeing(100000.0)
    bounds = [*(str(bound) for bound in DURATION_BOUNDS), "+Inf"]
    totals = [1, 1, 2, *[2] * 15, 3]
    name = "prefect_flow_run_queue_duration_seconds"
    families = [
        Family(signals.RUN_ERRORS, [((*OF_RUN, "ValueError"), 3.0)]),
        Family(signals.QUEUE_DURATION, [(OF_RUN, duration)]),
        Family(signals.RUN_ACTIVE, [((*OF_RUN, "pending"), 0.0)]),
        Family(signals.BRIDGE_LAG, [((), 1.5)]),
    ]
    assert read(families, as_openmetrics=as_openmetrics) == [
        (
            "cicd_pipeline_run_errors",
            "counter",
            "Flow runs that failed, crashed or timed out.",
            [("cicd_pipeline_run_errors_total", {**SHOWN, "error_type": "ValueError"}, 3.0)],
        ),
        (
            name,
            "histogram",
            "Time between the expected and the actual start of flow runs.",
            [
                *(
                    (f"{name}_bucket", {**SHOWN, "le": bound}, total)
                    for bound, total in zip(bounds, totals, strict=True)
                ),
                (f"{name}_count", SHOWN, 3.0),
                (f"{name}_sum", SHOWN, 100000.4),
            ],
        ),
        (
            "cicd_pipeline_run_active",
            "gauge",
            "Flow runs that have not ended, by where they are.",
            [("cicd_pipeline_run_active", {**SHOWN, "cicd_pipeline_run_state": "pending"}, 0.0)],
        ),
        (
            "prefect_status_bridge_lag_seconds",
            "gauge",
            "Time since the last complete sweep of Prefect's history.",
            [("prefect_status_bridge_lag_seconds", {}, 1.5)],
        ),
    ]


def test_every_metric_there_is_can_be_read_in_one_scrape() -> None:
    families = [
        Family(
            metric,
            [
                (
                    ("x",) * len(metric.labels),
                    Buckets() if metric.kind is signals.Kind.HISTOGRAM else 1.0,
                )
            ],
        )
        for metric in signals.declared(signals.Metric)
        if isinstance(metric, signals.Metric)
    ]
    for as_openmetrics in (False, True):
        assert len(read(families, as_openmetrics=as_openmetrics)) == len(families)


def test_openmetrics_has_exemplars_where_something_is_shown() -> None:
    duration = Buckets().seeing(0.3)
    first, late = Exemplar(TRACE, 0.3, 1_764_000_000_123_456_789), Exemplar("b" * 32, 50.0, 1)
    families = [
        Family(
            signals.RUN_ERRORS,
            [((*OF_RUN, "A"), 2.0), ((*OF_RUN, "B"), 0.0)],
            {(*OF_RUN, "A"): (first,), (*OF_RUN, "B"): (late,)},
        ),
        Family(
            signals.QUEUE_DURATION,
            [(OF_RUN, duration)],
            # The second is of a step that is held back.
            {OF_RUN: (None, None, first, *[None] * 5, late, *[None] * 10)},
        ),
    ]
    exposition = Exposition()
    found = {
        (sample.name, sample.labels.get("le") or sample.labels["error_type"]): (
            sample.exemplar.labels,
            sample.exemplar.value,
            float(sample.exemplar.timestamp),
        )
        for family in openmetrics(exposition.render(families, openmetrics=True).decode())
        for sample in family.samples
        if sample.exemplar
    }
    seen = ({"trace_id": TRACE}, 0.3, 1764000000.123)
    assert found == {
        ("cicd_pipeline_run_errors_total", "A"): seen,
        ("prefect_flow_run_queue_duration_seconds_bucket", "0.5"): seen,
    }
    text = exposition.render(families, openmetrics=False)
    assert b"trace_id" not in text
    assert b"# EOF" not in text


@settings(deadline=None)
@given(
    values=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1),
        min_size=1,
        unique=True,
    )
)
def test_labels_come_back_whatever_is_in_them(values: list[str]) -> None:
    samples: Any = [((*OF_RUN, value), 1.0) for value in values]
    for as_openmetrics in (False, True):
        ((*_, found),) = read([Family(signals.RUN_ERRORS, samples)], as_openmetrics=as_openmetrics)
        assert [labels["error_type"] for _, labels, _ in found] == values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (3, b"3"),
        (-2.5, b"-2.5"),
        (2.0**60, b"1.152921504606847e+18"),
        (math.inf, b"+Inf"),
        (-math.inf, b"-Inf"),
        (math.nan, b"NaN"),
    ],
)
def test_numbers_are_written_exactly(value: float, text: bytes) -> None:
    shown = Exposition().render([Family(signals.BRIDGE_LAG, [((), value)])], openmetrics=False)
    assert shown.splitlines()[-1] == b"prefect_status_bridge_lag_seconds " + text


def test_a_lone_surrogate_does_not_cost_the_scrape() -> None:
    family = Family(signals.RUN_ERRORS, [((*OF_RUN, "a\ud800"), 1.0)])
    assert b'error_type="a\\ud800"' in Exposition().render([family], openmetrics=False)


def test_a_second_scrape_shows_what_has_changed_and_what_has_gone() -> None:
    exposition = Exposition()

    def lines(*samples: Any, exemplars: Any = None) -> list[bytes]:
        family = Family(signals.BRIDGE_EXPORTS, samples, exemplars or {})
        return exposition.render([family], openmetrics=True).splitlines()[2:-1]

    name, label = b"prefect_status_bridge_exports_total", b"prefect_status_outcome"
    assert lines((("a",), 1.0), (("b",), 1.0)) == [
        name + b"{" + label + b'="a"} 1',
        name + b"{" + label + b'="b"} 1',
    ]
    assert lines((("a",), 2.0), (("b",), 1.0)) == [
        name + b"{" + label + b'="a"} 2',
        name + b"{" + label + b'="b"} 1',
    ]
    assert lines((("b",), 1.0), exemplars={("b",): (Exemplar("f" * 32, 1.0, 0),)}) == [
        name + b"{" + label + b'="b"} 1 # {trace_id="' + b"f" * 32 + b'"} 1 0.000'
    ]


def test_nothing_is_a_valid_exposition_too() -> None:
    assert Exposition().render([], openmetrics=False) == b""
    assert Exposition().render([], openmetrics=True) == b"# EOF\n"
