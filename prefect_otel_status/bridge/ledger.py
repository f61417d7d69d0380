"""What is kept of the runs: rows, facts, deployments. Called inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    SETTLED,
    Fact,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
)
from prefect_otel_status.bridge.tables import facts, runs

T = TypeVar("T")

CHUNK = 500
"""Rows of one statement: Postgres takes 32,767 parameters, SQLite about as many."""

_HASH = 8

_row_decoder = msgspec.json.Decoder(RunRow)
_fact_decoder = msgspec.json.Decoder(Fact)
_encode = msgspec.json.Encoder().encode


def dialect_insert(connection: Connection, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, for whichever database CONNECTION is to."""
    kind = postgresql if connection.dialect.name == "postgresql" else sqlite
    return kind.insert(table)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """ITEMS in lists of at most SIZE."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def load_rows(connection: Connection, ids: Iterable[str]) -> dict[str, RunRow]:
    """The rows of the runs IDS that are known."""
    found: dict[str, RunRow] = {}
    for chunk in chunks(sorted(set(ids))):
        query = select(runs.c.body).where(runs.c.id.in_(chunk))
        for (body,) in connection.execute(query):
            row = _row_decoder.decode(body)
            found[row.id] = row
    return found


def save_rows(connection: Connection, rows: Iterable[RunRow]) -> None:
    """Write ROWS, new or changed."""
    statement = dialect_insert(connection, runs)
    changed = {
        column.name: statement.excluded[column.name]
        for column in runs.c
        if column.name not in ("id", "seen_keys")
    }
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=changed)
    values = [_columns(row) for row in rows]
    if values:
        connection.execute(statement, values)


def _columns(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "phase": row.phase,
        "due": row.due,
        "flow": row.flow_name,
        "deployment": row.deployment_name,
        "environment": row.environment,
        "state_type": row.state_type[:16],
        "state_name": row.state_name,
        "started": row.started,
        "said_at": row.said_at,
        "stage": row.stage,
        "progress": row.progress,
        "body": _encode(row),
    }


def add_facts(
    connection: Connection, observations: Sequence[Observation], rows: Mapping[str, RunRow]
) -> list[Observation]:
    """Keep the facts among OBSERVATIONS; return, in order, the observations that say something new.

    What is about the run itself, and not a fact, is always new. A fact that is
    known, from before or from the same batch, is left out.
    """
    candidates = _without_settled(connection, observations, rows)
    wanted: dict[tuple[str, str, str], Observation] = {}
    for observation in candidates:
        if not isinstance(observation.what, Heartbeat | Seen):
            wanted.setdefault(_key(observation), observation)
    new = _insert(connection, wanted)
    return [o for o in candidates if isinstance(o.what, Heartbeat | Seen) or _is_first(o, new)]


def _is_first(observation: Observation, new: set[tuple[str, str, str]]) -> bool:
    """Whether its fact is NEW, and this the first of the batch to tell it."""
    key = _key(observation)
    if key not in new:
        return False
    new.remove(key)
    return True


def _key(observation: Observation) -> tuple[str, str, str]:
    what = observation.what
    assert not isinstance(what, Heartbeat | Seen)  # they have none
    return observation.run_id, observation.subject_id, what.key


def _insert(
    connection: Connection, wanted: Mapping[tuple[str, str, str], Observation]
) -> set[tuple[str, str, str]]:
    """Insert what is not there yet; the keys of what was inserted."""
    new: set[tuple[str, str, str]] = set()
    statement = dialect_insert(connection, facts).on_conflict_do_nothing()
    returning = statement.returning(facts.c.run_id, facts.c.subject_id, facts.c.key)
    values = [
        {"run_id": run_id, "subject_id": subject, "key": key, "body": _encode(observation.what)}
        for (run_id, subject, key), observation in wanted.items()
    ]
    for chunk in chunks(values, 2000):
        new.update(tuple(row) for row in connection.execute(returning, chunk))
    return new


def _without_settled(
    connection: Connection, observations: Sequence[Observation], rows: Mapping[str, RunRow]
) -> list[Observation]:
    """OBSERVATIONS without the facts that went into spans that are frozen already."""
    closed = {o.run_id for o in observations if o.run_id in rows and rows[o.run_id].closings}
    if not closed:
        return list(observations)
    known = dict(_seen_keys(connection, closed))
    return [
        o
        for o in observations
        if o.run_id not in known
        or isinstance(o.what, Heartbeat | Seen)
        or hash_of(o.subject_id, o.what.key) not in known[o.run_id]
    ]


def _seen_keys(connection: Connection, ids: Iterable[str]) -> Iterator[tuple[str, set[bytes]]]:
    for chunk in chunks(sorted(ids)):
        query = select(runs.c.id, runs.c.seen_keys).where(runs.c.id.in_(chunk))
        for run_id, keys in connection.execute(query):
            keys = keys or b""
            yield run_id, {keys[i : i + _HASH] for i in range(0, len(keys), _HASH)}


def hash_of(subject_id: str, key: str) -> bytes:
    """A short stand-in for the key of a fact of a run that is settled."""
    return blake2b(f"{subject_id} {key}".encode(), digest_size=_HASH).digest()


def load_facts(connection: Connection, run_id: str) -> list[tuple[str, Fact]]:
    """All facts of the run RUN_ID, with their subjects."""
    query = select(facts.c.subject_id, facts.c.body).where(facts.c.run_id == run_id)
    return [(subject, _fact_decoder.decode(body)) for subject, body in connection.execute(query)]


def load_fact_keys(connection: Connection, run_id: str) -> set[tuple[str, str]]:
    """Subject and key of each fact of the run RUN_ID that is kept."""
    query = select(facts.c.subject_id, facts.c.key).where(facts.c.run_id == run_id)
    return {(subject, key) for subject, key in connection.execute(query)}


def forget_facts(connection: Connection, run_id: str) -> None:
    """Let go of the facts of a settled run, but for a short stand-in of each key."""
    keys = load_fact_keys(connection, run_id)
    hashes = b"".join(sorted(hash_of(subject, key) for subject, key in keys))
    before = connection.execute(select(runs.c.seen_keys).where(runs.c.id == run_id)).scalar_one()
    connection.execute(
        runs.update().where(runs.c.id == run_id).values(seen_keys=(before or b"") + hashes)
    )
    connection.execute(delete(facts).where(facts.c.run_id == run_id))


def due_rows(connection: Connection, *, now: int, limit: int) -> list[RunRow]:
    """The runs whose end was seen and which have settled, the longest waiting first."""
    query = (
        select(runs.c.body)
        .where(runs.c.phase == ENDED, runs.c.due <= now)
        .order_by(runs.c.due, runs.c.id)
        .limit(limit)
    )
    return [_row_decoder.decode(body) for (body,) in connection.execute(query)]


def active_rows(connection: Connection) -> list[RunRow]:
    """The runs that go on."""
    query = select(runs.c.body).where(runs.c.phase == ACTIVE)
    return [_row_decoder.decode(body) for (body,) in connection.execute(query)]


def count_unsettled(connection: Connection) -> int:
    """How many runs have ended and are not settled yet."""
    query = select(func.count()).select_from(runs).where(runs.c.phase == ENDED)
    return int(connection.execute(query).scalar_one())


def purge(connection: Connection, *, before: int) -> int:
    """Forget the runs that were settled and due before BEFORE; how many."""
    gone = connection.execute(delete(runs).where(runs.c.phase == SETTLED, runs.c.due < before))
    return int(gone.rowcount)


def let_go(connection: Connection, ids: Iterable[str], *, now: int) -> None:
    """Give up runs that the server no longer has, undrawn; they are purged in time.

    Their events outlive them there, and must not be counted again.
    """
    for row in load_rows(connection, ids).values():
        gone = msgspec.structs.replace(row, phase=SETTLED, due=now, closings=row.closings + 1)
        save_rows(connection, [gone])
        forget_facts(connection, row.id)
