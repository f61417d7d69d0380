"""The gauges that the store can answer: active runs, deployments, what waits for export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import outbox
from prefect_otel_status.bridge.exposition import Family
from prefect_otel_status.bridge.folding import Labels
from prefect_otel_status.bridge.records import ACTIVE
from prefect_otel_status.bridge.tables import deployments, runs
from prefect_otel_status.sanitize import line
from prefect_otel_status.signals import Metric

Gauges = dict[Metric, list[tuple[Labels, float]]]
"""The values of each gauge, by the values of its labels."""

_RUN_STATES = {
    "SCHEDULED": "pending",
    "PENDING": "pending",
    "PAUSED": "pending",
    "RUNNING": "executing",
    "CANCELLING": "finalizing",
}
"""Where a run is, in the conventions' words, by the type of its state."""

_LATE = "Late"


def read_gauges(conn: Connection, *, now: int) -> Gauges:
    """What the store says at NOW. Its cost does not grow with the runs that have ended."""
    known = conn.execute(select(deployments)).all()
    return {**_of_active_runs(conn, known), **_of_deployments(known), **_of_outbox(conn, now)}


def families(gauges: Mapping[Metric, Iterable[tuple[Labels, float]]]) -> list[Family]:
    """GAUGES as the exposition wants them: in order, each series once, none without series."""
    return [
        Family(metric, sorted(dict(samples).items()))
        for metric, samples in gauges.items()
        if samples
    ]


def _of_active_runs(conn: Connection, known: Iterable[Any]) -> Gauges:
    environments = {(row.flow, row.deployment): row.environment for row in known}
    groups = [_placed(row, environments) for row in conn.execute(_active_groups())]
    return {
        signals.RUN_ACTIVE: _active(groups, known),
        signals.RUNS_LATE: _late(groups, known),
        signals.OLDEST_ACTIVE_START: _least(groups, "started"),
        signals.LAST_MESSAGE: _least(groups, "said_at"),
        signals.PROGRESS_RATIO: _progress(conn, environments),
    }


def _placed(row: Any, environments: Mapping[tuple[str, str], str]) -> Any:
    """ROW with an environment: its own, or until it has bound one that of its deployment."""
    found = row.environment or environments.get((row.flow, row.deployment), "")
    return SimpleNamespace(**{**row._mapping, "environment": found})


def _active_groups() -> Any:
    c = runs.c
    by = (c.flow, c.deployment, c.environment, c.state_type, c.state_name)
    return (
        select(
            *by,
            func.count().label("number"),
            func.min(func.nullif(c.started, 0)).label("started"),
            func.min(func.nullif(c.said_at, 0)).label("said_at"),
        )
        .where(c.phase == ACTIVE, c.flow != "")
        .group_by(*by)
    )


def _active(groups: Iterable[Any], known: Iterable[Any]) -> list[tuple[Labels, float]]:
    # At 0 and not gone while nothing runs: an alert must tell the two apart.
    states = sorted(set(_RUN_STATES.values()))
    found = dict.fromkeys(((*_of_run(row), state) for row in known for state in states), 0.0)
    for group in groups:
        state = _RUN_STATES.get(group.state_type)
        if state is not None:
            key = (*_of_run(group), state)
            found[key] = found.get(key, 0.0) + group.number
    return list(found.items())


def _late(groups: Iterable[Any], known: Iterable[Any]) -> list[tuple[Labels, float]]:
    found: defaultdict[Labels, float] = defaultdict(float, {_of_run(row): 0.0 for row in known})
    for group in groups:
        found[_of_run(group)] += group.number if group.state_name == _LATE else 0
    return list(found.items())


def _least(groups: Iterable[Any], column: str) -> list[tuple[Labels, float]]:
    found: dict[Labels, float] = {}
    for group in groups:
        value = getattr(group, column)
        if value is not None:
            key = _of_run(group)
            found[key] = min(value / 1e9, found.get(key, value / 1e9))
    return list(found.items())


def _progress(
    conn: Connection, environments: Mapping[tuple[str, str], str]
) -> list[tuple[Labels, float]]:
    c = runs.c
    spoken = (
        select(c.flow, c.deployment, c.environment, c.stage, c.progress)
        .where(c.phase == ACTIVE, c.flow != "", c.progress.is_not(None))
        .order_by(c.said_at, c.id)
    )
    # Who spoke last comes last, and stays.
    rows = [_placed(row, environments) for row in conn.execute(spoken)]
    return list({(*_of_run(row), line(row.stage)): float(row.progress) for row in rows}.items())


def _of_deployments(known: Iterable[Any]) -> Gauges:
    def of(
        value: Callable[[Any], float], labels: Callable[[Any], Labels]
    ) -> list[tuple[Labels, float]]:
        return [(labels(row), value(row)) for row in known if value(row)]

    return {
        signals.LAST_SUCCESS: of(lambda row: row.last_success / 1e9, _of_run),
        signals.LAST_RUN: of(
            lambda row: row.last_ended / 1e9 if row.last_result else 0.0,
            lambda row: (*_of_run(row), line(row.last_result)),
        ),
        signals.LAST_STATUS: of(
            lambda row: row.said_at / 1e9,
            lambda row: (*_of_run(row), line(row.stage), line(row.level), line(row.template)),
        ),
        signals.EXPECTED_INTERVAL: of(
            lambda row: max(0.0, float(row.interval)), lambda row: _of_run(row)[:2]
        ),
        signals.DEPLOYMENT_INFO: of(
            lambda row: 1.0 if row.model or row.version else 0.0,
            lambda row: (*_of_run(row), line(row.model), line(row.version)),
        ),
    }


def _of_outbox(conn: Connection, now: int) -> Gauges:
    depth = outbox.depth(conn)
    age = max(0, now - depth.oldest_created) / 1e9 if depth.oldest_created else 0.0
    return {
        signals.BRIDGE_OUTBOX_ITEMS: [((), float(depth.items))],
        signals.BRIDGE_OUTBOX_SIZE: [((), float(depth.bytes))],
        signals.BRIDGE_OUTBOX_AGE: [((), age)],
        signals.BRIDGE_SET_ASIDE: [((), float(depth.set_aside))],
    }


def _of_run(row: Any) -> Labels:
    return line(row.flow), line(row.deployment), line(row.environment)
