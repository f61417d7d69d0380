"""Ids that follow from run ids."""

from __future__ import annotations

from uuid import NAMESPACE_DNS, uuid5

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from prefect_otel_status.ids import hex_span_id, hex_trace_id, run_span_id_of, trace_id_of
from tests.support.records import FLOW_RUN_ID

RUN_IDS = [str(uuid5(NAMESPACE_DNS, str(number))) for number in range(2000)]


def test_the_trace_id_is_the_head_of_the_hash_of_the_run_id() -> None:
    assert hex_trace_id(trace_id_of(FLOW_RUN_ID)) == "418a1f71ea7aaceb98f269c9e37cb7c0"


def test_the_span_id_of_a_run_is_the_head_of_another_hash() -> None:
    assert hex_span_id(run_span_id_of(FLOW_RUN_ID)) == "1ee660a1515471e0"


def test_different_runs_have_different_ids_and_none_is_zero() -> None:
    ids = {trace_id_of(run) for run in RUN_IDS} | {run_span_id_of(run) for run in RUN_IDS}
    assert len(ids) == 2 * len(RUN_IDS)
    assert 0 not in ids


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_a_ratio_sampler_takes_its_share_of_runs(ratio: float) -> None:
    sampler = TraceIdRatioBased(ratio)
    taken = sum(
        sampler.should_sample(None, trace_id_of(run), "RUN train").decision.is_sampled()
        for run in RUN_IDS
    )
    assert abs(taken / len(RUN_IDS) - ratio) < 0.04


def test_ids_are_written_with_all_their_digits() -> None:
    assert (hex_trace_id(1), hex_span_id(0xAB)) == ("0" * 31 + "1", "0" * 14 + "ab")
