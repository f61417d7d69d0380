"""Pushes the bridge's metrics over OTLP, for those who ask for it; Prometheus scrapes instead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from prefect_otel_status.bridge import otlp_metrics
from prefect_otel_status.bridge.exposition import Family
from prefect_otel_status.bridge.otlp import Resource
from prefect_otel_status.bridge.outage import Outage
from prefect_otel_status.bridge.senders.base import Kind, Sender

logger = logging.getLogger("prefect_otel_status.bridge")


class Pusher:
    """Sends what a scrape would see, every INTERVAL seconds; a lost push is made up by the next."""

    def __init__(
        self,
        sender: Sender,
        *,
        families: Callable[[], Awaitable[list[Family] | None]],
        since: Callable[[], int],
        resource: Resource,
        interval: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._sender = sender
        self._families = families
        self._since = since
        self._resource = resource
        self._interval = interval
        self._clock = clock
        self._outage = Outage("Pushing metrics", logger=logger, monotonic=time.monotonic)

    async def run(self, stop: asyncio.Event) -> None:
        """Push until STOP is set, and once more then."""
        while not stop.is_set():
            await self.push()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)
        await self.push()

    async def push(self) -> bool:
        """Push once; tell whether the receiver took it. Raises nothing."""
        try:
            families = await self._families()
            if families is None:
                return True
            return await self._send(families)
        except Exception as error:
            self._outage.failed(type(error).__name__)
            return False

    async def _send(self, families: list[Family]) -> bool:
        parts = otlp_metrics.messages(
            families, self._resource, since=self._since(), now=self._clock()
        )
        for part in parts:
            outcome = await self._sender.send("metrics", [part])
            if outcome.kind not in (Kind.DELIVERED, Kind.PARTIAL):
                self._outage.failed(outcome.message)
                return False
        self._outage.over()
        return True
