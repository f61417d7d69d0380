"""The status page in a real browser: each view, live, without scripts, on a phone, by keyboard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Browser, Page

from prefect_otel_status.bridge import recent
from prefect_otel_status.bridge.recent import EndedRun
from prefect_otel_status.bridge.records import Observation, StatusFact
from tests.support.browser import a_page, chromium, violations
from tests.support.records import FLOW_RUN_ID
from tests.support.site import SECOND, Shown, a_site

pytestmark = pytest.mark.timeout(300)

MARKUP = "<img src=x onerror=alert(1)><script>alert(1)</script>\"'&"
PHONE = {"viewport": {"width": 360, "height": 740}}
NO_SCRIPT = {"java_script_enabled": False}


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    async with a_site(tmp_path) as shown:
        shown.due = {("killed-served", "prod"): shown.clock() + 300 * SECOND}
        yield shown


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def views(shown: Shown) -> dict[str, str]:
    """The address of each view."""
    killed = next(card for card in await shown.cards() if card.flow == "killed-served")
    return {
        "overview": "/",
        "nothing found": "/?q=nothing-like-it",
        "deployment": "/deployments?flow=success&deployment=",
        "failing deployment": "/deployments?flow=killed-served&deployment=prod",
        "run": f"/runs/{killed.bars[-1].run_id}",
    }


async def says(shown: Shown, message: str, *, flow: str = "deploy", at: int = 0) -> None:
    """A run of FLOW says MESSAGE now."""
    fact = StatusFact(shown.clock() - at, message, message, stage="canary", progress=0.4)
    await shown.take([Observation(FLOW_RUN_ID, FLOW_RUN_ID, fact, flow, "prod", "wise-owl")])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_with_any_view(
    shown: Shown, browser: Browser, scheme: str
) -> None:
    await says(shown, "Canary at 10 %")
    for name, address in (await views(shown)).items():
        async with a_page(browser, color_scheme=scheme) as page:
            await page.goto(shown.url + address)
            await page.wait_for_selector(".live.on")
            assert await violations(page) == [], name


async def test_what_says_that_something_is_wrong_can_be_read_too(
    shown: Shown, browser: Browser, tmp_path: Path
) -> None:
    async with a_site(tmp_path / "empty", histories=[]) as empty, a_page(browser) as page:
        await page.goto(empty.url)
        assert "No deployment has run yet" in await page.inner_text("main")
        assert await violations(page) == []
    shown.clock.pass_by(3600)
    shown.let_go()
    fresh = await browser.new_context()
    page = await fresh.new_page()
    await page.goto(shown.url)
    await fresh.set_offline(True)
    await page.evaluate("refresh()")
    await page.wait_for_selector(".live.off")
    assert "What is shown may be old." in await page.inner_text(".banner")
    assert await violations(page) == []
    await fresh.close()


async def test_axe_would_find_something(browser: Browser) -> None:
    async with a_page(browser) as page:
        await page.set_content("<p style='color:#ccc;background:#fff'>Hardly seen</p>")
        assert "color-contrast" in {found.split(":")[0] for found in await violations(page)}


async def test_no_view_is_wider_than_a_phone(shown: Shown, browser: Browser) -> None:
    await says(shown, "A status that is long and has_a_name_without_any_space_" * 6)
    for name, address in (await views(shown)).items():
        async with a_page(browser, **PHONE) as page:
            await page.goto(shown.url + address)
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width == 360, name


async def test_the_overview_leads_to_the_deployment_and_on_to_the_run(
    shown: Shown, browser: Browser
) -> None:
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.get_by_role("link", name="killed-served/prod", exact=True).click()
        await page.wait_for_selector("h1:has-text('killed-served/prod')")
        await page.locator(".feed a").first.click()
        await page.wait_for_selector("h2:has-text('What happened when')")
        text = await page.inner_text("main")
    assert "Its process was killed." in text
    assert "Left running when its flow run ended." in text


async def test_filters_are_kept_in_the_address(shown: Shown, browser: Browser) -> None:
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.fill("#q", "killed")
        await page.press("#q", "Enter")
        await page.wait_for_url("**/?q=killed*")
        assert await page.locator("tbody tr").count() == 1
        await page.select_option("#health", "healthy")  # sent by the script at once
        await page.wait_for_url("**health=healthy**")
        assert "None of the" in await page.inner_text("main")
        await page.go_back()
        await page.wait_for_selector("tbody tr")


async def test_a_status_shows_without_a_reload_and_the_focus_stays(
    shown: Shown, browser: Browser
) -> None:
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.wait_for_selector(".live.on")
        await page.evaluate("window.stayed = true")
        link = page.get_by_role("link", name="killed-served/prod", exact=True)
        await link.focus()
        await says(shown, "Canary at 10 %")
        await page.wait_for_selector("text=Canary at 10 %")
        assert await page.locator("progress").get_attribute("value") == "0.4"
        assert await page.evaluate("window.stayed")
        focused = await page.evaluate("document.activeElement.textContent")
        assert focused == "killed-served/prod"


async def test_what_is_being_typed_is_not_taken_away(shown: Shown, browser: Browser) -> None:
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.wait_for_selector(".live.on")
        await page.type("#q", "kil")
        async with page.expect_response(lambda answer: answer.url == f"{shown.url}/"):
            await says(shown, "Canary at 10 %")
        await page.type("#q", "led")
        assert await page.input_value("#q") == "killed"


async def test_what_is_marked_stays_marked(shown: Shown, browser: Browser) -> None:
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.wait_for_selector(".live.on")
        await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody th'))")
        marked = await page.evaluate("getSelection().toString()")
        async with page.expect_response(lambda answer: answer.url == f"{shown.url}/"):
            await says(shown, "Canary at 10 %")
        assert await page.evaluate("getSelection().toString()") == marked
        await page.evaluate("getSelection().removeAllRanges()")
        shown.clock.pass_by(1)
        await says(shown, "Canary at 20 %")
        await page.wait_for_selector("text=Canary at 20 %")


async def test_one_page_too_many_is_kept_up_to_date_without_the_stream(
    shown: Shown, browser: Browser
) -> None:
    shown.let_go()
    fresh = await browser.new_context()
    page = await fresh.new_page()
    await page.clock.install()
    await page.goto(shown.url)
    await page.wait_for_selector("text=updated every 15 seconds")
    await says(shown, "Canary at 10 %")
    await page.clock.fast_forward(20_000)
    await page.wait_for_selector("text=Canary at 10 %")
    await fresh.close()


async def test_a_bridge_that_is_away_is_said_and_found_again(
    shown: Shown, browser: Browser
) -> None:
    fresh = await browser.new_context()
    page = await fresh.new_page()
    await page.goto(shown.url)
    await page.wait_for_selector(".live.on")
    await fresh.set_offline(True)
    # Offline lets a stream that is open go on: the bridge's own end closes it.
    shown.let_go()
    await page.wait_for_selector(".live.off", timeout=60_000)
    assert "Not connected since" in await page.inner_text("#live")
    shown.listen_again()
    await fresh.set_offline(False)
    await page.wait_for_selector(".live.on", timeout=60_000)
    await fresh.close()


async def test_without_scripts_it_is_all_there_and_reloads(shown: Shown, browser: Browser) -> None:
    for address in (await views(shown)).values():
        async with a_page(browser, **NO_SCRIPT) as page:
            await page.goto(shown.url + address)
            refresh = await page.content()
            assert '<meta http-equiv="refresh" content="15">' in refresh
            assert "UTC" in await page.inner_text("footer time")
    async with a_page(browser, **NO_SCRIPT) as page:
        await page.goto(shown.url)
        await page.fill("#q", "killed")
        await page.click("text=Show")
        assert await page.locator("tbody tr").count() == 1


async def test_markup_that_was_said_is_text(shown: Shown, browser: Browser) -> None:
    await says(shown, MARKUP, flow=MARKUP)
    async with a_page(browser) as page:
        await page.goto(shown.url)
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        assert MARKUP in await page.inner_text("tbody tr:has(progress)")
        await page.click("tbody tr:has(progress) th a")
        await page.wait_for_selector("h2:has-text('What it said')")
        assert MARKUP in await page.inner_text("h1")
        assert await page.locator("main img, main script").count() == 0
    assert dialogs == []


async def test_every_control_is_reached_by_the_keyboard_and_seen(
    shown: Shown, browser: Browser
) -> None:
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.wait_for_selector(".live.on")
        # A row of bars is one stop; the arrow keys go on from there.
        await page.evaluate("document.querySelectorAll('.runs a').forEach(a => a.dataset.bar = 1)")
        expected = await page.locator(":is(a, input, select, button):not([data-bar])").count()
        expected += await page.locator(".runs").count()
        reached: set[str] = set()
        for _ in range(expected + 1):
            await page.keyboard.press("Tab")
            reached.add(await _focused(page))
        reached.discard("")
        assert len(reached) == expected


async def test_the_arrow_keys_lead_from_bar_to_bar(shown: Shown, browser: Browser) -> None:
    earlier = [
        EndedRun(f"00000000-0000-4000-8000-00000000000{n}", flow="success", ended=n)
        for n in range(1, 3)
    ]
    await shown.core.store.run(lambda connection: recent.keep(connection, earlier))
    async with a_page(browser) as page:
        await page.goto(shown.url)
        await page.wait_for_selector(".live.on")
        bars = page.locator("tbody tr:has(.runs a + a)").first.locator(".runs a")
        links = await bars.evaluate_all("all => all.map(a => a.getAttribute('href'))")
        await page.focus(f'.runs a[href="{links[-1]}"]')
        for key, link in (("ArrowLeft", links[-2]), ("End", links[-1]), ("Home", links[0])):
            await page.keyboard.press(key)
            assert await page.evaluate("document.activeElement.getAttribute('href')") == link
        # An update leaves the focus where it is, and the tab key leads on from there.
        await says(shown, "Canary at 10 %")
        await page.wait_for_selector("text=Canary at 10 %")
        assert await page.evaluate("document.activeElement.getAttribute('href')") == links[0]
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**{links[0]}")


async def test_without_scripts_each_bar_is_a_stop_of_the_tab_key(
    shown: Shown, browser: Browser
) -> None:
    async with a_page(browser, **NO_SCRIPT) as page:
        await page.goto(shown.url)
        assert await page.locator(".runs a").count() > 0
        assert await page.locator(".runs a[tabindex]").count() == 0


async def _focused(page: Page) -> str:
    """Which control has the focus; fails where that cannot be seen."""
    place, outline = await page.evaluate(
        """() => {
            const at = document.activeElement;
            const all = [...document.querySelectorAll("a, input, select, button")];
            const index = all.indexOf(at);
            const style = getComputedStyle(at);
            return [index < 0 ? "" : String(index), style.outlineStyle + style.outlineWidth];
        }"""
    )
    assert not place or outline not in ("none0px", "none3px"), (place, outline)
    return str(place)


async def test_times_are_local_and_utc_on_hover(shown: Shown, browser: Browser) -> None:
    async with a_page(browser, timezone_id="America/New_York", locale="en-US") as page:
        await page.goto(shown.url + (await views(shown))["run"])
        await page.wait_for_selector(".live.on")
        began = page.locator("time.local")
        utc = await began.get_attribute("title")
        assert utc is not None
        assert utc.endswith(" UTC")
        hour = int(utc[11:13])
        local = await began.inner_text()
        assert f"{(hour - 5 - 1) % 12 + 1}:{utc[14:19]}" in local


async def test_a_standby_says_that_it_waits(shown: Shown, browser: Browser) -> None:
    shown.health = msgspec.structs.replace(shown.health, holds_lease=False)
    async with a_page(browser) as page:
        await page.goto(shown.url)
        assert "This bridge waits" in await page.inner_text(".banner")
