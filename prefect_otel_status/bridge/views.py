"""What the bridge knows of deployments and runs, as JSON for scripts and pages. Reads only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger
from prefect_otel_status.bridge.catalogue import Catalogue, Known
from prefect_otel_status.bridge.core import trace_of
from prefect_otel_status.bridge.history import Subject, history_of
from prefect_otel_status.bridge.records import ACTIVE, RunRow, StateFact, StatusFact
from prefect_otel_status.bridge.tables import runs
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.model import ERROR_RESULTS, result_of


def deployments(connection: Connection, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Each deployment: environment, model, last result and success, how many runs go on."""
    query = (
        select(runs.c.flow, runs.c.deployment, func.count(), func.max(runs.c.said_at))
        .where(runs.c.phase == ACTIVE)
        .group_by(runs.c.flow, runs.c.deployment)
    )
    active = {(flow, name): (n, said) for flow, name, n, said in connection.execute(query)}
    known = {known.key: known for known in catalogue.all()}
    return [
        _deployment(known.get(key) or Known(*key), *active.get(key, (0, 0)))
        for key in sorted(known.keys() | active.keys())
    ]


def _deployment(known: Known, active: int, said_at: int) -> dict[str, Any]:
    return {
        "flow": known.flow,
        "deployment": known.deployment or None,
        "environment": known.environment or None,
        "model": known.model or None,
        "version": known.version or None,
        "health": _health(known.last_result),
        "active_runs": active,
        "last_status": known.message or None,
        "last_status_at": _time(max(said_at, known.said_at)),
        "last_status_stage": known.stage or None,
        "last_status_level": known.level or None,
        "last_result": known.last_result or None,
        "last_run_id": known.last_run_id or None,
        "last_ended_at": _time(known.last_ended),
        "last_success_at": _time(known.last_success),
        "expected_interval_seconds": known.interval or None,
    }


def _health(last_result: str) -> str:
    """`healthy`, `failing` or `unknown`: what the latest run that ended says."""
    if last_result in ERROR_RESULTS:
        return "failing"
    return "healthy" if last_result == "success" else "unknown"


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
