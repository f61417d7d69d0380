"""Checks of Prefect's server: it answers, streams events, and keeps them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import uuid4

from prefect_otel_status import signals
from prefect_otel_status.bridge.listen import Listener
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.terminal.doctor.check import FAILED, OK, WARNING, Check, Finding
from prefect_otel_status.terminal.prefect import Prefect

STORED = 20.0
"""Seconds that the check of the store has at least: a server writes its events every five."""

_EVERY = 0.2
_SECOND = 1_000_000_000
_UP = "Start it with `prefect server start`, or correct PREFECT_API_URL."


def checks(history: Prefect, server: Callable[[], PrefectServer]) -> list[Check]:
    """The checks of the server that HISTORY reads."""
    return [
        Check("prefect server", partial(_answers, history), _UP),
        Check(
            "event stream",
            partial(_streams, server),
            "Let a proxy before the server pass websockets; without them statuses come late.",
        ),
        Check(
            "events stored",
            partial(_stores, history),
            "Is PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED off? The bridge needs it.",
            seconds=STORED,
        ),
    ]


async def _answers(history: Prefect) -> Finding:
    await history.connection.get("health")
    theirs, ours = await history.api.version(), _own()
    where = f"{history.connection.server.origin}, version {theirs or 'not told'}"
    if theirs and _minor(theirs) != _minor(ours):
        advice = f"The client is {ours}: install the same minor release on both sides."
        return Finding(WARNING, where, advice)
    return Finding(OK, where)


def _own() -> str:
    from importlib.metadata import version

    return version("prefect")


def _minor(text: str) -> list[str]:
    return text.split(".")[:2]


async def _streams(server: Callable[[], PrefectServer]) -> Finding:
    stop = asyncio.Event()
    listener = Listener(server)
    task = asyncio.create_task(listener.run(_nothing, stop))
    try:
        while not listener.connected:
            if listener.trouble:
                return Finding(FAILED, listener.trouble)
            await asyncio.sleep(_EVERY)
        return Finding(OK, "is open")
    finally:
        stop.set()
        with suppress(Exception):
            await asyncio.wait({task}, timeout=1)
        task.cancel()


async def _nothing(events: object) -> None:
    """Events are of no interest here."""


async def _stores(history: Prefect) -> Finding:
    now = time.time_ns()
    probe = {
        "id": str(uuid4()),
        "event": signals.PROBE_EVENT,
        "occurred": iso(now),
        "resource": {"prefect.resource.id": f"prefect-otel-doctor.{uuid4()}"},
        "payload": {signals.SYNTHETIC.name: "test"},
    }
    await history.connection.post("events", [probe])
    while True:
        pages = history.api.events(since_ns=now - 60 * _SECOND, prefixes=[signals.PROBE_EVENT])
        async for events, _ in pages:
            if any(event.id == probe["id"] for event in events):
                took = (time.time_ns() - now) / _SECOND
                return Finding(OK, f"a probe was found again after {took:.1f} s")
        await asyncio.sleep(_EVERY)
