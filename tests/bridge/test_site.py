"""The pages over HTTP: who gets HTML, under which policy, what is said when something is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from prefect_otel_status.bridge.health import Check, Health, Limits
from prefect_otel_status.bridge.live import MOST
from prefect_otel_status.bridge.site import trouble
from tests.support.site import SECOND, SOME, Shown, a_site

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    async with a_site(tmp_path, histories=SOME) as shown:
        yield shown


async def get(shown: Shown, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=shown.url, timeout=60) as client:
        return await client.get(path, headers={**HTML, **headers})


async def a_run(shown: Shown, flow: str) -> str:
    card = next(card for card in await shown.cards() if card.flow == flow)
    return card.bars[-1].run_id


async def test_a_browser_gets_the_overview_and_a_script_the_index(shown: Shown) -> None:
    page = await get(shown, "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<strong>7</strong> deployments" in page.text
    index = await get(shown, "/", Accept="*/*")
    assert index.headers["content-type"] == "text/plain; charset=utf-8"
    assert "/live             server-sent events" in index.text


async def test_a_page_may_load_what_comes_from_here_and_nothing_else(shown: Shown) -> None:
    page = await get(shown, "/")
    policy = dict(
        part.split(" ", 1) for part in page.headers["content-security-policy"].split("; ")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert "unsafe" not in page.headers["content-security-policy"]
    for name, value in (
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ):
        assert page.headers[name] == value


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("style.css", "text/css; charset=utf-8", ".waterfall"),
        ("live.js", "text/javascript; charset=utf-8", "EventSource"),
        ("icon.svg", "image/svg+xml", "<svg"),
    ],
)
async def test_what_pages_load_is_there(shown: Shown, name: str, kind: str, part: str) -> None:
    found = await get(shown, f"/static/{name}")
    assert (found.status_code, found.headers["content-type"]) == (200, kind)
    assert part in found.text


@pytest.mark.parametrize("name", ["nothing", "..%2ftemplates%2fbase.html", "../guard.py"])
async def test_nothing_else_is_served_from_there(shown: Shown, name: str) -> None:
    assert (await get(shown, f"/static/{name}")).status_code == 404


async def test_a_deployment_a_run_and_what_it_said(shown: Shown) -> None:
    page = await get(shown, "/deployments?flow=killed-served&deployment=prod")
    assert "About to be killed" in page.text
    assert "http://jaeger.example/trace" in page.text
    run = await get(shown, f"/runs/{await a_run(shown, 'killed-served')}")
    assert "Its process was killed." in run.text
    assert "What happened when" in run.text
    assert "About to be killed" in run.text


async def test_without_the_server_a_run_is_what_the_bridge_kept(
    shown: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    shown.is_away = True
    with caplog.at_level(logging.INFO, "prefect_otel_status.bridge"):
        page = await get(shown, f"/runs/{await a_run(shown, 'killed-served')}")
    assert page.status_code == 200
    assert "What it said" in page.text
    assert "About to be killed" in page.text
    assert caplog.messages == ["A run could not be read for its page: ServerUnavailable"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/deployments?flow=none&deployment=prod", 404, "no deployment none/prod here"),
        ("/deployments", 404, "no deployment without a name here"),
        (f"/runs/{UNKNOWN}", 404, f"knows a run {UNKNOWN}"),
        ("/runs/nonsense", 400, "is a UUID, as Prefect shows it"),
        ("/nothing", 404, "There is no such page"),
    ],
)
async def test_what_is_not_there_is_said_in_the_form_that_was_asked_for(
    shown: Shown, path: str, status: int, words: str
) -> None:
    page = await get(shown, path)
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in page.text
    assert "All deployments" in page.text
    data = await get(shown, path, Accept="*/*")
    assert (data.status_code, list(data.json())) == (status, ["error"])


async def test_a_scrape_is_answered_while_as_many_browsers_look_as_may(shown: Shown) -> None:
    async with AsyncExitStack() as stack:
        browsers = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=shown.url, timeout=60))
            for _ in range(MOST)
        ]
        streams = [
            await stack.enter_async_context(browser.stream("GET", "/live")) for browser in browsers
        ]
        assert {stream.status_code for stream in streams} == {200}
        for path in ("/", "/static/style.css", "/static/live.js"):
            found = await asyncio.gather(*(b.get(path, headers=HTML) for b in browsers))
            assert {page.headers["connection"] for page in found} == {"close"}
        # Each has its stream, and nothing else open.
        assert (await get(shown, "/live")).status_code == 503
        assert (await get(shown, "/metrics", Accept="*/*")).text == "# none\n"


async def test_a_failure_is_a_page_without_its_text(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise ConnectionError("postgresql://bridge:secret@db")

    monkeypatch.setattr(shown.core.store, "read", broken)
    page = await get(shown, "/")
    assert page.status_code == 503
    assert "the bridge&#39;s log says more" in page.text
    assert "secret" not in page.text


async def test_what_may_be_old_is_said_above_the_page(shown: Shown) -> None:
    assert 'class="banner"' not in (await get(shown, "/")).text
    shown.clock.pass_by(3600)
    assert "What is shown may be old." in (await get(shown, "/")).text
    shown.health = msgspec.structs.replace(shown.health, holds_lease=False)
    assert "This bridge waits" in (await get(shown, "/")).text


def test_trouble_says_what_is_wrong_and_where_to_look() -> None:
    now = 100 * SECOND
    well = Health(Check(now), Check(now), Check(now), holds_lease=True)
    assert trouble(well, Limits(), now) == ""
    assert trouble(Health(holds_lease=True), Limits(), now) == ""  # it has only just begun
    failing = Health(Check(0, "No answer."), Check(now), Check(now), holds_lease=True)
    assert trouble(failing, Limits(), now) == (
        "What is shown may be old. No sweep has succeeded yet: No answer. "
        "Is Prefect's server up? See /readyz."
    )
