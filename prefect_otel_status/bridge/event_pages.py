"""Reading the events of a window, page by page, while more of them come."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.decoding import OnBad, decode_event
from prefect_otel_status.bridge.wire import Event, EventPage

EVENTS_PAGE = 50
"""The largest page of events that a server gives."""

OLDEST_FIRST, NEWEST_FIRST = "ASC", "DESC"

_PAGE = msgspec.json.Decoder(EventPage)
_REMEMBERED = 20


class Requests(Protocol):
    """Sends requests; `Connection` does."""

    async def post(self, path: str, body: Any) -> bytes:
        """The answer to BODY at PATH."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The answer of PATH."""


@dataclass(frozen=True)
class Window:
    """Which events to read: between two times in ISO 8601, by prefix, by resource.

    `resources` are ids of what an event is about or related to; empty for all.
    """

    since: str
    until: str
    order: str = NEWEST_FIRST
    prefixes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    def filter(self) -> dict[str, Any]:
        """The window as `/events/filter` takes it."""
        found: dict[str, Any] = {
            "occurred": {"since": self.since, "until": self.until},
            "order": self.order,
        }
        if self.prefixes:
            found["event"] = {"prefix": list(self.prefixes)}
        if self.resources:
            found["any_resource"] = {"id": list(self.resources)}
        return found

    def beyond(self, edge: str) -> Window:
        """The rest of the window, from the time EDGE on in its order."""
        is_newest_first = self.order == NEWEST_FIRST
        return replace(self, until=edge) if is_newest_first else replace(self, since=edge)


class EventReader:
    """Reads one window. The total is what the server counted at the first page."""

    def __init__(self, requests: Requests, *, on_bad: OnBad) -> None:
        self._requests = requests
        self._on_bad = on_bad
        self._total = 0
        self._distinct = 0
        self._edge = ""
        self._recent: deque[frozenset[str]] = deque(maxlen=_REMEMBERED)

    async def read(self, window: Window) -> AsyncIterator[tuple[list[Event], int]]:
        """Pages of new events, with the total; one page at least.

        An event that arrives meanwhile shifts another one beyond the number
        that the server counted at first. What was shifted is read at the end.
        """
        async for page in self._pages(window):
            self._total = self._total or page.total
            yield self._new(page), self._total
        if self._edge and self._distinct < self._total:
            async for page in self._pages(window.beyond(self._edge)):
                yield self._new(page), self._total

    async def count(self, window: Window) -> int:
        """How many events the window has."""
        return (await self._first(window, limit=1)).total

    async def _pages(self, window: Window) -> AsyncIterator[EventPage]:
        page = await self._first(window, limit=EVENTS_PAGE)
        yield page
        while token := page_token(page.next_page):
            answer = await self._requests.get("events/filter/next", {"page-token": token})
            page = _decoded(answer)
            yield page

    async def _first(self, window: Window, *, limit: int) -> EventPage:
        body = {"filter": window.filter(), "limit": limit}
        return _decoded(await self._requests.post("events/filter", body))

    def _new(self, page: EventPage) -> list[Event]:
        decoded = [decode_event(raw, on_bad=self._on_bad) for raw in page.events]
        events = [event for event in decoded if event is not None]
        new = [event for event in events if not any(event.id in ids for ids in self._recent)]
        # Those that cannot be decoded are there all the same.
        self._distinct += len(new) + len(decoded) - len(events)
        self._recent.append(frozenset(event.id for event in new))
        self._edge = events[-1].occurred if events else self._edge
        return new


def page_token(next_page: str | None) -> str:
    """The token in NEXT_PAGE, and nothing else of it: its host is the request's, or anybody's."""
    if not next_page:
        return ""
    try:
        query = urlsplit(next_page).query
    except ValueError:
        return ""
    return parse_qs(query).get("page-token", [""])[0].replace(" ", "+")


def _decoded(answer: bytes) -> EventPage:
    try:
        return _PAGE.decode(answer)
    except (ValueError, RecursionError):
        raise ServerUnavailable("What answers is not Prefect's API.") from None
