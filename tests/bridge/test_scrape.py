"""A scrape shows the series and the gauges, and starts the clock of what is held."""

from __future__ import annotations

from prefect_otel_status import signals
from prefect_otel_status.bridge.gauges import Gauges
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.scrape import Scrape
from prefect_otel_status.bridge.series import SeriesTable

SECOND = 10**9


class Scraped:
    """A scrape with its surroundings in hand."""

    def __init__(self) -> None:
        self.working = True
        self.loses_lease = False
        self.table = SeriesTable(scrape_interval=15)
        self.table.adopt(self.table.stage([Step(signals.BRIDGE_MISSED.name, (), 3)], now=0))
        self.answer = Scrape(
            self.table,
            gauges=self._gauges,
            working=lambda: self.working,
            clock=lambda: 100 * SECOND,
        )

    async def _gauges(self) -> Gauges:
        self.working = self.working and not self.loses_lease
        return {signals.BRIDGE_LAG: [((), 1.5)], signals.LAST_SUCCESS: []}

    def release(self) -> None:
        self.table.adopt(self.table.due_releases(130 * SECOND))


TEXT = b"""\
# HELP prefect_status_bridge_missed_total \
Events that the websocket should have brought, and only the sweep found.
# TYPE prefect_status_bridge_missed_total counter
prefect_status_bridge_missed_total %d
# HELP prefect_status_bridge_lag_seconds Time since the last complete sweep of Prefect's history.
# TYPE prefect_status_bridge_lag_seconds gauge
prefect_status_bridge_lag_seconds 1.5
"""


async def test_a_scrape_lets_what_it_showed_go_on_later() -> None:
    scraped = Scraped()
    assert await scraped.answer(openmetrics=False) == TEXT % 0
    scraped.release()
    assert await scraped.answer(openmetrics=False) == TEXT % 3


async def test_openmetrics_is_a_scrape_too() -> None:
    scraped = Scraped()
    shown = await scraped.answer(openmetrics=True)
    assert shown is not None
    assert shown.endswith(b"# EOF\n")
    scraped.release()
    assert await scraped.answer(openmetrics=False) == TEXT % 3


async def test_a_standby_shows_nothing_and_that_is_no_scrape() -> None:
    scraped = Scraped()
    scraped.working = False
    assert await scraped.answer(openmetrics=False) is None
    scraped.working, scraped.loses_lease = True, True
    assert await scraped.answer(openmetrics=False) is None
    scraped.release()
    scraped.working, scraped.loses_lease = True, False
    assert await scraped.answer(openmetrics=False) == TEXT % 0
