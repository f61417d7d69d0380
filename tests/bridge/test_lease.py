"""The lease: one bridge works, and another takes over when the first is gone, not before."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from prefect_otel_status.bridge import lease as lease_module
from prefect_otel_status.bridge import tables
from prefect_otel_status.bridge.lease import (
    Identity,
    Lease,
    LeaseLostError,
    started_at,
    this_process,
)
from prefect_otel_status.bridge.store import Store, open_store, write_meta
from tests.support.core import rows_of
from tests.support.postgres import new_database
from tests.support.server import wait_for

ALIVE = 77
NOBODY = 2**22 + 1  # above the highest process number that Linux gives


class Waiting:
    """A monotonic clock in seconds that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def lease(
    name: str, waiting: Waiting | None = None, *, host: str = "here", pid: int = ALIVE
) -> Lease:
    """The lease of the bridge NAME, where only the process `ALIVE` lives, since 5."""
    return Lease(
        Identity(name, host, pid, 5),
        seconds=10.0,
        clock=waiting or Waiting(),
        alive={ALIVE: 5}.get,
    )


async def holder(store: Store) -> str:
    (row,) = await rows_of(store, tables.lease)
    return str(row.holder)


# --- free, taken, given back ------------------------------------------------------


async def test_a_free_lease_is_taken(store: Store) -> None:
    assert await store.run(lease("one").try_take)
    assert await rows_of(store, tables.lease) == [(1, "one", "here", ALIVE, 5, 0)]


async def test_a_lease_that_is_held_is_not_taken_and_stays_as_it_is(store: Store) -> None:
    await store.run(lease("one").try_take)
    before = await rows_of(store, tables.lease)
    assert not await store.run(lease("two").try_take)
    assert await rows_of(store, tables.lease) == before


async def test_its_holder_may_take_it_again(store: Store) -> None:
    one = lease("one")
    assert await store.run(one.try_take)
    assert await store.run(one.try_take)
    await store.run(one.renew)
    assert await rows_of(store, tables.lease) == [(1, "one", "here", ALIVE, 5, 2)]


async def test_one_that_was_given_back_is_taken_at_once(store: Store) -> None:
    one, two = lease("one"), lease("two", host="there")
    await store.run(one.try_take)
    await store.run(one.give_back)
    assert await holder(store) == ""
    assert await store.run(two.try_take)
    assert await holder(store) == "two"


async def test_nobody_gives_back_the_lease_of_another(store: Store) -> None:
    await store.run(lease("one").try_take)
    await store.run(lease("two").give_back)
    assert await holder(store) == "one"


# --- a dead process of this machine -------------------------------------------------


@pytest.mark.parametrize("pid", [NOBODY, ALIVE])
async def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(
    store: Store, pid: int
) -> None:
    # The number `ALIVE` is another process's by now, which started later.
    dead = Lease(Identity("one", "here", pid, 4), seconds=10.0, clock=Waiting())
    await store.run(dead.try_take)
    assert await store.run(lease("two").try_take)
    assert await holder(store) == "two"


async def test_of_a_process_on_another_machine_nothing_is_known(store: Store) -> None:
    await store.run(lease("one", host="there", pid=NOBODY).try_take)
    assert not await store.run(lease("two").try_take)


async def test_where_the_start_of_a_process_is_not_known_it_is_waited_for(
    store: Store, waiting: Waiting
) -> None:
    # As on machines that have no /proc.
    await store.run(Lease(Identity("one", "here", 1, 0), seconds=10.0, clock=waiting).try_take)
    other = Lease(
        Identity("two", "here", 2, 0), seconds=10.0, clock=waiting, alive=lambda pid: None
    )
    assert not await store.run(other.try_take)
    waiting.now += 10
    assert await store.run(other.try_take)


HOLDS = """
import asyncio, sys, time
from prefect_otel_status.bridge.lease import Lease, this_process
from prefect_otel_status.bridge.store import open_store

async def main():
    store = await open_store(sys.argv[1], now=1)
    lease = Lease(this_process("other"), seconds=3600, clock=time.monotonic)
    print(await store.run(lease.try_take), flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


async def test_the_lease_of_a_bridge_that_was_killed_is_taken_at_once(database: str) -> None:
    store = await open_store(database, now=1)
    ours = Lease(this_process("ours"), seconds=3600, clock=Waiting())
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDS, database], text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline() == "True\n"
            assert not await store.run(ours.try_take)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert await store.run(ours.try_take)
    assert await holder(store) == "ours"
    await store.close()


# --- a holder on another machine --------------------------------------------------


async def test_the_lease_of_another_machine_is_taken_after_its_time(
    store: Store, waiting: Waiting
) -> None:
    two = lease("two", waiting)
    await store.run(lease("one", host="there").try_take)
    assert not await store.run(two.try_take)
    waiting.now += 9.9
    assert not await store.run(two.try_take)
    waiting.now += 0.1
    assert await store.run(two.try_take)
    assert await rows_of(store, tables.lease) == [(1, "two", "here", ALIVE, 5, 1)]


async def test_the_time_begins_anew_with_each_sign_of_life(store: Store, waiting: Waiting) -> None:
    one, two = lease("one", host="there"), lease("two", waiting)
    await store.run(one.try_take)
    for _ in range(5):
        assert not await store.run(two.try_take)
        waiting.now += 9.9
        await store.run(one.renew)
    assert not await store.run(two.try_take)
    waiting.now += 10
    assert await store.run(two.try_take)


async def test_the_time_begins_anew_with_another_holder(store: Store, waiting: Waiting) -> None:
    one, three = lease("one", host="there"), lease("three", waiting)
    await store.run(one.try_take)
    assert not await store.run(three.try_take)
    waiting.now += 9
    await store.run(one.give_back)
    await store.run(lease("two", host="there").try_take)
    assert not await store.run(three.try_take)
    waiting.now += 9
    assert not await store.run(three.try_take)
    assert await holder(store) == "two"


# --- losing it -----------------------------------------------------------------------


async def test_who_has_lost_the_lease_writes_nothing_any_more(
    store: Store, waiting: Waiting
) -> None:
    one, two = lease("one", host="there"), lease("two", waiting)
    await store.run(one.try_take)
    await store.run(two.try_take)
    waiting.now += 10
    assert await store.run(two.try_take)

    def late(connection: object) -> None:
        write_meta(connection, "late", "written")  # type: ignore[arg-type]
        one.renew(connection)  # type: ignore[arg-type]

    with pytest.raises(LeaseLostError):
        await store.run(late)
    assert "late" not in dict(await rows_of(store, tables.meta))
    await store.run(two.renew)


async def test_a_lease_that_was_never_taken_cannot_be_renewed(store: Store) -> None:
    with pytest.raises(LeaseLostError):
        await store.run(lease("one").renew)


# --- two at once ---------------------------------------------------------------------


async def _both(database: str, *takers: Lease) -> list[bool]:
    """What comes of it when all TAKERS try in the same moment, each over its own connection."""
    stores = [await open_store(database, now=1) for _ in takers]
    found = await asyncio.gather(
        *(store.run(taker.try_take) for store, taker in zip(stores, takers, strict=True))
    )
    for store in stores:
        await store.close()
    return found


async def test_of_several_that_find_it_free_one_takes_it(database: str) -> None:
    takers = [lease(f"bridge {number}", host=f"host {number}") for number in range(4)]
    assert sorted(await _both(database, *takers)) == [False, False, False, True]


async def test_of_several_that_find_its_holder_gone_one_takes_it(database: str) -> None:
    store, waiting = await open_store(database, now=1), Waiting()
    await store.run(lease("dead", host="elsewhere").try_take)
    takers = [lease(f"bridge {number}", waiting, host=f"h{number}") for number in range(4)]
    assert await _both(database, *takers) == [False] * 4
    waiting.now += 10
    assert sorted(await _both(database, *takers)) == [False, False, False, True]
    await store.close()


async def test_on_postgres_who_comes_a_moment_later_finds_it_taken(postgres_url: str) -> None:
    database = new_database(postgres_url, "two_at_once")
    first, second = [await open_store(database, now=1) for _ in range(2)]
    async with first._engine.begin() as connection:
        assert await connection.run_sync(lease("one", host="a").try_take)
        later = asyncio.create_task(second.run(lease("two", host="b").try_take))
        # Both have seen that there is none; the second's insert waits for the first.
        while not await first.read(_someone_waits):
            await asyncio.sleep(0)
    assert await later is False
    assert await holder(second) == "one"
    await first.close()
    await second.close()


def _someone_waits(connection: object) -> bool:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(connection.execute(query).scalar())  # type: ignore[attr-defined]


# --- who is who -----------------------------------------------------------------------


def test_this_process_knows_when_it_started() -> None:
    me = this_process("me")
    assert (me.name, me.pid) == ("me", os.getpid())
    assert me.started == started_at(os.getpid()) != 0


def test_of_a_process_that_is_not_there_no_start_is_known() -> None:
    assert started_at(NOBODY) is None
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert wait_for(lambda: started_at(process.pid) is None, what="the process gone")


def test_a_table_of_processes_that_cannot_be_read_tells_no_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(*_: object, **__: object) -> object:
        raise PermissionError

    monkeypatch.setattr(lease_module, "open", unreadable, raising=False)
    assert started_at(os.getpid()) is None
    assert this_process("me").started == 0


def test_the_name_of_a_program_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "7 (a) b) R 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1"
    monkeypatch.setattr(lease_module, "open", lambda *_, **__: io.StringIO(line), raising=False)
    assert started_at(7) == 4711
    monkeypatch.setattr(lease_module, "open", lambda *_, **__: io.StringIO("7 (a)"), raising=False)
    assert started_at(7) is None
