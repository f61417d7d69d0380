"""Observations into the store: what is new changes rows and steps counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger
from prefect_otel_status.bridge.catalogue import Catalogue, Known, after_status
from prefect_otel_status.bridge.project import merge, steps, time_of
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    TASK,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
    StatusFact,
    Step,
)
from prefect_otel_status.bridge.tracing import read_traceparent
from prefect_otel_status.ids import hex_trace_id

WEBSOCKET, SWEEP, RECONCILE = "websocket", "sweep", "reconcile"


@dataclass
class Ingested:
    """What a batch changed: to be committed with it, and taken over afterwards."""

    steps: list[Step] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    rows: dict[str, RunRow] = field(default_factory=dict)
    said: list[tuple[RunRow, Observation]] = field(default_factory=list)
    new: int = 0
    times: list[int] = field(default_factory=list)


def ingest(
    connection: Connection,
    observations: Sequence[Observation],
    *,
    path: str,
    catalogue: Catalogue,
    since: int,
    now: int,
    settle: int,
    expected: bool = False,
    expected_since: int = 0,
) -> Ingested:
    """Keep what is new in OBSERVATIONS, which came by PATH.

    Facts from before SINCE step no counter. A run whose end is new is due
    SETTLE nanoseconds after NOW. EXPECTED says that the websocket should have
    brought all that came after EXPECTED_SINCE, when it was opened.
    """
    rows = ledger.load_rows(connection, (o.run_id for o in observations))
    before = {run_id: row.phase for run_id, row in rows.items()}
    found = Ingested()
    for observation in ledger.add_facts(connection, observations, rows):
        row = rows.get(observation.run_id) or _new_row(observation, now)
        rows[row.id] = _apply(found, row, observation, catalogue, since)
    found.rows = {row.id: _with_due(row, before.get(row.id), now, settle) for row in rows.values()}
    ledger.save_rows(connection, found.rows.values())
    found.steps.extend(_own_steps(found, path, expected_since if expected else None))
    catalogue.write(connection, found.known)
    return found


def _apply(
    found: Ingested, row: RunRow, observation: Observation, catalogue: Catalogue, since: int
) -> RunRow:
    row = merge(row, observation)
    if isinstance(observation.what, Heartbeat | Seen):
        return row
    found.new += 1
    found.times.append(time_of(observation.what))
    environment = catalogue.environment_of(row)
    found.steps.extend(
        steps(row, observation, environment=environment, since=since, trace_id=_trace_of(row))
    )
    if isinstance(observation.what, StatusFact):
        found.said.append((row, observation))
        _learn(found, row, observation.what, catalogue)
    return row


def _trace_of(row: RunRow) -> str:
    span = read_traceparent(row.traceparent)
    return hex_trace_id(span.trace_id) if span and span.sampled else ""


def _learn(found: Ingested, row: RunRow, status: StatusFact, catalogue: Catalogue) -> None:
    if not row.flow_name:
        return  # nobody knows yet whose words these are
    known = catalogue.get((row.flow_name, row.deployment_name))
    changed = after_status(known, row, status)
    if changed != known:
        found.known.append(changed)
        # Within the transaction too: the steps that follow are of this environment.
        catalogue.adopt([changed])


def _new_row(observation: Observation, now: int) -> RunRow:
    # A task without a flow run is its own run, and needs no description.
    is_task = observation.kind == TASK
    return RunRow(observation.run_id, observation.kind, first_seen=now, described=is_task)


def _with_due(row: RunRow, before: str | None, now: int, settle: int) -> RunRow:
    """ROW with the time at which it should be settled, if its end is new. BEFORE is its phase."""
    if row.phase == ENDED and before != ENDED:
        wait = max(0, min(settle, row.state_at + settle - now))
        return msgspec.structs.replace(row, due=now + wait)
    if row.phase == ACTIVE and row.due:
        return msgspec.structs.replace(row, due=0)
    return row


def _own_steps(found: Ingested, path: str, expected_since: int | None) -> list[Step]:
    if not found.new:
        return []
    own = [Step(signals.BRIDGE_EVENTS.name, (path,), found.new)]
    # What came before the websocket was opened it could not bring.
    missed = expected_since is not None and sum(at >= expected_since for at in found.times)
    return [*own, Step(signals.BRIDGE_MISSED.name, (), missed)] if missed else own
