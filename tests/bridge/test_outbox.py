from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.engine import Connection

from prefect_otel_status.bridge import outbox, tables
from prefect_otel_status.bridge.outbox import (
    Cap,
    Depth,
    Group,
    OutboxItem,
    Plan,
    Row,
    SetAside,
    confirm,
    depth,
    failed,
    get,
    list_set_aside,
    plan,
    put,
    release_set_aside,
    set_aside,
    take,
)

WIDE = Cap()
NOW = 1_000_000
DETAIL, TERMINAL = False, True


@pytest.fixture
def conn() -> Iterator[Connection]:
    yield from _store()


def _store() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def item(name: str, *, terminal: bool = DETAIL, size: int = 10, created: int = NOW) -> OutboxItem:
    return OutboxItem("traces", terminal, created, name, name.encode().ljust(size, b"."))


def items(names: str, *, terminal: bool = DETAIL) -> list[OutboxItem]:
    return [item(name, terminal=terminal) for name in names]


def add(
    conn: Connection, new: Sequence[OutboxItem], cap: Cap = WIDE, now: int = NOW
) -> dict[str, int]:
    return put(conn, new, cap=cap, now=now)


def names(conn: Connection) -> str:
    """The names of what waits, in order."""
    return "".join(row.name for row in take(conn, "traces", max_bytes=10**9, max_items=10**6))


# --- in and out --------------------------------------------------------------
def test_what_went_in_comes_out_oldest_first_and_stays(conn: Connection) -> None:
    assert add(conn, items("ab")) == {}
    add(conn, [OutboxItem("logs", DETAIL, 5, "log", b"l")])
    expected = [Row(1, "a", 0, b"a........."), Row(2, "b", 0, b"b.........")]
    for _ in range(2):
        assert take(conn, "traces", max_bytes=100, max_items=10) == expected
    assert take(conn, "logs", max_bytes=100, max_items=10) == [Row(3, "log", 0, b"l")]
    assert depth(conn) == Depth(items=3, bytes=21, oldest_created=NOW)


def test_nothing_is_nothing(conn: Connection) -> None:
    assert add(conn, []) == {}
    assert take(conn, "traces", max_bytes=100, max_items=10) == []
    assert get(conn, 1) is None
    assert (confirm(conn, []), release_set_aside(conn), list_set_aside(conn)) == (0, 0, [])
    assert depth(conn) == Depth()


@pytest.mark.parametrize(
    ("max_bytes", "max_items", "expected"),
    [(20, 9, "ab"), (29, 9, "ab"), (30, 9, "abc"), (1, 9, "a"), (99, 2, "ab")],
)
def test_a_batch_is_bounded_and_never_empty(
    conn: Connection, max_bytes: int, max_items: int, expected: str
) -> None:
    add(conn, items("abcd"))
    found = take(conn, "traces", max_bytes=max_bytes, max_items=max_items)
    assert "".join(row.name for row in found) == expected


def test_what_is_confirmed_is_gone_and_repeating_it_harms_nothing(conn: Connection) -> None:
    add(conn, items("abc"))
    assert [confirm(conn, [1, 3]), confirm(conn, [1, 3])] == [2, 0]
    assert names(conn) == "b"


def test_many_are_confirmed_at_once(conn: Connection) -> None:
    add(conn, [item("x") for _ in range(1201)])
    assert confirm(conn, list(ids_of_all(conn))) == 1201
    assert depth(conn) == Depth()


def ids_of_all(conn: Connection) -> list[int]:
    return list(conn.execute(select(tables.outbox.c.id)).scalars())


def test_failures_are_counted_for_each(conn: Connection) -> None:
    add(conn, items("ab"))
    failed(conn, [1])
    failed(conn, [1, 2])
    assert [get(conn, id) for id in (1, 2)] == [
        Row(1, "a", 2, b"a........."),
        Row(2, "b", 1, b"b........."),
    ]


# --- set aside ---------------------------------------------------------------
def test_what_is_set_aside_is_listed_and_no_longer_sent(conn: Connection) -> None:
    add(conn, items("abc"))
    assert set_aside(conn, [2], "too odd", cap=WIDE) == {}
    assert names(conn) == "ac"
    assert list_set_aside(conn) == [SetAside(2, "traces", "b", NOW, 10, "too odd")]
    assert depth(conn) == Depth(items=2, bytes=20, oldest_created=NOW, set_aside=1)
    assert get(conn, 2) == Row(2, "b", 0, b"b.........")


def test_what_is_released_is_sent_first_and_tried_anew(conn: Connection) -> None:
    add(conn, items("abc"))
    failed(conn, [1, 2])
    set_aside(conn, [1, 2], "too odd", cap=WIDE)
    assert release_set_aside(conn, [2, 3]) == 1  # 3 is not set aside
    assert names(conn) == "bc"
    assert release_set_aside(conn) == 1
    assert names(conn) == "abc"
    assert {row.attempts for row in take(conn, "traces", max_bytes=99, max_items=9)} == {0}


def test_what_is_set_aside_has_a_cap_of_its_own(conn: Connection) -> None:
    cap = Cap(max_bytes=10**6, set_aside_bytes=20)
    add(conn, [*items("abc"), *items("T", terminal=TERMINAL), *items("d")], cap)
    assert set_aside(conn, [1], "x", cap=cap) == {}
    assert set_aside(conn, [4], "x", cap=cap) == {}
    assert set_aside(conn, [2], "x", cap=cap) == {outbox.SET_ASIDE_SIZE: 1}
    assert [found.name for found in list_set_aside(conn)] == ["b", "T"]
    assert names(conn) == "cd"


def test_a_lowered_cap_deletes_nothing_that_was_set_aside(conn: Connection) -> None:
    add(conn, items("abcd"))
    set_aside(conn, [1, 2, 3], "x", cap=WIDE)
    assert set_aside(conn, [4], "x", cap=Cap(set_aside_bytes=10)) == {outbox.SET_ASIDE_SIZE: 1}
    assert [found.name for found in list_set_aside(conn)] == ["a", "b", "c"]


# --- the cap on bytes --------------------------------------------------------
def test_detail_goes_before_terminal_items_the_oldest_first(conn: Connection) -> None:
    cap = Cap(max_bytes=40)
    add(conn, [*items("a"), *items("T", terminal=TERMINAL), *items("bc")], cap)
    assert add(conn, items("d"), cap) == {outbox.OUTBOX_SIZE: 1}
    assert names(conn) == "Tbcd"
    assert add(conn, items("UV", terminal=TERMINAL), cap) == {outbox.OUTBOX_SIZE: 2}
    assert names(conn) == "TdUV"
    assert add(conn, items("WX", terminal=TERMINAL), cap) == {outbox.OUTBOX_SIZE: 2}
    assert names(conn) == "UVWX"


def test_more_than_the_cap_at_once_is_cut_to_it(conn: Connection) -> None:
    new = [*items("ab"), *items("TU", terminal=TERMINAL)]
    assert add(conn, new, Cap(max_bytes=25)) == {outbox.OUTBOX_SIZE: 2}
    assert names(conn) == "TU"


def test_what_is_set_aside_takes_no_room(conn: Connection) -> None:
    cap = Cap(max_bytes=20)
    add(conn, items("ab"), cap)
    set_aside(conn, [1], "x", cap=cap)
    assert add(conn, items("c"), cap) == {}


@pytest.mark.fault(11)
def test_a_lowered_cap_deletes_nothing_and_holds_off_new_detail(conn: Connection) -> None:
    add(conn, [*items("abc"), *items("TU", terminal=TERMINAL)])
    lowered = Cap(max_bytes=20)
    assert names(conn) == "abcTU"
    assert add(conn, items("de"), lowered) == {outbox.OUTBOX_SIZE: 2}
    assert names(conn) == "abcTU"


def test_under_a_lowered_cap_new_terminal_items_take_the_place_of_detail(conn: Connection) -> None:
    add(conn, [*items("abc"), *items("TU", terminal=TERMINAL)])
    lowered = Cap(max_bytes=20)
    assert add(conn, [*items("d"), *items("V", terminal=TERMINAL)], lowered) == {
        outbox.OUTBOX_SIZE: 2
    }
    assert names(conn) == "bcTUV"
    # Terminal ones that were there never go for new ones.
    assert add(conn, items("WXY", terminal=TERMINAL), lowered) == {outbox.OUTBOX_SIZE: 3}
    assert names(conn) == "TUVXY"


def test_a_lowered_cap_comes_into_force_as_the_backlog_drains(conn: Connection) -> None:
    add(conn, items("abcd"))
    lowered = Cap(max_bytes=20)
    confirm(conn, [1, 2])
    assert names(conn) == "cd"
    assert add(conn, items("e"), lowered) == {outbox.OUTBOX_SIZE: 1}
    assert names(conn) == "de"


@pytest.mark.parametrize(
    ("before", "added", "cap", "expected"),
    [
        (0, 10, 100, Plan(0, (Group(False), Group(True)))),
        (100, 0, 100, Plan(0, (Group(False), Group(True)))),
        (90, 30, 100, Plan(20, (Group(False), Group(True)))),
        (
            101,
            30,
            100,
            Plan(30, (Group(False, True), Group(False, False), Group(True, True))),
        ),
    ],
)
def test_the_plan(before: int, added: int, cap: int, expected: Plan) -> None:
    assert plan(before=before, added=added, cap=cap) == expected


_batches = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=8), max_size=6
)


@settings(max_examples=60, deadline=None)  # a store for each
@given(batches=_batches, caps=st.lists(st.integers(0, 200), min_size=6, max_size=6))
def test_whatever_comes_and_whatever_the_cap(
    batches: list[list[tuple[bool, int]]], caps: list[int]
) -> None:
    for conn in _store():
        for batch, size in zip(batches, caps, strict=False):
            _put_and_check(conn, batch, size)


def _put_and_check(conn: Connection, batch: list[tuple[bool, int]], cap: int) -> None:
    before, held = depth(conn).bytes, _kinds(conn)
    new = [item("x", terminal=terminal, size=size) for terminal, size in batch]
    dropped = sum(add(conn, new, Cap(max_bytes=cap)).values())
    after, kept = depth(conn).bytes, _kinds(conn)
    assert after <= max(before, cap)  # it never grows beyond the cap
    assert len(held) + len(new) - len(kept) == dropped  # what is gone is counted
    lost_terminal = any(terminal for id, terminal in held.items() if id not in kept)
    if before > cap:
        assert not lost_terminal
    elif lost_terminal:
        assert all(kept.values())  # no detail outlives a terminal item


def _kinds(conn: Connection) -> dict[int, bool]:
    columns = tables.outbox.c
    return {id: bool(kind) for id, kind in conn.execute(select(columns.id, columns.terminal))}


# --- the cap on age ----------------------------------------------------------
def test_what_is_too_old_goes_as_new_items_come(conn: Connection) -> None:
    cap = Cap(max_age_ns=100)
    add(conn, [item("a", created=10), item("T", terminal=TERMINAL, created=20)], cap, now=50)
    add(conn, [item("b", created=90)], cap, now=110)
    assert names(conn) == "aTb"
    assert add(conn, [item("c", created=130)], cap, now=130) == {outbox.OUTBOX_AGE: 2}
    assert names(conn) == "bc"


def test_what_was_too_old_at_the_start_is_given_its_chance(conn: Connection) -> None:
    add(conn, [item("a", created=10), item("b", created=950)], now=1000)
    cap = Cap(max_age_ns=100, since=1000)
    assert add(conn, [item("c", created=1000)], cap, now=1000) == {}
    assert add(conn, [item("d", created=1060)], cap, now=1060) == {outbox.OUTBOX_AGE: 1}
    assert names(conn) == "acd"
