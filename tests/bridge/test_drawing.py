"""One run drawn whole, from what real servers knew of real runs."""

from __future__ import annotations

import random

import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge.drawing import drawn, folded
from prefect_otel_status.bridge.records import FLOW, SpanRecord
from prefect_otel_status.ids import run_span_id_of, trace_id_of
from tests.support.histories import names
from tests.support.replay import observations_of, replay, trace_of

FLOWS = [name for name in names() if not name.startswith("background")]

RESULTS = {signals.RESULT.name, signals.TASK_RESULT.name}


def shape(name: str, *, after: float = 1.0) -> list[tuple[int, str, str]]:
    """Depth, name and result of the spans of the history NAME, from the top down."""
    spans = trace_of(name, after=after).spans
    below: dict[int, list[SpanRecord]] = {}
    for span in spans:
        below.setdefault(span.parent_span_id, []).append(span)

    def walk(parent: int, depth: int) -> list[tuple[int, str, str]]:
        return [
            line
            for span in below.get(parent, [])
            for line in [(depth, span.name, result_of(span)), *walk(span.span_id, depth + 1)]
        ]

    return walk(0, 0)


def result_of(span: SpanRecord) -> str:
    return next((str(v) for name, v in span.attributes.items() if name in RESULTS), "")


@pytest.mark.parametrize("name", FLOWS)
def test_each_span_is_there_once_below_one_that_is_there(name: str) -> None:
    spans = trace_of(name).spans
    ids = [span.span_id for span in spans]
    assert len(ids) == len(set(ids))
    assert [s.name for s in spans if not s.parent_span_id] == [spans_top(spans).name]
    assert {span.parent_span_id for span in spans} <= {0, *ids}
    assert {span.trace_id for span in spans} == {spans[0].trace_id}
    assert all(span.end >= span.start for span in spans)


def spans_top(spans: tuple[SpanRecord, ...]) -> SpanRecord:
    return next(span for span in spans if span.name.startswith("RUN "))


@pytest.mark.parametrize("name", FLOWS)
def test_whatever_order_it_is_read_in_it_is_drawn_the_same(name: str) -> None:
    observations = list(observations_of(name))
    tops = {o.run_id for o in observations if o.kind == FLOW}
    parents = {run_id: run.row.seen.parent_run_id for run_id, run in folded(observations).items()}
    root = next(run_id for run_id in sorted(tops) if not parents[run_id])
    there = [o for o in observations if _root_of(o.run_id, parents) == root]

    def draw() -> list[SpanRecord]:
        return drawn(root, folded(there).values(), now=2**62, url_of=lambda kind, run_id: None)

    first = sorted(draw(), key=lambda span: span.span_id)
    random.Random(7).shuffle(there)
    assert sorted(draw(), key=lambda span: span.span_id) == first


def _root_of(run_id: str, parents: dict[str, str]) -> str:
    while parents.get(run_id):
        run_id = parents[run_id]
    return run_id


@pytest.mark.parametrize("scenario", ["success", "failure", "retried_task", "subflows"])
def test_without_our_code_it_is_what_the_bridge_exports(scenario: str) -> None:
    """There the bridge is the only one to draw, so the two must agree to the last attribute."""
    exported = replay([observations_of(f"{scenario}.plain")]).spans.values()
    read = {(span.trace_id, span.span_id): span for span in trace_of(f"{scenario}.plain").spans}
    assert len(read) == len(exported)
    for span in exported:
        assert read[span.trace_id, span.span_id] == span


def test_stages_tasks_and_statuses_are_where_the_process_had_them() -> None:
    assert shape("success.ours") == [
        (0, "RUN success", "success"),
        (1, "evaluate", "success"),
        (2, "load", "success"),
        (2, "score", "success"),
        (1, "promote", "success"),
        (2, "load", "success"),
    ]


def test_what_a_killed_process_left_is_closed_and_said() -> None:
    assert shape("killed_served.ours") == [
        (0, "RUN killed-served", "error"),
        (1, "load", "success"),
        (1, "evaluate", "error"),
        (2, "killed_task", "error"),
    ]


def test_each_execution_has_what_ran_in_it() -> None:
    assert shape("retried_flow.ours") == [
        (0, "RUN retried-flow", "success"),
        (1, "ATTEMPT 1", "failure"),
        (2, "evaluate", "failure"),
        (3, "work", "success"),
        (1, "ATTEMPT 2", "success"),
        (2, "work", "success"),
    ]


def test_subflows_are_in_the_stage_that_called_them() -> None:
    assert shape("subflows.ours") == [
        (0, "RUN subflows", "success"),
        (1, "evaluate", "success"),
        (2, "step", "success"),
        (2, "RUN middle", "success"),
        (3, "step", "success"),
        (3, "RUN bottom", "success"),
        (4, "step", "success"),
    ]


def test_what_goes_on_has_no_result_and_ends_now() -> None:
    """Its runner was killed with it, and its heartbeats are not missed yet."""
    found = trace_of("killed_by_hand.ours", after=1.0)
    last = max(span.end for span in found.spans)
    assert shape("killed_by_hand.ours") == [
        (0, "RUN killed-by-hand", ""),
        (1, "load", "success"),
        (1, "evaluate", ""),
        (2, "killed_task", ""),
    ]
    going_on = [span for span in found.spans if not result_of(span)]
    assert {span.end for span in going_on} == {last}
    assert {span.error for span in going_on} == {None}
    assert all(signals.INCOMPLETE.name not in span.attributes for span in going_on)


def test_a_span_of_a_process_keeps_its_id_and_trace() -> None:
    ours, plain = trace_of("success.ours"), trace_of("success.plain")
    assert spans_top(ours.spans).span_id != run_span_id_of(ours.run.id)  # its label names another
    assert spans_top(ours.spans).trace_id == trace_id_of(ours.run.id)
    assert spans_top(plain.spans).span_id == run_span_id_of(plain.run.id)
