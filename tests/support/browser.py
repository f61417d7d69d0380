"""A real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.support.processes import program

PATIENCE = 60_000.0
"""Milliseconds that a page may take on a busy machine."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window."""
    path = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def a_page(browser: Browser, **context: Any) -> AsyncIterator[Page]:
    """A page of a fresh context; what its scripts complain about fails the test."""
    fresh = await browser.new_context(**context)
    page = await fresh.new_page()
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    try:
        yield page
        assert errors == []
    finally:
        await fresh.close()


async def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with PAGE: its rule, and where."""
    # By the protocol and not as a script of the page, whose policy would refuse it.
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    await page.evaluate(axe)
    found = await page.evaluate("axe.run()")
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
