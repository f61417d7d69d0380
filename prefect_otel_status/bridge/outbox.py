"""What waits for the receiver's confirmation: frozen items, in order, within a cap.

All of it runs in the caller's transaction. The cap is enforced only as new
items come, so that what is there at a start, under whatever cap it was
gathered, is never deleted by the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from prefect_otel_status.bridge.tables import outbox

OUTBOX_SIZE, OUTBOX_AGE, SET_ASIDE_SIZE = "outbox_size", "outbox_age", "set_aside_size"
"""Why an item was dropped."""

_CHUNK = 500  # ids in one statement; SQLite and asyncpg bound the number of parameters

_columns = outbox.c
_waiting = _columns.set_aside.is_(None)
_aside = _columns.set_aside.is_not(None)


class OutboxItem(msgspec.Struct, frozen=True):
    """An item as it goes in. `created` is in nanoseconds; `terminal` ones are dropped last."""

    signal: str
    terminal: bool
    created: int
    name: str
    body: bytes


class Row(msgspec.Struct, frozen=True):
    """An item as it comes out. `attempts` counts answers that bound the number of tries."""

    id: int
    name: str
    attempts: int
    body: bytes


class SetAside(msgspec.Struct, frozen=True):
    """An item that the receiver refused, without its bytes, and why."""

    id: int
    signal: str
    name: str
    created: int
    size: int
    reason: str


class Depth(msgspec.Struct, frozen=True):
    """How much waits, since when (0 for nothing), and how many items are set aside."""

    items: int = 0
    bytes: int = 0
    oldest_created: int = 0
    set_aside: int = 0


class Cap(msgspec.Struct, frozen=True):
    """How much may wait, for how long, and how much may be set aside.

    `since` is when the bridge started: what was too old by then was never
    given a chance, and is not dropped for its age.
    """

    max_bytes: int = 256_000_000
    max_age_ns: int = 7 * 24 * 3600 * 10**9
    set_aside_bytes: int = 32_000_000
    since: int = 0


class Group(NamedTuple):
    """Items of one kind; `new` tells those that just came, None does not look."""

    terminal: bool
    new: bool | None = None


class Plan(NamedTuple):
    """How many bytes have to go, and from which groups, in this order, oldest first."""

    excess: int
    groups: tuple[Group, ...]


def plan(*, before: int, added: int, cap: int) -> Plan:
    """What has to go of BEFORE bytes and the ADDED ones, to stay within CAP.

    Detail goes before terminal items, the oldest first. Where more was there
    than CAP allows, because somebody lowered it, that is the cap until it has
    drained: new detail gives way to what was there, and only new terminal
    items take the place of old detail.
    """
    lowered = before > cap
    excess = before + added - max(cap, before)
    if lowered:
        return Plan(excess, (Group(False, True), Group(False, False), Group(True, True)))
    return Plan(max(excess, 0), (Group(False), Group(True)))


def put(conn: Connection, items: Sequence[OutboxItem], *, cap: Cap, now: int) -> dict[str, int]:
    """Add ITEMS, then drop what is above CAP; return how many were dropped, by reason."""
    if not items:
        return {}
    aged = _drop_aged(conn, cap, now)
    before, last = _held(conn, _waiting), _last_id(conn)
    conn.execute(insert(outbox), [_values(item) for item in items])
    added = sum(len(item.body) for item in items)
    wanted = plan(before=before, added=added, cap=cap.max_bytes)
    dropped = _drop(conn, wanted, among=_waiting, new=_columns.id > last)
    return _counts({OUTBOX_AGE: aged, OUTBOX_SIZE: dropped})


def take(conn: Connection, signal: str, *, max_bytes: int, max_items: int) -> list[Row]:
    """The oldest items of SIGNAL, as far as MAX_BYTES and MAX_ITEMS allow; at least one.

    They stay where they are until `confirm` or `set_aside`.
    """
    mine = _waiting & (_columns.signal == signal)
    query = select(_columns.id, _columns.size).where(mine).order_by(_columns.id).limit(max_items)
    found = [(row.id, row.size) for row in conn.execute(query)]
    last = _last_within(found, max_bytes)
    return _rows(conn, mine & (_columns.id <= last)) if last else []


def get(conn: Connection, id: int) -> Row | None:
    """The item ID, waiting or set aside, with its bytes."""
    return next(iter(_rows(conn, _columns.id == id)), None)


def confirm(conn: Connection, ids: Sequence[int]) -> int:
    """Delete items that the receiver has; return how many were still there. Safe to repeat."""
    return _delete(conn, ids)


def failed(conn: Connection, ids: Sequence[int]) -> None:
    """Count a try for each of IDS, where the answer was one that is not awaited for ever."""
    for chunk in _chunks(ids):
        tried = update(outbox).where(_columns.id.in_(chunk))
        conn.execute(tried.values(attempts=_columns.attempts + 1))


def set_aside(conn: Connection, ids: Sequence[int], reason: str, *, cap: Cap) -> dict[str, int]:
    """Keep IDS out of what is sent, with the REASON; return how many were dropped, by reason."""
    before = _held(conn, _aside)
    mine = _columns.id.in_(ids)
    added = _held(conn, _waiting & mine)
    conn.execute(update(outbox).where(_waiting & mine).values(set_aside=reason))
    wanted = plan(before=before, added=added, cap=cap.set_aside_bytes)
    return _counts({SET_ASIDE_SIZE: _drop(conn, wanted, among=_aside, new=mine)})


def list_set_aside(conn: Connection) -> list[SetAside]:
    """What the receiver refused, the oldest first."""
    columns = [_columns[name] for name in SetAside.__struct_fields__ if name in _columns]
    query = select(*columns, _columns.set_aside.label("reason")).where(_aside)
    found = conn.execute(query.order_by(_columns.id)).mappings()
    return [SetAside(**row) for row in found]


def release_set_aside(conn: Connection, ids: Sequence[int] | None = None) -> int:
    """Have IDS, or all, sent again; return how many there were."""
    if ids is None:
        return _release(conn, _aside)
    return sum(_release(conn, _aside & _columns.id.in_(chunk)) for chunk in _chunks(ids))


def depth(conn: Connection) -> Depth:
    """How much waits, and how much is set aside."""
    size = func.coalesce(func.sum(_columns.size), 0)
    items, total = conn.execute(select(func.count(), size).where(_waiting)).one()
    aside = conn.execute(select(func.count()).select_from(outbox).where(_aside)).scalar_one()
    return Depth(items, int(total), _oldest(conn), aside)


def _release(conn: Connection, those: ColumnElement[bool]) -> int:
    return conn.execute(update(outbox).where(those).values(set_aside=None, attempts=0)).rowcount


def _drop_aged(conn: Connection, cap: Cap, now: int) -> int:
    limit = now - cap.max_age_ns
    # A look at the oldest alone, as a rule: to delete by age reads all that waits.
    if not limit > _oldest(conn) > 0:
        return 0
    aged = (_columns.created < limit) & (_columns.created >= cap.since - cap.max_age_ns)
    return conn.execute(delete(outbox).where(_waiting & aged)).rowcount


def _drop(
    conn: Connection, wanted: Plan, *, among: ColumnElement[bool], new: ColumnElement[bool]
) -> int:
    dropped, excess = 0, wanted.excess
    for group in wanted.groups:
        if excess <= 0:
            break
        ids, size = _oldest_of(conn, among & _clause(group, new), excess)
        dropped += _delete(conn, ids)
        excess -= size
    return dropped


def _clause(group: Group, new: ColumnElement[bool]) -> ColumnElement[bool]:
    kind = _columns.terminal.is_(group.terminal)
    if group.new is None:
        return kind
    return kind & (new if group.new else ~new)


def _oldest_of(conn: Connection, those: ColumnElement[bool], size: int) -> tuple[list[int], int]:
    """The ids of the oldest of THOSE that make up SIZE bytes, and what they make up."""
    ids, total = [], 0
    query = select(_columns.id, _columns.size).where(those).order_by(_columns.id)
    with conn.execute(query) as found:
        for id, bytes_ in found:
            ids.append(id)
            total += bytes_
            if total >= size:
                break
    return ids, total


def _delete(conn: Connection, ids: Sequence[int]) -> int:
    return sum(
        conn.execute(delete(outbox).where(_columns.id.in_(chunk))).rowcount
        for chunk in _chunks(ids)
    )


def _rows(conn: Connection, those: ColumnElement[bool]) -> list[Row]:
    columns = [_columns.id, _columns.name, _columns.attempts, _columns.body]
    query = select(*columns).where(those).order_by(_columns.id)
    return [
        Row(id, name, attempts, bytes(body)) for id, name, attempts, body in conn.execute(query)
    ]


def _last_within(found: Sequence[tuple[int, int]], max_bytes: int) -> int:
    """The last id of FOUND, pairs of id and size, within MAX_BYTES; the first in any case."""
    last, total = 0, 0
    for id, size in found:
        total += size
        if last and total > max_bytes:
            break
        last = id
    return last


def _held(conn: Connection, those: ColumnElement[bool]) -> int:
    query = select(func.coalesce(func.sum(_columns.size), 0)).where(those)
    return int(conn.execute(query).scalar_one())


def _oldest(conn: Connection) -> int:
    query = select(_columns.created).where(_waiting).order_by(_columns.id).limit(1)
    return conn.execute(query).scalar() or 0


def _last_id(conn: Connection) -> int:
    return conn.execute(select(func.max(_columns.id))).scalar() or 0


def _counts(found: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in found.items() if count}


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _values(item: OutboxItem) -> dict[str, object]:
    return {**msgspec.structs.asdict(item), "size": len(item.body), "attempts": 0}
