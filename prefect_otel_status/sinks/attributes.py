"""The attributes of a record, under the names of `signals`."""

from __future__ import annotations

from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.model import GateResult, LogLine, Run, Status, Transition


def of_run(run: Run | None) -> dict[str, Any]:
    """What identifies RUN: its flow, its task, their ids."""
    if run is None:
        return {}
    found: dict[str, Any] = {}
    if run.flow_name:
        found[signals.PIPELINE_NAME.name] = run.flow_name
    if run.is_task:
        found[signals.TASK_NAME.name] = run.task_name
        found[signals.TASK_RUN_ID.name] = run.id
    if run.flow_run_id:
        found[signals.RUN_ID.name] = run.flow_run_id
    return found


def of_status(status: Status) -> dict[str, Any]:
    """What STATUS says: the values it was given, and our own names over them."""
    found = dict(status.attributes)
    found[signals.MESSAGE.name] = status.message
    found[signals.TEMPLATE.name] = status.template
    found[signals.LEVEL.name] = status.level
    if status.stage:
        found[signals.STAGE.name] = status.stage
    if status.progress is not None:
        found[signals.PROGRESS.name] = status.progress
    if status.sequence:
        found[signals.SEQUENCE.name] = status.sequence
        found[signals.ATTEMPT.name] = status.attempt
    if status.flags:
        found[signals.FLAGS.name] = status.flags
    return found


def of_transition(transition: Transition) -> dict[str, Any]:
    """The new state of TRANSITION, and how the run ended if it did."""
    found: dict[str, Any] = {
        signals.STATE_TYPE.name: transition.state_type,
        signals.STATE_NAME.name: transition.state_name,
        signals.STATE_ID.name: transition.state_id,
        signals.STATE_MESSAGE.name: transition.message,
        signals.ATTEMPT.name: transition.attempt,
    }
    if transition.result:
        name = signals.TASK_RESULT if transition.run.is_task else signals.RESULT
        found[name.name] = transition.result
    if transition.error_type:
        found[signals.ERROR_TYPE.name] = transition.error_type
    return found


def of_evaluation(gate: GateResult) -> dict[str, Any]:
    """GATE in the words of the GenAI conventions."""
    return {
        signals.EVALUATION_NAME.name: gate.gate,
        signals.EVALUATION_SCORE.name: gate.score,
        signals.EVALUATION_LABEL.name: gate.decision,
    }


def of_record(record: Status | Transition | GateResult | LogLine) -> dict[str, Any]:
    """Everything about RECORD that belongs on a log record."""
    if isinstance(record, LogLine):
        return {**record.attributes, **of_run(record.run)}
    if isinstance(record, Status):
        return {**record.bound, **of_status(record), **of_run(record.run)}
    if isinstance(record, Transition):
        return {**record.bound, **of_run(record.run), **of_transition(record)}
    return {**record.bound, **of_run(record.run), **of_evaluation(record)}
