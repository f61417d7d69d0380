"""What the bridge knows of a run, as JSON for scripts. Reads only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger
from prefect_otel_status.bridge.core import trace_of
from prefect_otel_status.bridge.history import Subject, history_of
from prefect_otel_status.bridge.records import RunRow, StateFact, StatusFact
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.model import result_of


def run(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """The run RUN_ID with what it said so far; None where the bridge does not know it.

    Once a run is settled its states and statuses are in its trace, and no longer here.
    """
    row = ledger.load_rows(connection, [run_id]).get(run_id)
    if row is None:
        return None
    history = history_of(run_id, ledger.load_facts(connection, run_id))
    found = _summary(row)
    found["states"] = [_state(state) for state in history.own.states]
    found["statuses"] = [_status(status) for status in _all_statuses(history.own, history.tasks)]
    found["tasks"] = [_task(task) for task in history.tasks.values() if task.states]
    return found


def _summary(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.run_name or None,
        "flow": row.flow_name or None,
        "deployment": row.deployment_name or None,
        "environment": row.environment or None,
        "phase": row.phase,
        "state_type": row.state_type or None,
        "state_name": row.state_name or None,
        "state_at": _time(row.state_at),
        "result": result_of(row.state_type, row.state_name) or ("error" if row.inferred else None),
        "inferred": row.inferred,
        "started_at": _time(row.started),
        "attempt": row.attempt,
        "last_status": row.message or None,
        "last_status_at": _time(row.said_at),
        "stage": row.stage or None,
        "progress": row.progress,
        "bound": {**row.seen.bound, **row.bound},
        "parent_run_id": row.seen.parent_run_id or None,
        "trace_id": row.trace_id or hex_trace_id(trace_of(row)),
    }


def _all_statuses(own: Subject, tasks: dict[str, Subject]) -> list[StatusFact]:
    said = [*own.statuses, *(s for task in tasks.values() for s in task.statuses)]
    return sorted(said, key=lambda status: (status.at, status.sequence))


def _state(state: StateFact) -> dict[str, Any]:
    return {
        "type": state.type,
        "name": state.name,
        "at": _time(state.at),
        "message": state.message or None,
    }


def _status(status: StatusFact) -> dict[str, Any]:
    return {
        "at": _time(status.at),
        "message": status.message,
        "template": status.template,
        "stage": status.stage or None,
        "level": status.level,
        "progress": status.progress,
        "gate": status.attributes.get(signals.GATE.name),
    }


def _task(task: Subject) -> dict[str, Any]:
    last = task.states[-1]
    return {
        "id": task.id,
        "task": last.task_name or None,
        "name": last.run_name or None,
        "state_type": last.type,
        "state_name": last.name,
        "state_at": _time(last.at),
        "state_message": last.message or None,
    }


def _time(nanoseconds: int) -> str | None:
    return iso(nanoseconds) if nanoseconds else None
