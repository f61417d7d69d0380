"""A bridge from the settings: what is read from the environment, and where it goes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from starlette.types import ASGIApp

from prefect_otel_status.bridge import otlp
from prefect_otel_status.bridge.api import PrefectApi
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.connection import Connection
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.daemon import Bridge
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.endpoint import endpoint_of, is_wanted
from prefect_otel_status.bridge.export import Exporter
from prefect_otel_status.bridge.http import make_app
from prefect_otel_status.bridge.lease import Lease, this_process
from prefect_otel_status.bridge.listen import Listener
from prefect_otel_status.bridge.live import Live
from prefect_otel_status.bridge.options import Options
from prefect_otel_status.bridge.outbox import Cap
from prefect_otel_status.bridge.page_source import PageSource
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.reading import TraceReader
from prefect_otel_status.bridge.run_view import RunView
from prefect_otel_status.bridge.sampling import sampler_of
from prefect_otel_status.bridge.senders.base import Kind, Outcome, Sender
from prefect_otel_status.bridge.senders.folder import FolderSender
from prefect_otel_status.bridge.server import PrefectServer, from_prefect_settings
from prefect_otel_status.bridge.serving import Listen, hosts_of
from prefect_otel_status.bridge.site import Site
from prefect_otel_status.bridge.spans import UrlOf
from prefect_otel_status.bridge.store import Store, open_store
from prefect_otel_status.bridge.token import read_token
from prefect_otel_status.choice import GRPC
from prefect_otel_status.settings import Settings, seconds_of
from prefect_otel_status.tally import Tally

logger = logging.getLogger("prefect_otel_status.bridge")

STORE_FILE = "bridge.db"
_DAY = 86_400


def store_address(settings: Settings) -> str:
    """Where the store is: the setting, else a file in the user's state folder."""
    return settings.store or str(settings.folder / STORE_FILE)


def options_of(settings: Settings, environ: Mapping[str, str], *, now: int) -> Options:
    """What SETTINGS and ENVIRON tell a bridge to do."""
    cap = Cap(
        max_bytes=settings.outbox_size,
        max_age_ns=int(seconds_of(settings.outbox_age) * 1e9),
        since=now,
    )
    return Options(
        owner=settings.trace_root,
        backfill=seconds_of(settings.backfill),
        sweep_interval=settings.sweep_interval,
        settle=settings.settle,
        heartbeat_period=settings.heartbeat_period,
        retention=max(seconds_of(settings.retention), _DAY),
        scrape_interval=settings.scrape_interval,
        label_budget=settings.label_budget,
        lease_seconds=settings.lease,
        logs=settings.bridge_logs,
        metrics=settings.bridge_metrics,
        cap=cap,
        resource=otlp.resource_of(environ, settings_environment=settings.environment),
    )


@asynccontextmanager
async def bridge(
    settings: Settings,
    *,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], int] = time.time_ns,
    on_progress: Callable[[int], None] = lambda count: None,
    server: Callable[[], PrefectServer] = from_prefect_settings,
) -> AsyncIterator[Bridge]:
    """A bridge that is ready to run; what it opened is closed at the end.

    Raises `ConfigurationError` for a setting that cannot be used.
    """
    server()  # what is wrong with it should be said before anything is made
    sampled = sampler_of(environ)
    options = options_of(settings, environ, now=clock())
    async with AsyncExitStack() as stack:
        store = await open_store(store_address(settings), now=clock())
        stack.push_async_callback(store.close)
        tally = Tally()
        core = _core(store, options, clock, tally)
        senders = {signal: sender_of(signal, settings, environ) for signal in _signals(options)}
        for sender in senders.values():
            stack.push_async_callback(sender.close)
        pushes = sender_of("metrics", settings, environ) if options.metrics else None
        if pushes is not None:
            stack.push_async_callback(pushes.close)
        connection = Connection(server)
        yield Bridge(
            core,
            connection,
            Listener(server, on_bad=core.bad),
            [_exporter(core, signal, sender) for signal, sender in senders.items()],
            Cleaning(settings, tally=tally),
            sampled=sampled,
            url_of=partial(url_of, connection),
            on_progress=on_progress,
            pushes=pushes,
        )


def app_of(one: Bridge, listen: Listen, settings: Settings, *, live: Live | None = None) -> ASGIApp:
    """The pages of the bridge ONE, which listens at LISTEN. LIVE tells browsers of changes."""
    links = partial(_links_of, one.url_of, settings.jaeger_url.rstrip("/"))
    runs = RunView(_trace_reader(one, settings), one.ended_run, links=links)
    return make_app(
        metrics=one.scrape,
        health=one.health,
        deployments=one.deployments,
        run=one.one_run,
        allowed_hosts=hosts_of(listen) | set(settings.allowed_hosts),
        site=Site(PageSource(one, runs), links=links, server=lambda: one.connection.server.origin),
        live=live or Live(lambda: one.core.last_commit),
        token=read_token(settings.web_token_file),
    )


def _trace_reader(one: Bridge, settings: Settings) -> TraceReader:
    """What reads one run for its page; what it cannot read or takes out is not counted again."""
    api = PrefectApi(one.connection)
    clean = Cleaning(settings, tally=Tally())
    return TraceReader(
        api,
        Describer(api, clean),
        Parser(clean, on_bad=lambda reason: None),
        heartbeat_period=settings.heartbeat_period,
        url_of=one.url_of,
        clock=one.core.clock,
    )


def _links_of(url_of: UrlOf, jaeger: str, run: Mapping[str, Any]) -> dict[str, str]:
    """Where RUN can be seen elsewhere; nothing that a browser would run."""
    found = {"Prefect": url_of("flow", run["id"]) or ""}
    if jaeger:
        found["Jaeger"] = f"{jaeger}/trace/{run['trace_id']}"
    return {name: to for name, to in found.items() if to.startswith(("http://", "https://"))}


def _core(store: Store, options: Options, clock: Callable[[], int], tally: Tally) -> Core:
    identity = this_process(f"{os.getpid()}-{uuid4().hex[:12]}")
    lease = Lease(identity, seconds=options.lease_seconds, clock=time.monotonic)
    return Core(store, lease, options, clock=clock, tally=tally)


def _signals(options: Options) -> tuple[str, ...]:
    return ("traces", "logs") if options.logs else ("traces",)


def sender_of(signal: str, settings: Settings, environ: Mapping[str, str]) -> Sender:
    """What sends SIGNAL to where ENVIRON says, or into the local folder."""
    if not is_wanted(signal, environ):
        return _Nowhere()
    endpoint = endpoint_of(signal, environ)
    if endpoint is None:
        logger.info("No OTLP endpoint is set: %s go to %s.", signal, settings.folder)
        return FolderSender(settings.folder, size=settings.folder_size)
    logger.info("Sending %s to %s.", signal, endpoint.shown)
    if endpoint.protocol == GRPC:
        from prefect_otel_status.bridge.senders.grpc import GrpcSender

        return GrpcSender(endpoint)
    from prefect_otel_status.bridge.senders.http import HttpSender

    return HttpSender(endpoint)


def _exporter(core: Core, signal: str, sender: Sender) -> Exporter:
    async def commit(work: Any, steps: Any) -> None:
        await core.commit(work, steps)

    return Exporter(
        signal=signal,
        store=_Reading(core.store),
        sender=sender,
        commit=commit,
        cap=core.options.cap,
        clock=core.clock,
    )


class _Nowhere:
    """Where a signal goes that nobody wants: `OTEL_TRACES_EXPORTER=none`."""

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        return Outcome(Kind.DELIVERED)

    async def close(self) -> None:
        """Nothing is open."""


class _Reading:
    """The store, for taking from the outbox: that writes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, work: Callable[[Any], Any]) -> Any:
        return await self._store.read(work)


def url_of(connection: Connection, kind: str, run_id: str) -> str | None:
    base = connection.server.ui_url
    return f"{base.rstrip('/')}/runs/{kind}-run/{UUID(run_id)}" if base else None
