"""A program: the working parts of a bridge over recorded histories, killed at any statement.

`python -m tests.support.killed FOLDER KILLS SEED` forks KILLS children, one
after the other, on one store; each kills itself at a point of the seed's
choice: before or after a statement, a commit, a request to the receiver. A
last one is left alone until all is delivered. Prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import event

from prefect_otel_status import signals
from prefect_otel_status.bridge import series_rows, wire
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.export import Exporter
from prefect_otel_status.bridge.export import Limits as Limits
from prefect_otel_status.bridge.ingest import WEBSOCKET
from prefect_otel_status.bridge.lease import Lease, this_process
from prefect_otel_status.bridge.options import Options
from prefect_otel_status.bridge.otlp import request
from prefect_otel_status.bridge.records import Observation
from prefect_otel_status.bridge.senders.base import Kind, Outcome
from prefect_otel_status.bridge.settle import Settler
from prefect_otel_status.bridge.staging import metrics_by_name
from prefect_otel_status.bridge.store import Store, open_store
from prefect_otel_status.bridge.sweep import Sweeper
from prefect_otel_status.bridge.values import Buckets
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally
from tests.support.histories import History, load, names
from tests.support.replay import NOW, RecordedApi, a_parser

Tick = Callable[[], None]

CHUNK = 40
FURTHEST = 800
"""Points that a child passes at most before it dies."""

SENT_SHARE = 0.3
"""How many of the children die at the latest between sending and confirming."""


@cache
def all_histories() -> History:
    """All recorded histories as one."""
    found = [load(name) for name in names()]
    merged: dict[str, Any] = {}
    for one in fields(History):
        values = [getattr(history, one.name) for history in found]
        if isinstance(values[0], list):
            merged[one.name] = [item for value in values for item in value]
        elif isinstance(values[0], dict):
            merged[one.name] = {key: item for value in values for key, item in value.items()}
        else:
            merged[one.name] = "all"
    return History(**merged)


@cache
def all_observations() -> list[Observation]:
    """What their events say."""
    parser = a_parser()
    return [o for e in all_events() for o in parser.event(e)]


@cache
def all_events() -> list[wire.Event]:
    """Their events, read once."""
    return RecordedApi(all_histories()).all_events()


class Api(RecordedApi):
    """The sweep's calls too."""

    def all_events(self) -> list[wire.Event]:
        return all_events()

    async def active_runs(self, *, now_ns: int) -> list[wire.FlowRun]:
        return []

    async def ended_runs(self, *, since_ns: int) -> AsyncIterator[list[wire.FlowRun]]:
        yield self.runs()

    async def events(self, *, since_ns: int) -> AsyncIterator[tuple[list[wire.Event], int]]:
        found = self.all_events()
        yield found, len(found)


class Receiver:
    """Writes down what it is sent, as a line, before it confirms."""

    def __init__(self, path: Path, tick: Tick) -> None:
        self._path = path
        self._tick = tick

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        line = base64.b64encode(request(bodies)) + b"\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line)
        self._tick()
        return Outcome(Kind.DELIVERED)

    async def close(self) -> None:
        """Nothing is open."""


class Parts:
    """The working parts of a bridge on one store."""

    def __init__(self, store: Store, api: Api, receiver: Receiver, chance: random.Random) -> None:
        lease = Lease(this_process(f"{os.getpid()}"), seconds=10, clock=time.monotonic)
        options = Options(settle=0)
        self.core = Core(store, lease, options, clock=lambda: NOW, tally=Tally())
        clean, parser = Cleaning(Settings(), tally=Tally()), a_parser()
        describer = Describer(api, clean)
        self._chance = chance
        self.sweeper = Sweeper(self.core, api, describer, parser)
        self.settler = Settler(
            self.core,
            api,
            describer,
            parser,
            sampled=lambda trace_id: True,
            url_of=lambda kind, run_id: None,
        )
        self.exporter = Exporter(
            signal="traces",
            store=store,
            sender=receiver,
            commit=self._commit,
            clock=lambda: NOW,
            limits=Limits(max_items=4),
        )

    async def begin(self) -> None:
        """Take the dead one's lease."""
        assert await self.core.store.run(self.core.lease.try_take)
        await self.core.load()

    async def anything(self) -> None:
        """One of the things that a bridge does, whichever chance wants."""
        what = self._chance.randrange(4)
        if what == 0:
            await self.settler.settle_due()
        elif what == 1:
            await self.exporter.drain(0.01)
        else:
            await self.core.ingest(self._some(), path=WEBSOCKET)

    async def everything(self) -> None:
        """All that is to be done, to the end."""
        await self.sweeper.sweep()
        while await self.settler.settle_due():
            pass
        assert await self.exporter.drain(60)

    def _some(self) -> list[Observation]:
        found = all_observations()
        start = self._chance.randrange(len(found))
        return found[start : start + self._chance.randrange(1, CHUNK)]

    async def _commit(self, work: Any, steps: Any) -> None:
        await self.core.commit(work, steps)


async def live(folder: Path, chance: random.Random, *, die_at: int) -> None:
    """Work until point DIE_AT, or with 0 until all is done."""
    tick = _dying(die_at)
    sent = _dying(1) if chance.random() < SENT_SHARE and die_at else tick
    store = await open_store(str(folder / "bridge.db"), now=1)
    engine: Any = store._engine.sync_engine  # what no user of a store may do
    for name in ("before_cursor_execute", "after_cursor_execute", "begin", "commit", "rollback"):
        event.listen(engine, name, lambda *_: tick())
    parts = Parts(store, Api(all_histories()), Receiver(folder / "sent", sent), chance)
    await parts.begin()
    while die_at:
        await parts.anything()
    await parts.everything()
    await store.close()


def _dying(at: int) -> Tick:
    passed = 0

    def tick() -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return tick


def one_life(folder: Path, chance: random.Random, *, die_at: int) -> bool:
    """A child's life; whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(live(folder, chance, die_at=die_at))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "a child failed"
    return False


def outcome(folder: Path, kills: int) -> dict[str, Any]:
    """What is in the store and at the receiver."""
    spans: dict[str, set[str]] = {}
    sent = 0
    for line in (folder / "sent").read_bytes().splitlines():
        sent_at_once = ExportTraceServiceRequest.FromString(base64.b64decode(line))
        for resource in sent_at_once.resource_spans:
            for span in (s for scope in resource.scope_spans for s in scope.spans):
                sent += 1
                key = f"{span.trace_id.hex()}-{span.span_id.hex()}"
                spans.setdefault(key, set()).add(span.SerializeToString(deterministic=True).hex())
    return {
        "kills": kills,
        "totals": asyncio.run(_totals(folder)),
        "spans": {key: sorted(bodies) for key, bodies in sorted(spans.items())},
        "resent": sent - len(spans),
    }


async def _totals(folder: Path) -> dict[str, Any]:
    store = await open_store(str(folder / "bridge.db"), now=1)
    found = await store.read(lambda connection: list(series_rows.read(connection)))
    await store.close()
    totals: Counter[str] = Counter()
    for (name, labels), series in found:
        value = series.value
        amount = sum(value.counts) if isinstance(value, Buckets) else int(value)
        totals[f"{name} {_lasting(name, labels)}"] += amount
    return dict(sorted(totals.items()))


def _lasting(name: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """LABELS without those that depend on the order of reading, which chance decides here."""
    names = metrics_by_name()[name].labels
    passing = {signals.PATH, signals.ENVIRONMENT}
    return tuple(v for n, v in zip(names, labels, strict=True) if n not in passing)


def main(folder: Path, kills: int, seed: int) -> None:
    """Live and die KILLS times; then once to the end."""
    chance = random.Random(seed)
    all_observations()  # read once, for all children
    killed = sum(
        one_life(folder, random.Random(chance.random()), die_at=round(FURTHEST ** chance.random()))
        for _ in range(kills)
    )
    one_life(folder, chance, die_at=0)
    print(json.dumps(outcome(folder, killed)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
