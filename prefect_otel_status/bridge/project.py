"""What one observation changes: a run's row, and the counters. Pure: no clock, no input, no output.

Any order and any repetition of the same observations ends in the same row and
the same steps: the row takes the latest by the observation's own time, and a
fact is stepped once, which its key in the store sees to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from prefect_otel_status import signals
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    PLANNED,
    SETTLED,
    TASK,
    Fact,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
    StageFact,
    StateFact,
    StatusFact,
    Step,
)
from prefect_otel_status.model import FINAL_TYPES, result_of

LEAST_PERIOD = 5_000_000_000
"""Heartbeats nearer than this are of two processes, or sent twice. Nanoseconds."""

_JUDGED = (
    (signals.GATE_SCORE_VALUE, signals.GATE_SCORE),
    (signals.GATE_THRESHOLD_VALUE, signals.GATE_THRESHOLD),
)
"""What a gate shows, and the attributes of its status that say it."""

_replace = msgspec.structs.replace


def merge(row: RunRow, observation: Observation) -> RunRow:
    """ROW with what OBSERVATION says of the run itself."""
    row = _named(row, observation)
    what = observation.what
    if isinstance(what, Seen):
        return _merge_seen(row, what)
    if isinstance(what, Heartbeat):
        return _merge_heartbeat(row, what)
    if isinstance(what, StatusFact):
        return _merge_status(row, what)
    if isinstance(what, StateFact) and observation.subject_id == row.id:
        return _merge_state(row, what)
    return row


def steps(
    row: RunRow, observation: Observation, *, environment: str, since: int, trace_id: str = ""
) -> Iterator[Step]:
    """The counter steps of a fact that is new. None for what was before SINCE.

    ENVIRONMENT is the deployment's, for facts that do not say their own.
    """
    what = observation.what
    if not isinstance(what, StateFact | StatusFact | StageFact) or time_of(what) < since:
        return
    if isinstance(what, StatusFact):
        yield from _status_steps(row, what, environment)
    elif isinstance(what, StageFact):
        yield from _stage_steps(row, what, environment)
    elif observation.subject_id == row.id and row.kind != TASK:
        labels = (*_of_run(row, environment), what.type, what.name)
        yield Step(signals.TRANSITIONS.name, labels, at=what.at)
    else:
        yield from _task_steps(row, what, environment, trace_id)


def is_final(state_type: str) -> bool:
    """Whether a state of STATE_TYPE ends its run."""
    return state_type in FINAL_TYPES


def environment_of(bound: dict[str, Any], otherwise: str) -> str:
    """The environment that is bound, else OTHERWISE."""
    value = bound.get(signals.ENVIRONMENT.name)
    return otherwise if value is None else str(value)


def time_of(fact: Fact) -> int:
    """When FACT came, by the server's clock where it is known: a client's may be hours off."""
    return getattr(fact, "received", 0) or fact.at


def _of_run(row: RunRow, environment: str) -> tuple[str, str, str]:
    return row.flow_name, row.deployment_name, environment


# --- the row -----------------------------------------------------------------
def _named(row: RunRow, observation: Observation) -> RunRow:
    flow, deployment = observation.flow_name, observation.deployment_name
    name = observation.run_name
    if (
        (not flow or flow == row.flow_name)
        and (not deployment or deployment == row.deployment_name)
        and (not name or name == row.run_name)
    ):
        return row
    return _replace(
        row,
        flow_name=flow or row.flow_name,
        deployment_name=deployment or row.deployment_name,
        run_name=name or row.run_name,
    )


def _merge_seen(row: RunRow, seen: Seen) -> RunRow:
    if row.described and seen.updated < row.seen.updated:
        return row
    return _replace(
        row,
        seen=seen,
        described=True,
        flow_name=seen.flow_name or row.flow_name,
        deployment_name=seen.deployment_name or row.deployment_name,
        run_name=seen.name or row.run_name,
        traceparent=seen.traceparent or row.traceparent,
        environment=environment_of(seen.bound, row.environment),
        started=_least(row.started, seen.started),
        attempt=max(row.attempt, seen.run_count),
    )


def _merge_heartbeat(row: RunRow, heartbeat: Heartbeat) -> RunRow:
    if heartbeat.at <= row.heartbeat_at:
        return row
    period = heartbeat.at - row.heartbeat_at
    learned = row.heartbeat_period
    if row.heartbeat_at and period >= LEAST_PERIOD:
        # The least, because one that was missed makes the next gap longer.
        learned = min(learned or period, period)
    row = _replace(row, heartbeat_at=heartbeat.at, heartbeat_period=learned)
    return _revived(row) if row.inferred else row


def _revived(row: RunRow) -> RunRow:
    """A run that was taken for dead goes on."""
    if row.phase in (ENDED, SETTLED) and not is_final(row.state_type):
        return _replace(row, phase=ACTIVE, inferred=False)
    return row


def _merge_status(row: RunRow, status: StatusFact) -> RunRow:
    if (status.at, status.message) < (row.said_at, row.message):
        return row
    return _replace(
        row,
        said_at=status.at,
        message=status.message,
        stage=status.stage,
        progress=status.progress if status.progress is not None else row.progress,
        environment=environment_of(status.bound, row.environment),
    )


def _merge_state(row: RunRow, state: StateFact) -> RunRow:
    if state.type == "RUNNING":
        row = _replace(row, started=_least(row.started, state.at))
    if (state.at, state.id) <= (row.state_at, row.state_id):
        return row
    return _replace(
        row,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state_at=state.at,
        phase=_phase_after(row, state),
        inferred=False,
    )


def _least(one: int, other: int) -> int:
    """The lesser of two times, of which 0 is none."""
    return min(one or other, other or one)


def _phase_after(row: RunRow, state: StateFact) -> str:
    if is_final(state.type):
        return ENDED
    # A deployment's schedule makes runs days ahead: those are not active yet.
    # A task without a flow run never counts as an active flow run.
    is_early = state.type == "SCHEDULED" and state.name != "Late" and not row.started
    is_planned = row.kind == TASK or is_early
    return PLANNED if is_planned else ACTIVE


# --- the counters ------------------------------------------------------------
def _status_steps(row: RunRow, status: StatusFact, environment: str) -> Iterator[Step]:
    of_run = _of_run(row, environment_of(status.bound, environment))
    labels = (*of_run, status.stage, status.level, status.label)
    yield Step(signals.MESSAGES.name, labels, at=status.at)
    gate = status.attributes.get(signals.GATE.name)
    decision = status.attributes.get(signals.DECISION.name)
    if gate is not None and decision in ("pass", "fail"):
        yield Step(signals.GATE_RESULTS.name, (*of_run, str(gate), decision), at=status.at)
        for metric, attribute in _JUDGED:
            value = status.attributes.get(attribute.name)
            if isinstance(value, (int, float)):
                yield Step(metric.name, (*of_run, str(gate)), float(value), at=status.at)


def _stage_steps(row: RunRow, stage: StageFact, environment: str) -> Iterator[Step]:
    if stage.ended:
        of_run = _of_run(row, environment_of(stage.bound, environment))
        seconds = max(0, stage.ended - stage.started) / 1e9
        labels = (*of_run, stage.name, stage.result)
        yield Step(signals.STAGE_DURATION.name, labels, seconds, at=stage.ended)


def _task_steps(row: RunRow, state: StateFact, environment: str, trace_id: str) -> Iterator[Step]:
    if state.child_run_id:
        return  # it stands for a subflow, which is counted as a flow run
    of_task = (*_of_run(row, environment), state.task_name)
    if state.type == "RUNNING" and state.attempt > 1:
        yield Step(signals.TASK_RETRIES.name, of_task, at=state.at)
    result = result_of(state.type, state.name)
    if result is not None and (state.started or is_final(state.type)):
        seconds = max(0, state.at - (state.started or state.at)) / 1e9
        labels = (*of_task, result)
        yield Step(signals.TASK_DURATION.name, labels, seconds, trace_id, state.at)
