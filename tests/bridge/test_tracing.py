"""Where a run is drawn, whose span is whose, and who has decided whether it is sampled."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_otel_status.bridge.records import TASK, RunRow, Seen, StateFact
from prefect_otel_status.bridge.tracing import (
    Place,
    SpanRef,
    derived_span_id,
    place_of,
    process_died,
    read_traceparent,
    write_traceparent,
)
from prefect_otel_status.ids import run_span_id_of, trace_id_of

RUN, PARENT = "a-run", "its-parent"
OWN, OF_PARENT = trace_id_of(RUN), trace_id_of(PARENT)
ELSEWHERE = 0xABC


def _place(
    label: str = "", *, owner: str = "process", has_words: bool = False, sampled: bool = True,
    **seen: Any,
) -> Place:  # fmt: skip
    row = RunRow(RUN, traceparent=label, seen=Seen(**seen))
    return place_of(row, (), owner=owner, sampled=lambda _: sampled, has_words=has_words)


def _below(label: str = "", *, above: str, **more: Any) -> Place:
    seen: dict[str, Any] = {
        "parent_run_id": PARENT,
        "root_run_id": PARENT,
        "parent_traceparent": above,
    }
    return _place(label, **seen, **more)


def _label(trace_id: int, span_id: int, *, sampled: bool = True) -> str:
    return write_traceparent(trace_id, span_id, sampled=sampled)


def test_a_traceparent_is_read_as_it_is_written() -> None:
    text = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    found = read_traceparent(text)
    assert found == SpanRef(0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7, True)
    assert found is not None
    assert write_traceparent(*found[:2], sampled=True) == text
    assert read_traceparent("") is None


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True)]
)
def test_only_the_first_flag_says_that_it_is_sampled(flags: str, sampled: bool) -> None:
    found = read_traceparent(f"00-{1:032x}-{2:016x}-{flags}")
    assert found == SpanRef(1, 2, sampled)


@pytest.mark.parametrize("owner", ["process", "bridge"])
def test_a_run_without_a_label_is_the_bridges(owner: str) -> None:
    expected = Place(OWN, True, 0, run_span_id_of(RUN), process=None, is_ours=False)
    assert _place(owner=owner) == expected


def test_a_process_that_owns_the_root_has_made_the_run() -> None:
    process = SpanRef(OWN, 7, True)
    assert _place(_label(OWN, 7)) == Place(OWN, True, 0, 7, process, is_ours=True)


def test_a_bridge_that_owns_the_root_has_the_process_below_it() -> None:
    process = SpanRef(OWN, 7, True)
    expected = Place(OWN, True, 0, run_span_id_of(RUN), process, is_ours=True)
    assert _place(_label(OWN, 7), owner="bridge") == expected
    assert expected.base == 7


@pytest.mark.parametrize(("has_words", "run_span_id"), [(False, 7), (True, run_span_id_of(RUN))])
def test_the_span_of_another_provider_is_the_run_whoever_owns_the_root(
    has_words: bool, run_span_id: int
) -> None:
    # A trace id of its own is another provider's, unless the run said something.
    found = _place(_label(ELSEWHERE, 7), owner="bridge", has_words=has_words)
    assert (found.trace_id, found.run_span_id, found.is_ours) == (ELSEWHERE, run_span_id, has_words)


def test_a_label_that_the_caller_handed_on_is_no_span_of_the_runs() -> None:
    handed_on = _label(OF_PARENT, 7)
    found = _below(handed_on, above=handed_on)
    assert found == Place(OF_PARENT, True, 7, run_span_id_of(RUN), process=None, is_ours=False)


def test_a_run_hangs_below_its_parent_in_the_same_trace_only() -> None:
    above = _label(OF_PARENT, 7)
    assert _below(_label(OF_PARENT, 8), above=above).parent_span_id == 7
    assert _below(_label(ELSEWHERE, 8), above=above).parent_span_id == 0
    assert _below(above=above).trace_id == OF_PARENT


@pytest.mark.parametrize("decision", [True, False])
def test_whoever_planted_the_root_has_decided_whether_it_is_sampled(decision: bool) -> None:
    of_process = _label(OWN, 7, sampled=decision)
    assert _place(of_process, sampled=not decision).sampled is decision
    of_parents_process = _label(OF_PARENT, 7, sampled=decision)
    assert _below(above=of_parents_process, sampled=not decision).sampled is decision
    assert _place(sampled=decision).sampled is decision


@pytest.mark.parametrize("decision", [True, False])
def test_below_a_root_of_the_bridges_own_the_sampler_decides(decision: bool) -> None:
    derived = _label(OF_PARENT, run_span_id_of(PARENT))
    assert _below(above=derived, sampled=decision).sampled is decision


def test_a_task_tells_its_label_with_its_states() -> None:
    label = _label(OWN, 9)
    states = [
        StateFact("1", "PENDING", "Pending", 1),
        StateFact("2", "RUNNING", "Running", 2, traceparent=label),
    ]
    row = RunRow(RUN, TASK)
    found = place_of(row, states, owner="process", sampled=lambda _: False, has_words=False)
    assert found.process == SpanRef(OWN, 9, True)


@pytest.mark.parametrize(
    ("kind", "message", "died"),
    [
        ("CRASHED", "Process exited with status code: -9. Process exited due to a SIGKILL", True),
        ("CRASHED", "Flow run process exited with non-zero status code 137.", True),
        ("CRASHED", "Flow run infrastructure exited with non-zero status code 1.", True),
        ("CRASHED", "Process for flow run 'x' exited with status code: 137\nand more", True),
        ("CRASHED", "Execution was aborted by a termination signal.", False),
        ("CRASHED", "Execution was aborted by Python system exit call.", False),
        ("FAILED", "Process exited with status code: -9.", False),
    ],
)
def test_a_process_that_died_was_found_so_by_who_started_it(
    kind: str, message: str, died: bool
) -> None:
    assert process_died(RunRow(RUN), StateFact("1", kind, kind.title(), 1, message)) is died


def test_a_run_that_fell_silent_is_dead_and_one_that_goes_on_is_not() -> None:
    assert process_died(RunRow(RUN, inferred=True), None) is True
    assert process_died(RunRow(RUN), None) is False


def test_derived_ids_are_the_same_each_time_and_differ_by_what_they_are_of() -> None:
    assert derived_span_id("TASK", "a") == derived_span_id("TASK", "a")
    ids = {derived_span_id(*parts) for parts in (("TASK", "a"), ("TASK", "b"), ("LATER", "a", 1))}
    assert len(ids) == 3
    assert all(0 < each < 2**64 for each in ids)
