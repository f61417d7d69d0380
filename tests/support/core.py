"""A working core of the bridge on a store in a file, with a clock that stands still."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from prefect_otel_status.bridge import series_rows, tables
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.lease import Identity, Lease
from prefect_otel_status.bridge.options import Options
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.store import Store, open_store
from prefect_otel_status.bridge.values import Buckets
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally
from tests.support.replay import NOW

A_STORE = "bridge.db"
SECOND = 1_000_000_000
US = Identity("us", "here", 1, 1)

Totals = dict[tuple[str, tuple[str, ...]], float]


class Clock:
    """Nanoseconds since 1970: long after every recording, until it is moved."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Move it on."""
        self.now += int(seconds * SECOND)


def cleaning(tally: Tally | None = None, **settings: Any) -> Cleaning:
    """What makes text safe, with SETTINGS."""
    return Cleaning(Settings(**settings), tally=tally or Tally())


def a_lease(name: str = "us") -> Lease:
    """A lease of the bridge NAME on this machine."""
    return Lease(Identity(name, "here", 1, 1), seconds=10.0, clock=lambda: 0.0)


@asynccontextmanager
async def a_core(
    folder: Path, *, clock: Clock | None = None, tally: Tally | None = None, **options: Any
) -> AsyncIterator[Core]:
    """A core that holds the lease of the store in FOLDER, made before every recording."""
    store = await open_store(str(folder / A_STORE), now=0)
    try:
        core = Core(
            store,
            a_lease(),
            Options(**{"settle": 0.0, **options}),
            clock=clock or Clock(),
            tally=tally or Tally(),
        )
        await store.run(core.lease.try_take)
        await core.load()
        yield core
    finally:
        await store.close()


def parser_of(core: Core) -> Parser:
    """A parser that has what it cannot read counted by CORE."""
    return Parser(cleaning(), on_bad=core.bad)


async def totals(store: Store, *metrics: Any) -> Totals:
    """The true totals in STORE, of METRICS or of all: a histogram's is its count."""
    names = [metric.name for metric in metrics]
    found = await store.read(lambda connection: list(series_rows.read(connection)))
    return {
        key: float(sum(series.value.counts) if isinstance(series.value, Buckets) else series.value)
        for key, series in found
        if not names or key[0] in names
    }


async def rows_of(store: Store, table: Any) -> Sequence[Any]:
    """All rows of TABLE."""

    def read(connection: Connection) -> Sequence[Any]:
        return connection.execute(table.select()).all()

    return await store.read(read)


async def wipe(store: Store) -> None:
    """Take out all runs, as if they had never been read."""

    def work(connection: Connection) -> None:
        connection.execute(tables.runs.delete())
        connection.execute(tables.facts.delete())

    await store.run(work)


async def eventually(condition: Callable[[], Any], *, timeout: float = 20.0) -> None:
    """Return when CONDITION is true, which may be a coroutine's result; fails after TIMEOUT."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if await found if inspect.isawaitable(found) else found:
            return
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.005)
