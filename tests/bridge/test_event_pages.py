"""Reading the events of a window while more of them come."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.event_pages import (
    NEWEST_FIRST,
    OLDEST_FIRST,
    EventReader,
    Window,
    page_token,
)
from prefect_otel_status.bridge.times import iso, nanoseconds

SINCE, UNTIL = "2023-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z"
SECOND = 10**9


class Server:
    """Pages as Prefect's server does it: an offset, and the number counted at first."""

    def __init__(self, seconds: list[int]) -> None:
        self.events = [event(second) for second in seconds]
        self.after_page: Callable[[], None] = lambda: None
        self.asked: list[tuple[str, Any]] = []

    async def post(self, path: str, body: Any) -> bytes:
        self.asked.append((path, body))
        return self._page(body["filter"], body["limit"], 0, None)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        assert params is not None
        self.asked.append((path, sorted(params)))
        state = msgspec.json.decode(base64.b64decode(params["page-token"]))
        return self._page(state["filter"], state["limit"], state["offset"], state["count"])

    def _page(self, wanted: dict[str, Any], limit: int, offset: int, count: int | None) -> bytes:
        window = wanted["occurred"]
        inside = [e for e in self.events if window["since"] <= e["occurred"] <= window["until"]]
        inside.sort(key=lambda e: e["occurred"], reverse=wanted["order"] == "DESC")
        count = len(inside) if count is None else count
        state = {"filter": wanted, "limit": limit, "offset": offset + limit, "count": count}
        token = base64.b64encode(msgspec.json.encode(state)).decode()
        following = f"http://evil.example/next?page-token={token}"
        page = {
            "events": inside[offset : offset + limit],
            "total": count,
            "next_page": following if offset + limit < count else None,
        }
        self.after_page()
        return msgspec.json.encode(page)


def event(second: int) -> dict[str, Any]:
    occurred = iso(nanoseconds("2026-11-24T00:00:00Z") + second * SECOND)
    return {"id": f"e{second}", "event": "x", "occurred": occurred}


async def read(server: Server, order: str) -> tuple[list[int], list[int]]:
    reader = EventReader(server, on_bad=lambda reason: None)
    pages = [page async for page in reader.read(Window(SINCE, UNTIL, order))]
    found = [int(event.id[1:]) for events, _ in pages for event in events]
    return found, [total for _, total in pages]


@pytest.mark.parametrize(("order", "step"), [(NEWEST_FIRST, -1), (OLDEST_FIRST, 1)])
async def test_reads_all_pages_in_order(order: str, step: int) -> None:
    found, totals = await read(Server(list(range(120))), order)
    assert found == list(range(120))[::step]
    assert totals == [120, 120, 120]


async def test_an_empty_window_is_one_empty_page() -> None:
    assert await read(Server([]), NEWEST_FIRST) == ([], [0])


async def test_what_newer_events_shift_away_is_read_at_the_end() -> None:
    server, coming = Server(list(range(100))), iter([[200, 201, 202], [300]])
    server.after_page = lambda: server.events.extend(event(second) for second in next(coming, []))
    found, _ = await read(server, NEWEST_FIRST)
    assert found == list(range(99, -1, -1))


async def test_what_late_events_shift_away_is_read_at_the_end() -> None:
    server, coming = Server(list(range(100))), iter([[-5, -6]])
    server.after_page = lambda: server.events.extend(event(second) for second in next(coming, []))
    found, _ = await read(server, OLDEST_FIRST)
    assert found == list(range(100))


async def test_events_that_cannot_be_decoded_cost_no_second_reading() -> None:
    server, reasons = Server([1, 2, 3]), []
    server.events[1]["id"] = 7
    reader = EventReader(server, on_bad=reasons.append)
    pages = [page async for page in reader.read(Window(SINCE, UNTIL))]
    assert [[event.id for event in events] for events, _ in pages] == [["e3", "e1"]]
    assert (reasons, len(server.asked)) == (["wrong_type"], 1)


async def test_asks_for_what_the_window_says() -> None:
    server = Server([])
    window = Window(SINCE, UNTIL, OLDEST_FIRST, ("a.", "b."), ("prefect.flow-run.1",))
    assert await EventReader(server, on_bad=lambda reason: None).count(window) == 0
    wanted = {
        "occurred": {"since": SINCE, "until": UNTIL},
        "order": "ASC",
        "event": {"prefix": ["a.", "b."]},
        "any_resource": {"id": ["prefect.flow-run.1"]},
    }
    assert server.asked == [("events/filter", {"filter": wanted, "limit": 1})]


@pytest.mark.parametrize(
    ("next_page", "token"),
    [
        (None, ""),
        ("", ""),
        ("http://evil.example/api/events/filter/next?page-token=abc%3D&x=1", "abc="),
        ("http://[::1/next?page-token=abc", ""),
        ("https://host/next?page-token=a+b==", "a+b=="),
        ("https://host/next", ""),
    ],
)
def test_takes_the_token_alone(next_page: str | None, token: str) -> None:
    assert page_token(next_page) == token


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"[" * 99_999, b'{"events":[1}'])
async def test_another_server_answers(body: bytes) -> None:
    class Another(Server):
        async def post(self, path: str, body_: Any) -> bytes:
            return body

    with pytest.raises(ServerUnavailable, match="not Prefect's API"):
        await read(Another([]), NEWEST_FIRST)
