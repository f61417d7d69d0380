"""A bridge from the settings: what is read, where it goes, and what is closed at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import assemble, outbox
from prefect_otel_status.bridge.assemble import app_of, bridge, options_of, store_address
from prefect_otel_status.bridge.export import Exporter
from prefect_otel_status.bridge.outbox import Cap, OutboxItem
from prefect_otel_status.bridge.senders.base import Kind, Outcome
from prefect_otel_status.bridge.senders.folder import FolderSender
from prefect_otel_status.bridge.senders.grpc import GrpcSender
from prefect_otel_status.bridge.senders.http import HttpSender
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.serving import Listen
from prefect_otel_status.settings import ConfigurationError, Settings
from tests.support.core import Clock, totals
from tests.support.receiver import Received
from tests.support.records import FLOW_RUN_ID, NOW
from tests.support.server import free_port

SECRET = "hunter22"
UI = "http://prefect.example/"


def server(**changes: Any) -> Callable[[], PrefectServer]:
    usual: dict[str, Any] = {"api_url": f"http://127.0.0.1:{free_port()}/api", "ui_url": UI}
    return lambda: PrefectServer(**{**usual, **changes})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=tmp_path)


def sender_of(exporter: Exporter) -> Any:
    return exporter._sender


# --- options ----------------------------------------------------------------------


def test_the_store_is_in_the_folder_unless_it_is_named(tmp_path: Path) -> None:
    assert store_address(Settings(folder=tmp_path)) == str(tmp_path / "bridge.db")
    assert store_address(Settings(folder=tmp_path, store="/else/where.db")) == "/else/where.db"


def test_every_setting_reaches_the_bridge() -> None:
    chosen = Settings(
        trace_root="bridge",
        backfill="7d",
        sweep_interval=1.5,
        settle=2.5,
        heartbeat_period=60,
        retention="30d",
        scrape_interval=5,
        label_budget=7,
        lease=3,
        bridge_logs=True,
        outbox_size=2_000_000,
        outbox_age="2h",
        environment="production",
    )
    found = options_of(chosen, {"OTEL_SERVICE_NAME": "mine"}, now=NOW)
    assert (found.owner, found.backfill, found.sweep_interval) == ("bridge", 7 * 86_400, 1.5)
    assert (found.settle, found.heartbeat_period, found.retention) == (2.5, 60, 30 * 86_400)
    assert (found.scrape_interval, found.label_budget, found.lease_seconds) == (5, 7, 3)
    assert found.logs
    assert found.cap == Cap(max_bytes=2_000_000, max_age_ns=7200 * 10**9, since=NOW)
    resource = dict(found.resource.attributes)
    assert resource["service.name"] == "mine"
    assert resource["deployment.environment.name"] == "production"


def test_what_was_settled_is_remembered_for_a_day_at_least() -> None:
    assert options_of(Settings(retention="1m"), {}, now=NOW).retention == 86_400


# --- where it goes -------------------------------------------------------------------


async def test_without_an_endpoint_traces_go_to_the_folder(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="prefect_otel_status.bridge")
    async with bridge(settings, environ={}, server=server()) as one:
        (exporter,) = one._exporters
        assert isinstance(sender_of(exporter), FolderSender)
        assert one.core.store.path == settings.folder / "bridge.db"
    assert caplog.messages == [f"No OTLP endpoint is set: traces go to {settings.folder}."]


@pytest.mark.parametrize(
    ("protocol", "kind"), [("grpc", GrpcSender), ("http/protobuf", HttpSender)]
)
async def test_an_endpoint_is_sent_to_by_its_protocol_and_named_without_its_secrets(
    settings: Settings, caplog: pytest.LogCaptureFixture, protocol: str, kind: type
) -> None:
    caplog.set_level(logging.INFO, logger="prefect_otel_status.bridge")
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}",
    }
    async with bridge(settings, environ=environ, server=server()) as one:
        assert [type(sender_of(exporter)) for exporter in one._exporters] == [kind]
    assert caplog.text.count("Sending traces to ") == 1
    assert SECRET not in caplog.text


async def test_statuses_are_sent_as_logs_where_they_are_asked_for(tmp_path: Path) -> None:
    chosen = Settings(folder=tmp_path, bridge_logs=True)
    async with bridge(chosen, environ={}, server=server()) as one:
        assert [exporter._signal for exporter in one._exporters] == ["traces", "logs"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_metrics_are_pushed_only_where_they_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wanted: bool
) -> None:
    caplog.set_level(logging.INFO, logger="prefect_otel_status.bridge")
    chosen = Settings(folder=tmp_path, bridge_metrics=wanted)
    async with bridge(chosen, environ={}, server=server()) as one:
        assert [exporter._signal for exporter in one._exporters] == ["traces"]
    said = f"No OTLP endpoint is set: metrics go to {tmp_path}."
    assert (said in caplog.messages) is wanted


async def test_a_signal_that_nobody_wants_is_confirmed_and_gone(settings: Settings) -> None:
    environ = {"OTEL_TRACES_EXPORTER": "none"}
    async with bridge(settings, environ=environ, server=server()) as one:
        (exporter,) = one._exporters
        assert await sender_of(exporter).send("traces", [b"x"]) == Outcome(Kind.DELIVERED)
        await put(one.core, b"x")
        assert await exporter.drain(10)
        assert (await one.core.store.read(outbox.depth)).items == 0
    assert not (settings.folder / "traces.jsonl").exists()


async def put(core: Any, body: bytes) -> None:
    """Put BODY into the outbox, as the bridge that holds the lease."""
    assert await core.store.run(core.lease.try_take)
    await core.load()
    items = [OutboxItem("traces", True, core.clock(), "a", body)]
    await core.commit(lambda connection: core.put(connection, items), lambda steps: steps)


async def test_what_is_exported_is_counted_in_the_same_transaction(
    settings: Settings, received: Received
) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    async with bridge(settings, environ=environ, server=server()) as one:
        await put(one.core, b"")
        assert await one._exporters[0].drain(10)
        name = signals.BRIDGE_EXPORTS.name
        assert (await totals(one.core.store))[name, ("delivered",)] == 1
        assert (await one.core.store.read(outbox.depth)).items == 0


async def test_each_bridge_has_a_name_of_its_own(settings: Settings) -> None:
    names = set()
    for _ in range(2):
        async with bridge(settings, environ={}, server=server()) as one:
            names.add(one.core.lease._identity.name)
    assert len(names) == 2


# --- mistakes ---------------------------------------------------------------------------


def no_server() -> PrefectServer:
    raise ConfigurationError("There is no Prefect server to read")


@pytest.mark.parametrize(
    ("environ", "where", "words"),
    [
        ({}, no_server, "There is no Prefect server to read"),
        ({"OTEL_TRACES_SAMPLER": "mine"}, server(), "OTEL_TRACES_SAMPLER"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": f"ftp://a:{SECRET}@b"},
            server(),
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
    ],
)
async def test_what_is_wrong_is_named_without_secrets(
    settings: Settings, environ: dict[str, str], where: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        async with bridge(settings, environ=environ, server=where):
            pass
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_without_a_server_nothing_is_made(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        async with bridge(settings, environ={}, server=no_server):
            pass
    assert list(settings.folder.iterdir()) == []


async def test_everything_is_closed_at_the_end_and_when_something_breaks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Sender(FolderSender):
        async def close(self) -> None:
            closed.append("sender")

    monkeypatch.setattr(assemble, "FolderSender", Sender)

    async def break_off() -> None:
        async with bridge(settings, environ={}, server=server()) as one:
            store = one.core.store
            monkeypatch.setattr(store, "_engine", _Closing(store._engine, closed))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await break_off()
    assert closed == ["sender", "store"]


class _Closing:
    """An engine that says when it is let go."""

    def __init__(self, engine: Any, closed: list[str]) -> None:
        self._engine = engine
        self._closed = closed

    async def dispose(self) -> None:
        self._closed.append("store")
        await self._engine.dispose()


# --- pages ---------------------------------------------------------------------------------


async def test_its_pages_are_those_of_the_bridge(settings: Settings, clock: Clock) -> None:
    listen = Listen("127.0.0.1", 9464)
    chosen = Settings(folder=settings.folder, allowed_hosts="bridge.example")
    async with bridge(chosen, environ={}, server=server(), clock=clock) as one:
        app = app_of(one, listen, chosen)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:9464"
        ) as client:
            assert (await client.get("/readyz")).json()["lease"] == "waiting"
            assert (await client.get("/api/deployments")).status_code == 200
            assert (await client.get(f"/api/runs/{FLOW_RUN_ID}")).status_code == 404
            for host, status in (("bridge.example", 200), ("evil.example", 421)):
                answer = await client.get("/healthz", headers={"host": host})
                assert answer.status_code == status
            one.working = True
            assert "\n# TYPE prefect_status_bridge_" in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("ui_url", "address"),
    [
        (UI, f"http://prefect.example/runs/flow-run/{FLOW_RUN_ID}"),
        ("http://prefect.example", f"http://prefect.example/runs/flow-run/{FLOW_RUN_ID}"),
        ("", None),
    ],
)
async def test_the_address_of_a_run_is_that_of_prefects_pages(
    settings: Settings, ui_url: str, address: str | None
) -> None:
    async with bridge(settings, environ={}, server=server(ui_url=ui_url)) as one:
        assert one._settler._url_of("flow", FLOW_RUN_ID) == address
