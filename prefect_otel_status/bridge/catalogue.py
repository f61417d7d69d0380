"""What is known of deployments beyond their runs: environment, model, last success, schedule."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, delete, select

from prefect_otel_status import signals
from prefect_otel_status.bridge.ledger import dialect_insert
from prefect_otel_status.bridge.records import RunRow, StatusFact
from prefect_otel_status.bridge.tables import deployments, runs

_replace = msgspec.structs.replace

Key = tuple[str, str]
"""A flow's name and a deployment's; the latter is empty for runs without one."""


class Known(msgspec.Struct, frozen=True):
    """A deployment, as its runs have shown it. Times in nanoseconds, `interval` in seconds."""

    flow: str
    deployment: str
    environment: str = ""
    model: str = ""
    version: str = ""
    last_success: int = 0
    last_seen: int = 0
    interval: float = 0.0
    last_result: str = ""
    last_run_id: str = ""
    last_ended: int = 0
    said_at: int = 0
    stage: str = ""
    level: str = ""
    template: str = ""
    message: str = ""

    @property
    def key(self) -> Key:
        return self.flow, self.deployment


class Catalogue:
    """The deployments, in memory as in the store. Changes show once `adopt` was called."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}

    def load(self, connection: Connection) -> None:
        """Read all of them."""
        columns = [deployments.c[name] for name in Known.__struct_fields__]
        self._known = {
            known.key: known
            for known in (Known(*row) for row in connection.execute(select(*columns)))
        }

    def all(self) -> list[Known]:
        return list(self._known.values())

    def get(self, key: Key) -> Known:
        """The deployment KEY, new where it is not known."""
        return self._known.get(key) or Known(*key)

    def environment_of(self, row: RunRow) -> str:
        """The environment that runs like this one were last known to be in."""
        return self.get((row.flow_name, row.deployment_name)).environment or row.environment

    def write(self, connection: Connection, changed: Iterable[Known]) -> None:
        """Write CHANGED deployments."""
        statement = dialect_insert(connection, deployments)
        columns = {
            name: statement.excluded[name]
            for name in Known.__struct_fields__
            if name not in ("flow", "deployment")
        }
        statement = statement.on_conflict_do_update(
            index_elements=["flow", "deployment"], set_=columns
        )
        latest = {known.key: known for known in changed}
        values = [msgspec.structs.asdict(known) for known in latest.values()]
        if values:
            connection.execute(statement, values)

    def adopt(self, changed: Iterable[Known]) -> None:
        """Take CHANGED over, now that they are committed."""
        self._known.update((known.key, known) for known in changed)

    def retire(self, connection: Connection, key: Key) -> None:
        """Forget the deployment KEY in the store."""
        connection.execute(
            delete(deployments).where(
                deployments.c.flow == key[0], deployments.c.deployment == key[1]
            )
        )

    def forget(self, key: Key) -> None:
        """Forget the deployment KEY in memory, now that this is committed."""
        self._known.pop(key, None)


def after_run(known: Known, row: RunRow, result: str | None) -> Known:
    """KNOWN after the settled run of ROW ended with RESULT. An older run changes nothing."""
    if row.state_at < known.last_ended:
        return known
    bound = row.bound
    known = _replace(
        known,
        environment=row.environment or known.environment,
        last_seen=max(known.last_seen, row.state_at),
        last_ended=row.state_at,
        last_result=result or "",
        last_run_id=row.id,
    )
    if result != "success":
        return known
    return _replace(
        known,
        last_success=row.state_at,
        model=str(bound.get(signals.MODEL_NAME.name) or known.model),
        version=str(bound.get(signals.MODEL_VERSION.name) or known.version),
    )


def after_status(known: Known, row: RunRow, status: StatusFact) -> Known:
    """KNOWN after the run of ROW said STATUS: the environment, and the last words if later."""
    if row.environment:
        known = _replace(known, environment=row.environment)
    if (status.at, status.message) <= (known.said_at, known.message):
        return known
    return _replace(
        known,
        said_at=status.at,
        stage=status.stage,
        level=status.level,
        template=status.label,
        message=status.message,
    )


def stale(connection: Connection, catalogue: Catalogue, *, before: int) -> list[Key]:
    """The deployments without a run since BEFORE and without a schedule."""
    with_runs = {
        (flow, deployment)
        for flow, deployment in connection.execute(
            select(runs.c.flow, runs.c.deployment).distinct()
        )
    }
    return [
        known.key
        for known in catalogue.all()
        if known.last_seen < before and not known.interval and known.key not in with_runs
    ]
