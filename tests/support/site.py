"""The pages of a bridge whose store was filled from recorded histories, on a real port.

The runs are those of a real server; only that they come from files is not real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from prefect_otel_status.bridge import cards, recent
from prefect_otel_status.bridge.catalogue import Key
from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.health import Check, Health
from prefect_otel_status.bridge.http import make_app
from prefect_otel_status.bridge.ingest import SWEEP
from prefect_otel_status.bridge.live import Live
from prefect_otel_status.bridge.reading import Trace
from prefect_otel_status.bridge.recent import EndedRun
from prefect_otel_status.bridge.records import Observation
from prefect_otel_status.bridge.run_view import RunView
from prefect_otel_status.bridge.serving import Listen, serve
from prefect_otel_status.bridge.settle import Settler
from prefect_otel_status.bridge.site import Site
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import Card
from tests.support.core import Clock, a_core, cleaning, parser_of
from tests.support.histories import load
from tests.support.replay import RecordedApi, observe, trace_reader

SECOND = 1_000_000_000
SOME = ("success.ours", "failure.ours", "retried_task.ours", "killed_served.ours", "subflows.ours")


@dataclass
class Shown:
    """What stands behind the pages; it can be changed while they are open."""

    core: Core
    clock: Clock
    apis: list[RecordedApi]
    health: Health
    due: dict[Key, int] = field(default_factory=dict)
    version: int = 0
    is_away: bool = False
    url: str = ""
    live: Live | None = None

    def __post_init__(self) -> None:
        self.listen_again()

    def listen_again(self) -> None:
        """Tell pages of changes, from now on."""
        self.live = Live(lambda: self.version, pause=lambda seconds: asyncio.sleep(0.05))

    def let_go(self) -> None:
        """End the streams of all pages, and refuse new ones."""
        if self.live is not None:
            self.live.close()
        self.live = None

    async def stream(self, request: Request) -> Response:
        """The stream for a page; none while it was let go."""
        return await self.live(request) if self.live else Response(status_code=503)

    async def cards(self) -> list[Card]:
        return await self.core.store.read(
            lambda connection: cards.cards(connection, self.core.catalogue, self.due)
        )

    async def look(self, key: Key) -> cards.Look | None:
        return await self.core.store.read(
            lambda connection: cards.look(connection, self.core.catalogue, self.due, key)
        )

    async def kept(self, run_id: str) -> EndedRun | None:
        return await self.core.store.read(lambda connection: recent.load_one(connection, run_id))

    async def read(self, run_id: str) -> Trace | None:
        """The trace of a run, out of whichever recording has it."""
        if self.is_away:
            raise ServerUnavailable("The server is away.")
        for api in self.apis:
            if any(run.id == run_id for run in api.runs()):
                return await trace_reader(api, clock=self.clock).read(run_id)
        return None

    async def take(self, observations: Iterable[Observation]) -> None:
        """Take OBSERVATIONS in, and tell the pages."""
        await self.core.ingest(list(observations), path=SWEEP)
        self.version += 1


class Source:
    """What the site asks, from SHOWN."""

    def __init__(self, shown: Shown, runs: RunView) -> None:
        self._shown = shown
        self._runs = runs
        self.cards = shown.cards
        self.look = shown.look

    async def run_page(self, run_id: str, frame: Frame) -> str | None:
        return await self._runs.page(run_id, frame)

    def health(self) -> Health:
        return self._shown.health


@asynccontextmanager
async def a_site(folder: Path, *, histories: Iterable[str] = SOME) -> AsyncIterator[Shown]:
    """The pages over HISTORIES, served until the end."""
    apis = [RecordedApi(load(name)) for name in histories]
    clock = Clock(_after(apis))
    async with a_core(folder, clock=clock) as core:
        for api in apis:
            await _settled(core, api)
        check = Check(clock())
        shown = Shown(core, clock, apis, Health(check, check, check, holds_lease=True))
        async with _served(shown) as url:
            shown.url = url
            yield shown


@asynccontextmanager
async def _served(shown: Shown) -> AsyncIterator[str]:
    runs = RunView(shown, shown.kept, links=_links)
    app = make_app(
        metrics=_no_metrics,
        health=lambda: shown.health,
        deployments=_none,
        run=_no_run,
        allowed_hosts=["127.0.0.1", "localhost"],
        site=Site(
            Source(shown, runs),
            links=_links,
            server=lambda: "http://prefect.example",
            clock=shown.clock,
        ),
        live=shown.stream,
        clock=shown.clock,
    )
    async with serve(app, Listen("127.0.0.1", 0)) as serving:
        try:
            yield serving.listen.url
        finally:
            shown.let_go()


def _links(run: object) -> dict[str, str]:
    return {"Prefect": "http://prefect.example/run", "Jaeger": "http://jaeger.example/trace"}


async def _no_metrics(*, openmetrics: bool) -> bytes | None:
    return b"# none\n"


async def _none() -> list[object]:
    return []


async def _no_run(run_id: str) -> None:
    return None


def _after(apis: Iterable[RecordedApi]) -> int:
    return (
        max(
            (nanoseconds(event.occurred) for api in apis for event in api.all_events()),
            default=SECOND,
        )
        + 90 * SECOND
    )


async def _settled(core: Core, api: RecordedApi) -> None:
    """The history behind API, read and settled."""
    settler = Settler(
        core,
        api,
        Describer(api, cleaning()),
        parser_of(core),
        sampled=lambda trace_id: True,
        url_of=lambda kind, run_id: None,
    )
    await core.ingest(await observe(api), path=SWEEP)
    while await settler.settle_due():
        pass
