"""Prefect's history for a command: one connection, and what reads over it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prefect_otel_status.bridge.api import PrefectApi
from prefect_otel_status.bridge.assemble import url_of
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.connection import Connection
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.reading import TraceReader
from prefect_otel_status.bridge.server import PrefectServer, from_prefect_settings
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally

TRIES = 2
"""Of each request: a person waits for the answer."""


@dataclass(frozen=True)
class Prefect:
    """What reads Prefect's history."""

    connection: Connection
    api: PrefectApi
    clean: Cleaning
    describer: Describer
    parser: Parser
    traces: TraceReader


@asynccontextmanager
async def prefect(
    settings: Settings,
    *,
    server: Callable[[], PrefectServer] = from_prefect_settings,
    clock: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Prefect]:
    """The history of the server that Prefect's settings name; closed at the end.

    Raises `ConfigurationError` where they name none.
    """
    server()  # what is wrong with it should be said before anything is asked
    connection = Connection(server, tries=TRIES)
    clean = Cleaning(settings, tally=Tally())
    api = PrefectApi(connection)
    describer, parser = Describer(api, clean), Parser(clean, on_bad=lambda reason: None)
    traces = TraceReader(
        api,
        describer,
        parser,
        heartbeat_period=settings.heartbeat_period,
        url_of=partial(url_of, connection),
        clock=clock,
    )
    try:
        yield Prefect(connection, api, clean, describer, parser, traces)
    finally:
        await connection.close()
