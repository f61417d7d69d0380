"""Checks: all at once, each bounded, none stopping another, no secret in what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.settings import ConfigurationError
from prefect_otel_status.terminal.doctor.check import (
    FAILED,
    OK,
    WARNING,
    Check,
    Finding,
    Result,
    results,
)

Look = Callable[[], Awaitable[Finding]]
REQUEST = httpx.Request("GET", "http://user:hunter2@host")


def finds(finding: Finding) -> Look:
    async def look() -> Finding:
        return finding

    return look


def raises(error: Exception) -> Look:
    async def look() -> Finding:
        raise error

    return look


async def found(*checks: Check, timeout: float = 5.0) -> list[Result]:
    return [result async for result in results(checks, timeout=timeout)]


async def test_advice_is_given_where_a_check_failed() -> None:
    advice = "Mend it."
    assert await found(
        Check("a", finds(Finding(OK, "well")), advice),
        Check("b", finds(Finding(FAILED, "broken")), advice),
        Check("c", finds(Finding(WARNING, "odd", "Look at it.")), advice),
    ) == [
        Result("a", OK, "well"),
        Result("b", FAILED, "broken", advice),
        Result("c", WARNING, "odd", "Look at it."),
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigurationError("Set it."), "Set it."),
        (ServerUnavailable("It is away."), "It is away."),
        (httpx.ConnectError("hunter2"), "nothing answers there"),
        (httpx.ReadTimeout("hunter2"), "no answer in time"),
        (ValueError("hunter2"), "what answers there is something else"),
        (RuntimeError("hunter2"), "RuntimeError"),
        (
            httpx.HTTPStatusError("hunter2", request=REQUEST, response=httpx.Response(403)),
            "it answered 403",
        ),
    ],
)
async def test_what_is_raised_is_words_without_its_text(error: Exception, words: str) -> None:
    first, second = await found(Check("a", raises(error)), Check("b", finds(Finding(OK, "well"))))
    assert first == Result("a", FAILED, words)
    assert second.outcome == OK


async def test_all_are_done_at_once_and_told_in_order() -> None:
    begun: list[str] = []
    all_begun = asyncio.Event()

    def waits(name: str) -> Look:
        async def look() -> Finding:
            begun.append(name)
            if len(begun) == 3:
                all_begun.set()
            await all_begun.wait()
            return Finding(OK, name)

        return look

    told = await found(*(Check(name, waits(name)) for name in "abc"))
    assert [result.found for result in told] == ["a", "b", "c"]


async def test_one_that_hangs_is_given_up() -> None:
    async def hangs() -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    (result,) = await found(Check("a", hangs), timeout=0.01)
    assert result == Result("a", FAILED, "no answer within 0.01 s")


async def test_whoever_stops_listening_ends_the_others() -> None:
    ended = asyncio.Event()

    async def hangs() -> Finding:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    stream: Any = results([Check("a", finds(Finding(OK, ""))), Check("b", hangs)], timeout=60)
    await stream.__anext__()
    await stream.aclose()
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_secret_is_taken_out_of_what_was_found() -> None:
    secret = Finding(OK, "see postgresql://bridge:hunter2@db/bridge\nand more")
    (result,) = await found(Check("a", finds(secret)))
    assert "hunter2" not in result.found
    assert "\n" not in result.found
