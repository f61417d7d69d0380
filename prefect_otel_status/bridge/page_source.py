"""What the pages are made from, for a bridge that runs: read once for many readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from prefect_otel_status.bridge.cards import Look
from prefect_otel_status.bridge.catalogue import Key
from prefect_otel_status.bridge.daemon import Bridge
from prefect_otel_status.bridge.health import Health
from prefect_otel_status.bridge.run_view import RunView
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import Card

FRESH = 1.0
"""Seconds for which the overview is not read anew."""

SHARE = 10
"""And as many times what reading it took, so that readers never take more than that share."""


class PageSource:
    """Reads for pages."""

    def __init__(
        self, bridge: Bridge, runs: RunView, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._bridge = bridge
        self._runs = runs
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._cards: Sequence[Card] = ()
        self._old_at = float("-inf")

    async def cards(self) -> Sequence[Card]:
        """All deployments."""
        async with self._lock:
            if self._monotonic() >= self._old_at:
                began = self._monotonic()
                self._cards = await self._bridge.cards()
                now = self._monotonic()
                self._old_at = now + max(FRESH, SHARE * (now - began))
            return self._cards

    async def look(self, key: Key) -> Look | None:
        """The deployment KEY."""
        return await self._bridge.look(key)

    async def run_page(self, run_id: str, frame: Frame) -> str | None:
        """The page of the run RUN_ID."""
        return await self._runs.page(run_id, frame)

    def health(self) -> Health:
        """How the bridge is doing."""
        return self._bridge.health()
