"""The sampling decision: the same that the SDK makes in a flow's process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from prefect_otel_status.bridge.sampling import sampler_of
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.settings import ConfigurationError

TRACE_IDS = st.integers(1, 2**128 - 1)


def environ(name: str, ratio: str | None = None) -> dict[str, str]:
    given = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": ratio}
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    "given", [{}, environ(""), environ("always_on"), environ(" ParentBased_Always_On ")]
)
def test_usually_every_trace_is_sampled(given: dict[str, str]) -> None:
    assert all(sampler_of(given)(trace_id) for trace_id in (1, 2**64 - 1, 2**128 - 1))


@pytest.mark.parametrize("name", ["always_off", "parentbased_always_off"])
def test_none_is_where_it_is_off(name: str) -> None:
    assert not any(sampler_of(environ(name))(trace_id) for trace_id in (1, 2**128 - 1))


@pytest.mark.parametrize("name", ["traceidratio", "parentbased_traceidratio"])
@given(trace_id=TRACE_IDS, ratio=st.floats(0, 1))
def test_a_ratio_decides_as_the_sdk_does(name: str, trace_id: int, ratio: float) -> None:
    theirs = TraceIdRatioBased(ratio).should_sample(None, trace_id, "RUN").decision.is_sampled()
    assert sampler_of(environ(name, repr(ratio)))(trace_id) is theirs


def test_a_tenth_of_the_runs_is_about_a_tenth() -> None:
    decide = sampler_of(environ("traceidratio", "0.1"))
    sampled = sum(decide(trace_id_of(f"{n:032x}")) for n in range(5_000))
    assert 400 < sampled < 600


def test_without_a_ratio_all_are_sampled() -> None:
    assert sampler_of(environ("traceidratio"))(2**128 - 1)


@pytest.mark.parametrize("ratio", ["much", "1.1", "-0.1", "nan", "inf"])
def test_what_is_no_ratio_is_refused(ratio: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        sampler_of(environ("traceidratio", ratio))
    assert str(refused.value) == (
        f"Bad setting: OTEL_TRACES_SAMPLER_ARG: {ratio!r} is no ratio from 0 to 1."
    )


def test_a_sampler_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refused:
        sampler_of(environ("jaeger_remote"))
    assert str(refused.value) == (
        "Bad setting: OTEL_TRACES_SAMPLER: 'jaeger_remote' is not known here, use one of "
        "always_on, parentbased_always_on, always_off, parentbased_always_off, traceidratio, "
        "parentbased_traceidratio."
    )
