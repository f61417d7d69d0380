"""A real Prometheus sees every step: `increase()` over what the real app shows is exact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from prefect_otel_status import signals
from prefect_otel_status.bridge.gauges import Gauges
from prefect_otel_status.bridge.health import Health
from prefect_otel_status.bridge.http import make_app
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.scrape import Scrape
from prefect_otel_status.bridge.series import Changes, SeriesTable
from prefect_otel_status.bridge.serving import LOOPBACK, Listen, Serving, hosts_of, serve
from prefect_otel_status.bridge.tables import metadata
from tests.support.processes import beside, program
from tests.support.server import free_port

T = TypeVar("T")
OF_RUN = ("deploy", "prod", "live", "ValueError")
ERRORS = "cicd_pipeline_run_errors_total"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Bridge:
    """The numbers of a bridge and its app, over a store that outlives it."""

    def __init__(self, engine: Engine, *, standby: bool = False) -> None:
        self._engine = engine
        self._standby = standby
        self._table = SeriesTable(scrape_interval=1.0)
        with engine.connect() as conn:
            self._table.load(conn)

    def fail_runs(self, count: int) -> None:
        """COUNT runs fail, all at once."""
        step = Step(signals.RUN_ERRORS.name, OF_RUN, count, TRACE, time.time_ns())
        self._commit(self._table.stage([step], now=time.time_ns()))

    def release(self) -> None:
        """What the daemon does every second."""
        self._commit(self._table.due_releases(time.monotonic_ns()))

    def _commit(self, changes: Changes) -> None:
        with self._engine.begin() as conn:
            self._table.write(conn, changes)
        self._table.adopt(changes)

    def serve(self, port: int) -> AbstractAsyncContextManager[Serving]:
        listen = Listen(LOOPBACK, port)
        scrape = Scrape(self._table, gauges=self._gauges, working=lambda: not self._standby)
        app = make_app(
            metrics=scrape,
            health=Health,
            deployments=_nothing,
            run=_nothing,
            allowed_hosts=hosts_of(listen),
        )
        return serve(app, listen)

    async def _gauges(self) -> Gauges:
        return {signals.BRIDGE_LAG: [((), 0.5)]}


async def _nothing(*_: Any) -> Any:
    return []


class Prometheus:
    """Questions to a real Prometheus."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def query(self, expression: str, **parameters: Any) -> list[Any]:
        return await self._ask("query", query=expression, **parameters)

    async def ask_exemplars(self, since: float) -> list[Any]:
        return await self._ask("query_exemplars", query=ERRORS, start=since, end=time.time() + 1)

    async def _ask(self, path: str, **parameters: Any) -> list[Any]:
        try:
            async with httpx.AsyncClient(timeout=60) as client:
                answer = await client.get(f"{self.address}/api/v1/{path}", params=parameters)
        except httpx.TransportError:
            return []
        if answer.status_code == 503:  # it reads its log first
            return []
        data = answer.json().get("data") or []
        found: list[Any] = data["result"] if isinstance(data, dict) else data
        return found

    async def samples(self, window: str = "1m") -> list[tuple[float, float]]:
        """Times and values of the failures' counter in WINDOW."""
        found = await self.query(f"{ERRORS}[{window}]")
        return [(at, float(value)) for at, value in found[0]["values"]] if found else []

    async def increase(self, at: float, window: str = "1m") -> float:
        (found,) = await self.query(f"increase({ERRORS}[{window}])", time=at)
        return float(found["value"][1])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'bridge.db'}")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def scraped() -> int:
    """The port that Prometheus scrapes."""
    return free_port()


@pytest.fixture
def prometheus(tmp_path: Path, scraped: int) -> Iterator[Prometheus]:
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: bridge, static_configs: [{{targets: ['{LOOPBACK}:{scraped}']}}]}}\n"
    )
    address = f"{LOOPBACK}:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with beside(command, env={}, log=tmp_path / "prometheus.log"):
        yield Prometheus(f"http://{address}")


async def eventually(
    bridge: Bridge, condition: Callable[[], Awaitable[T]], *, what: str, timeout: float = 40
) -> T:
    """The first true result of CONDITION, while BRIDGE goes on with its work."""
    deadline = time.monotonic() + timeout
    while True:
        bridge.release()
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come within {timeout:g} s: {found!r}"
        await asyncio.sleep(0.05)


async def seen(prometheus: Prometheus, bridge: Bridge, value: float) -> list[tuple[float, float]]:
    """All samples once Prometheus has seen VALUE three times: the increase needs some width."""

    async def enough() -> list[tuple[float, float]]:
        samples = await prometheus.samples()
        return samples if [count for _, count in samples].count(value) >= 3 else []

    return await eventually(bridge, enough, what=f"the value {value:g}")


async def test_no_failure_escapes_increase(
    prometheus: Prometheus, engine: Engine, scraped: int
) -> None:
    began = time.time()
    bridge = Bridge(engine)
    async with bridge.serve(scraped):
        bridge.fail_runs(3)
        samples = await seen(prometheus, bridge, 3)
        assert _last_minus_first(samples) == 3
        assert round(await prometheus.increase(samples[-1][0])) == 3
        bridge.fail_runs(4)
        samples = await seen(prometheus, bridge, 7)
        assert {count for _, count in samples} == {0, 3, 7}
        assert _last_minus_first(samples) == 7
        assert round(await prometheus.increase(samples[-1][0])) == 7
        exemplars = await eventually(
            bridge, lambda: prometheus.ask_exemplars(began), what="an exemplar"
        )
        assert {e["labels"]["trace_id"] for e in exemplars[0]["exemplars"]} == {TRACE}


async def test_a_restart_loses_and_repeats_nothing(
    prometheus: Prometheus, engine: Engine, scraped: int
) -> None:
    bridge = Bridge(engine)
    async with bridge.serve(scraped):
        bridge.fail_runs(3)
        await seen(prometheus, bridge, 3)
    again = Bridge(engine)
    restarted = time.time()
    again.fail_runs(2)  # it finds them in the history as it starts
    async with again.serve(scraped):
        samples = await seen(prometheus, again, 5)
    values = [count for _, count in samples]
    assert values == sorted(values)
    assert _last_minus_first(samples) == 5
    assert round(await prometheus.increase(samples[-1][0])) == 5
    # Whoever looks only at the time after the restart finds its failures too.
    after = [(at, count) for at, count in samples if at > restarted]
    window = f"{round((after[-1][0] - restarted) * 1000)}ms"
    assert _last_minus_first(after) == 2
    assert round(await prometheus.increase(after[-1][0], window)) == 2


async def test_a_standby_is_up_and_has_no_series(
    prometheus: Prometheus, engine: Engine, scraped: int
) -> None:
    first = Bridge(engine)
    first.fail_runs(3)
    standby = Bridge(engine, standby=True)
    async with standby.serve(scraped):

        async def up() -> bool:
            found = await prometheus.query("up")
            return bool(found) and found[0]["value"][1] == "1"

        await eventually(standby, up, what="a scrape of the standby")
        assert await prometheus.query('{__name__=~"(cicd|prefect).*"}') == []


def _last_minus_first(samples: list[tuple[float, float]]) -> float:
    return samples[-1][1] - samples[0][1]
