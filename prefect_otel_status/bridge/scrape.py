"""What a scrape is answered with, and what follows from having answered it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from prefect_otel_status.bridge.exposition import Exposition, Family
from prefect_otel_status.bridge.gauges import Gauges, families
from prefect_otel_status.bridge.series import SeriesTable


class Scrape:
    """Renders the series and the gauges; a standby has none to show."""

    def __init__(
        self,
        table: SeriesTable,
        *,
        gauges: Callable[[], Awaitable[Gauges]],
        working: Callable[[], bool],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._table = table
        self._gauges = gauges
        self._working = working
        self._clock = clock
        self._exposition = Exposition()

    async def __call__(self, *, openmetrics: bool) -> bytes | None:
        """The exposition; None while another bridge has the lease."""
        shown = await self.shown()
        if shown is None:
            return None
        body = self._exposition.render(shown, openmetrics=openmetrics)
        self._table.note_scrape(self._clock())
        return body

    async def pushed(self) -> list[Family] | None:
        """The same as records, for a push, which is as good as a scrape."""
        shown = await self.shown()
        if shown is not None:
            self._table.note_scrape(self._clock())
        return shown

    async def shown(self) -> list[Family] | None:
        """All series and gauges; None while another bridge has the lease."""
        gauges = await self._gauges() if self._working() else {}
        if not self._working():  # the lease may have gone while the gauges were read
            return None
        return [*self._table.families(), *families(gauges)]
