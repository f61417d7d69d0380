"""The last runs of each deployment that have ended: how they went, and what they said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, delete, select

from prefect_otel_status import signals
from prefect_otel_status.bridge.catalogue import Key
from prefect_otel_status.bridge.history import History
from prefect_otel_status.bridge.ledger import dialect_insert
from prefect_otel_status.bridge.records import RunRow, StatusFact
from prefect_otel_status.bridge.tables import recent
from prefect_otel_status.bridge.words import error_type_of, error_words
from prefect_otel_status.model import ERROR_RESULTS, result_of

KEPT = 30
"""Runs of a deployment that are kept."""

MOST_SAID = 20
"""Statuses of a run that are kept: the last, gates and errors before others."""

_LONGEST = 300
"""Characters of a status that are kept here; its trace has it whole."""

_LOUD = frozenset({"error", "critical"})


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """A status. `at` is in nanoseconds since 1970."""

    at: int
    message: str
    level: str = "info"
    stage: str = ""
    gate: str = ""
    decision: str = ""
    score: float | None = None
    threshold: float | None = None


class EndedRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that has ended. Times are in nanoseconds since 1970, 0 where unknown."""

    id: str
    name: str = ""
    flow: str = ""
    deployment: str = ""
    environment: str = ""
    model: str = ""
    version: str = ""
    started: int = 0
    ended: int = 0
    result: str = ""
    state: str = ""
    error_type: str = ""
    error: str = ""
    attempts: int = 0
    inferred: bool = False
    trace_id: str = ""
    said: tuple[Said, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return max(0, self.ended - self.started) / 1e9 if self.started else 0.0


_run = msgspec.json.Decoder(EndedRun)
_all_said = msgspec.json.Decoder(tuple[Said, ...])
_encode = msgspec.json.Encoder().encode


def ended_run(row: RunRow, history: History) -> EndedRun:
    """The settled run of ROW, in short."""
    final = history.own.final
    result = (result_of(final.type, final.name) if final else None) or ("error" * row.inferred)
    failed = result in ERROR_RESULTS
    return EndedRun(
        id=row.id,
        name=row.run_name,
        flow=row.flow_name,
        deployment=row.deployment_name,
        environment=row.environment,
        model=str(row.bound.get(signals.MODEL_NAME.name, "")),
        version=str(row.bound.get(signals.MODEL_VERSION.name, "")),
        started=row.started,
        ended=final.at if final else max(history.latest(), row.heartbeat_at),
        result=result,
        state=row.state_name,
        error_type=error_type_of(final) if failed else "",
        error=error_words(final)[:_LONGEST] if failed else "",
        attempts=row.attempt,
        inferred=row.inferred,
        trace_id=row.trace_id,
        said=tuple(said_of(history.own.statuses, *(t.statuses for t in history.tasks.values()))),
    )


def said_of(*statuses: Iterable[StatusFact]) -> list[Said]:
    """STATUSES in order of time; of many, the gates, the errors and the last."""
    found = sorted((_said(status) for each in statuses for status in each), key=_when)
    kept = sorted(found, key=lambda said: (bool(said.gate), said.level in _LOUD, said.at))
    return sorted(kept[-MOST_SAID:], key=_when)


def _when(said: Said) -> tuple[int, str]:
    return said.at, said.message


def _said(status: StatusFact) -> Said:
    attributes = status.attributes
    return Said(
        at=status.at,
        message=status.message[:_LONGEST],
        level=status.level,
        stage=status.stage,
        gate=str(attributes.get(signals.GATE.name, "")),
        decision=str(attributes.get(signals.DECISION.name, "")),
        score=_number(attributes.get(signals.GATE_SCORE.name)),
        threshold=_number(attributes.get(signals.GATE_THRESHOLD.name)),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def keep(connection: Connection, runs: Iterable[EndedRun]) -> None:
    """Keep RUNS, each as it was settled last, and let go of the oldest of their deployments."""
    values = [
        {
            "run_id": run.id,
            "flow": run.flow,
            "deployment": run.deployment,
            "ended": run.ended,
            "body": _encode(msgspec.structs.replace(run, said=_gates(run))),
            "said": _encode(run.said),
        }
        for run in runs
    ]
    if not values:
        return
    statement = dialect_insert(connection, recent)
    changed = {c.name: statement.excluded[c.name] for c in recent.c if c.name != "run_id"}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["run_id"], set_=changed), values
    )
    for key in {(value["flow"], value["deployment"]) for value in values}:
        _prune(connection, key)  # type: ignore[arg-type]  # both are text


def _prune(connection: Connection, key: Key) -> None:
    ours = (recent.c.flow == key[0]) & (recent.c.deployment == key[1])
    newest = select(recent.c.ended).where(ours).order_by(recent.c.ended.desc())
    last = connection.execute(newest.offset(KEPT - 1).limit(1)).scalar_one_or_none()
    if last is not None:
        connection.execute(delete(recent).where(ours, recent.c.ended < last))


def _gates(run: EndedRun) -> tuple[Said, ...]:
    return tuple(said for said in run.said if said.gate)


def load(connection: Connection) -> dict[Key, list[EndedRun]]:
    """The runs that are kept, by deployment, the latest first. `said` has their gates alone."""
    found: dict[Key, list[EndedRun]] = defaultdict(list)
    query = select(recent.c.flow, recent.c.deployment, recent.c.body)
    for flow, deployment, body in connection.execute(query.order_by(recent.c.ended.desc())):
        found[flow, deployment].append(_run.decode(body))
    return found


def load_of(connection: Connection, key: Key) -> list[EndedRun]:
    """The runs of the deployment KEY that are kept, the latest first, with what they said."""
    ours = (recent.c.flow == key[0]) & (recent.c.deployment == key[1])
    query = select(recent.c.body, recent.c.said).where(ours).order_by(recent.c.ended.desc())
    return [_whole(*row) for row in connection.execute(query)]


def load_one(connection: Connection, run_id: str) -> EndedRun | None:
    """The run RUN_ID with what it said, if it is kept."""
    query = select(recent.c.body, recent.c.said).where(recent.c.run_id == run_id)
    row = connection.execute(query).one_or_none()
    return _whole(*row) if row else None


def _whole(body: bytes, said: bytes) -> EndedRun:
    return msgspec.structs.replace(_run.decode(body), said=_all_said.decode(said))


def forget(connection: Connection, key: Key) -> None:
    """Forget the runs of the deployment KEY."""
    connection.execute(delete(recent).where(recent.c.flow == key[0], recent.c.deployment == key[1]))
