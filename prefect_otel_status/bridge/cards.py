"""What the pages show of deployments, out of the store. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from prefect_otel_status.bridge import ledger, recent
from prefect_otel_status.bridge.catalogue import Catalogue, Key, Known
from prefect_otel_status.bridge.history import history_of
from prefect_otel_status.bridge.recent import EndedRun, Said, said_of
from prefect_otel_status.bridge.records import ACTIVE, TASK
from prefect_otel_status.bridge.tables import runs
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.model import ERROR_RESULTS
from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.deployment import Past, SaidIn
from prefect_otel_status.web.overview import Card, GateSeen, Now

MOST_ACTIVE = 30
"""Runs that go on whose words are read for a page: those that spoke last."""

_LATE = "Late"


@dataclass(frozen=True)
class Active:
    """A run that goes on, as far as the overview needs it."""

    run_id: str
    environment: str
    state: str
    stage: str
    progress: float | None
    started: int
    said_at: int


@dataclass(frozen=True)
class Look:
    """A deployment looked at closely."""

    card: Card
    past: tuple[Past, ...]
    feed: tuple[SaidIn, ...]
    last_run: Mapping[str, str] | None


def cards(connection: Connection, catalogue: Catalogue, due: Mapping[Key, int]) -> list[Card]:
    """All deployments. DUE says when each is to run next, in nanoseconds."""
    return [card for card, _ in _all(connection, catalogue, due)]


def rows(
    connection: Connection, catalogue: Catalogue, due: Mapping[Key, int]
) -> list[dict[str, Any]]:
    """All deployments for scripts: what `/api/deployments` answers."""
    return [row_of(card, known) for card, known in _all(connection, catalogue, due)]


def _all(
    connection: Connection, catalogue: Catalogue, due: Mapping[Key, int]
) -> list[tuple[Card, Known]]:
    active = _active(connection)
    kept = recent.load(connection)
    found = {key: Known(*key) for key in active} | {each.key: each for each in catalogue.all()}
    return [
        (card_of(known, active.get(key, []), kept.get(key, []), due.get(key, 0)), known)
        for key, known in sorted(found.items())
    ]


def look(
    connection: Connection, catalogue: Catalogue, due: Mapping[Key, int], key: Key
) -> Look | None:
    """The deployment KEY with what its runs said; None where there is none."""
    active = _active(connection).get(key, [])
    known = {known.key: known for known in catalogue.all()}.get(key)
    if known is None and not active:
        return None
    kept = recent.load_of(connection, key)
    card = card_of(known or Known(*key), active, kept, due.get(key, 0))
    feed = [said for run in active[:MOST_ACTIVE] for said in _said_by(connection, run)]
    feed += [said for run in kept for said in said_in(run)]
    last = kept[0] if kept else None
    return Look(
        card,
        tuple(map(_past, kept)),
        tuple(feed),
        {"id": last.id, "trace_id": last.trace_id} if last else None,
    )


def row_of(card: Card, known: Known) -> dict[str, Any]:
    """CARD for scripts, with what only KNOWN says: a row of `/api/deployments`."""
    return {
        "flow": card.flow,
        "deployment": card.deployment or None,
        "environment": card.environment or None,
        "model": card.model or None,
        "version": card.version or None,
        "health": card.health,
        "why": card.why,
        "active_runs": card.active,
        "last_status": card.message or None,
        "last_status_at": _time(card.said_at),
        "last_status_stage": card.stage or None,
        "last_status_level": card.level or None,
        "last_result": known.last_result or None,
        "last_run_id": known.last_run_id or None,
        "last_ended_at": _time(card.last_ended),
        "last_success_at": _time(card.last_success),
        "success_rate": card.success_rate,
        "next_run_at": _time(card.next_due),
        "expected_interval_seconds": known.interval or None,
    }


def _time(nanoseconds: int) -> str | None:
    return iso(nanoseconds) if nanoseconds else None


def said_in(run: EndedRun) -> list[SaidIn]:
    """What RUN said, as far as it is kept."""
    return [_of_run(said, run.id, run.name) for said in run.said]


def bar_of(run: EndedRun) -> Bar:
    """RUN as a bar."""
    return Bar(run.id, run.name, run.result, run.seconds, run.ended)


def _active(connection: Connection) -> dict[Key, list[Active]]:
    """The runs that go on, by deployment; who spoke last comes first."""
    c = runs.c
    columns = (c.flow, c.deployment, c.id, c.environment, c.state_name, c.stage, c.progress)
    query = select(*columns, c.started, c.said_at).where(c.phase == ACTIVE, c.flow != "")
    found: dict[Key, list[Active]] = defaultdict(list)
    latest_first = query.order_by(c.said_at.desc(), c.started.desc(), c.id)
    for flow, deployment, *rest in connection.execute(latest_first):
        found[flow, deployment].append(Active(*rest))
    return found


def card_of(known: Known, active: Sequence[Active], kept: Sequence[EndedRun], due: int) -> Card:
    """KNOWN with the runs that go on, who spoke last first, and those KEPT, the latest first."""
    health, why = verdict(known, active, kept)
    return Card(
        flow=known.flow,
        deployment=known.deployment,
        environment=known.environment or next((run.environment for run in active), ""),
        model=known.model,
        version=known.version,
        health=health,
        why=why,
        message=known.message,
        level=known.level,
        stage=known.stage,
        said_at=max([known.said_at, *(run.said_at for run in active)]),
        active=len(active),
        now=_now(active),
        bars=tuple(bar_of(run) for run in reversed(kept)),
        next_due=due,
        last_ended=known.last_ended,
        last_success=known.last_success,
        gates=_gates(kept),
    )


def verdict(known: Known, active: Sequence[Active], kept: Sequence[EndedRun]) -> tuple[str, str]:
    """How a deployment is, and why: by its latest run that ended, then by what is late."""
    if known.last_result in ERROR_RESULTS:
        return "failing", _why_failing(known, kept)
    late = sum(run.state == _LATE for run in active)
    if late:
        return "late", f"{late} run{'s' if late > 1 else ''} should have begun by now."
    if known.last_result == "success":
        return "healthy", "Its latest run succeeded."
    return "unknown", "No run has ended with a result that says."


def _why_failing(known: Known, kept: Sequence[EndedRun]) -> str:
    last = next((run for run in kept if run.id == known.last_run_id), None)
    kind = f": {last.error_type}" if last and last.error_type else f": {known.last_result}"
    failed = 0
    for run in kept:
        if run.result not in ERROR_RESULTS:
            break
        failed += 1
    return (
        f"Its last {failed} runs failed{kind}." if failed > 1 else f"Its latest run failed{kind}."
    )


def _now(active: Sequence[Active]) -> Now | None:
    if not active:
        return None
    run = active[0]
    return Now(run.run_id, run.state, run.stage, run.progress, run.started)


def _gates(kept: Sequence[EndedRun]) -> tuple[GateSeen, ...]:
    """How each gate was decided last, by name."""
    found: dict[str, GateSeen] = {}
    for run in kept:
        for said in reversed(run.said):
            if said.gate and said.gate not in found:
                found[said.gate] = GateSeen(said.gate, said.decision, said.score, said.threshold)
    return tuple(found[name] for name in sorted(found))


def _past(run: EndedRun) -> Past:
    return Past(bar_of(run), run.version, run.error_type, run.error)


def _said_by(connection: Connection, run: Active) -> list[SaidIn]:
    row = ledger.load_rows(connection, [run.run_id]).get(run.run_id)
    if row is None or row.kind == TASK:
        return []
    history = history_of(run.run_id, ledger.load_facts(connection, run.run_id))
    said = said_of(history.own.statuses, *(task.statuses for task in history.tasks.values()))
    return [_of_run(each, run.run_id, row.run_name) for each in said]


def _of_run(said: Said, run_id: str, name: str) -> SaidIn:
    return SaidIn(said.at, said.message, said.level, said.stage, run_id, name)
