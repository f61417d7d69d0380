"""Which run is speaking, and what is kept of the runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT
from prefect import flow, task

from prefect_otel_status import runs, status
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.runs import RunHandle, RunRegistry, Scope, prefect_run_now
from tests.support.records import FLOW_RUN_ID, flow_run, task_run
from tests.support.telling import Told, a_flow_run, a_task_run, in_task

FLOW_RUN = UUID(FLOW_RUN_ID)


@flow
def train() -> None:
    """The flow of these tests."""


@task
def score() -> None:
    """Its task."""


# --- the registry -----------------------------------------------------------------


def test_a_run_has_one_handle_until_it_ends() -> None:
    registry = RunRegistry()
    handle = registry.open(FLOW_RUN, "flow")
    assert registry.open(FLOW_RUN, "flow") is handle is registry.find(FLOW_RUN)
    assert registry.live() == [handle]
    registry.retire(FLOW_RUN)
    registry.retire(FLOW_RUN)
    assert (registry.find(FLOW_RUN), handle.ended, registry.live()) == (handle, True, [])
    again = registry.open(FLOW_RUN, "flow")
    assert again is not handle
    assert registry.find(FLOW_RUN) is again


def test_the_oldest_live_runs_without_a_span_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "_LIVE_LIMIT", 2)
    registry, span = RunRegistry(), object()
    first = registry.open(UUID(int=1), "flow")
    first.span = span  # type: ignore[assignment]  # any will do
    for number in (2, 3, 4):
        registry.open(UUID(int=number), "flow")
    assert [handle.run.id for handle in registry.live()] == [first.run.id, str(UUID(int=4))]


def test_a_run_that_begins_is_known_however_many_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_LIVE_LIMIT", 2)
    registry = RunRegistry()
    for number in range(4):
        handle = registry.open(UUID(int=number), "task")
        assert registry.find(UUID(int=number)) is handle
        handle.span = object()  # type: ignore[assignment]  # any will do
    assert len(registry.live()) == 4


def test_the_oldest_ended_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_ENDED_LIMIT", 2)
    registry = RunRegistry()
    for number in (1, 2, 3):
        registry.open(UUID(int=number), "flow")
        registry.retire(UUID(int=number))
    assert [registry.find(UUID(int=number)) is None for number in (1, 2, 3)] == [True, False, False]


# --- whose turn it is ---------------------------------------------------------------


def test_outside_a_run_nobody_speaks(told: Told) -> None:
    assert prefect_run_now() == (None, None, None)
    assert told.runtime.registry.scope() is None


def test_a_task_speaks_for_itself_and_after_it_its_flow(told: Told) -> None:
    with told.run_of(train):
        with in_task(score, a_task_run()):
            status("in the task")
        status("in the flow")
    assert [said.run for said in told.statuses] == [task_run(), flow_run()]


def test_a_subflow_called_in_a_task_speaks_for_itself(told: Told) -> None:
    child = a_flow_run(id=UUID(int=7), name="child")
    with (
        told.run_of(train),
        in_task(score, a_task_run()),
        told.in_run_again(train, child),
    ):
        status("in the subflow")
    assert [said.run.id if said.run else None for said in told.statuses] == [str(child.id)]


def test_a_deployments_run_knows_its_deployment(told: Told) -> None:
    with told.run_of(train, deployment_id=UUID(int=3)):
        status("said")
    assert [said.run for said in told.statuses] == [flow_run(deployment_id=str(UUID(int=3)))]


def test_the_names_of_a_cleaned_run_are_kept_for_the_next(told: Told) -> None:
    cleaner = told.runtime.cleaner
    dirty = flow_run(name="a\nb")
    assert cleaner.run(dirty) is cleaner.run(dirty) == flow_run(name="a b")


# --- a run's handle -------------------------------------------------------------------


def test_attempts_are_prefects_and_statuses_are_numbered_within_them() -> None:
    prefect_run: Any = a_flow_run(run_count=1)
    handle = RunHandle(flow_run(), prefect_run=prefect_run)
    numbers = [handle.next_sequence(), handle.next_sequence()]
    prefect_run.run_count = 2
    numbers.append(handle.next_sequence())
    handle.close()
    assert numbers == [(1, 1), (1, 2), (2, 1)]
    assert (handle.attempt, handle.prefect_run, handle.context) == (2, None, None)


@pytest.mark.parametrize(
    ("changes", "trace_id"),
    [({}, trace_id_of(FLOW_RUN_ID)), ({"parent_task_run_id": UUID(int=8)}, 0)],
)
def test_only_a_root_runs_trace_can_be_presumed(changes: dict[str, Any], trace_id: int) -> None:
    handle = RunHandle(flow_run())
    handle.presume_trace(a_flow_run(**changes))
    assert (handle.span_context.trace_id, handle.span_context.span_id) == (trace_id, 0)


def test_a_span_is_adopted_from_the_label() -> None:
    handle = RunHandle(flow_run())
    handle.adopt_span(a_flow_run(labels={"__OTEL_TRACEPARENT": f"00-{1:032x}-{2:016x}-01"}))
    assert (handle.span_context.trace_id, handle.span_context.span_id) == (1, 2)


@pytest.mark.parametrize("label", ["", "malformed", "00-0-0-00", 42])
def test_a_malformed_label_names_no_span(label: Any) -> None:
    found = runs.span_context_of(a_flow_run(labels={"__OTEL_TRACEPARENT": label}))
    assert found.is_valid is False


def test_a_scope_that_was_entered_is_left_for_the_one_before() -> None:
    handle = RunHandle(flow_run())
    scope = Scope(handle, INVALID_SPAN_CONTEXT, handle.buffer, stage="load")
    token = runs.enter_scope(scope)
    assert runs.current_scope() is scope
    assert runs.stage_of(scope) == "load"
    runs.leave_scope(token)
    assert runs.current_scope() is None
    assert runs.stage_of(None) is None
