"""Sampling takes whole traces or none, and the counters do not notice."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from prefect_otel_status.ids import run_span_id_of, trace_id_of
from tests.conftest import run_flow
from tests.support.receiver import Received, attributes_of

pytestmark = pytest.mark.server

RUNS = 12


@pytest.mark.parametrize("root", ["process", pytest.param("bridge", marks=pytest.mark.long)])
@pytest.mark.fault(37)
def test_a_ratio_takes_whole_traces_and_counts_all(
    root: str, otlp_env: dict[str, str], received: Received
) -> None:
    sampled = {
        **otlp_env,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
        "PREFECT_OTEL_STATUS_TRACE_ROOT": root,
    }
    run_flow("many.py", str(RUNS), env=sampled)
    points = received.wait_for_metric("prefect_status.messages").sum.data_points
    assert sum(point.as_int for point in points) == 2 * RUNS
    log_traces = {log.trace_id for log in received.logs if log.event_name == "Worked"}
    assert len(log_traces) == RUNS
    ratio = TraceIdRatioBased(0.5)
    expected = {trace for trace in log_traces if int.from_bytes(trace[8:], "big") < ratio.bound}
    sizes = Counter(span.trace_id for span in received.spans)
    assert set(sizes) == expected
    assert set(sizes.values()) <= {6}  # two flow runs, two task runs, two stages


@pytest.mark.fault(37)
def test_a_bridge_that_owns_the_root_finds_attempts_below_its_spans(
    otlp_env: dict[str, str], received: Received
) -> None:
    run_flow("many.py", "1", env={**otlp_env, "PREFECT_OTEL_STATUS_TRACE_ROOT": "bridge"})
    received.wait_for_spans("ATTEMPT 1")
    attempts = [span for span in received.spans if span.name == "ATTEMPT 1"]
    by_flow = {attributes_of(a.attributes)["cicd.pipeline.name"]: a for a in attempts}
    ids = {name: attributes_of(a.attributes)["cicd.pipeline.run.id"] for name, a in by_flow.items()}
    parents = {name: attempt.parent_span_id for name, attempt in by_flow.items()}
    assert parents == {
        name: run_span_id_of(run_id).to_bytes(8, "big") for name, run_id in ids.items()
    }
    assert {a.trace_id for a in attempts} == {trace_id_of(ids["many"]).to_bytes(16, "big")}
    assert {a.kind for a in attempts} == {1}  # INTERNAL
    steps = {span.parent_span_id for span in received.spans if span.name == "step"}
    assert steps == {attempt.span_id for attempt in attempts}
