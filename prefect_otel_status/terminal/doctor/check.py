"""What a check is, and how checks are run: each bounded in time, none stopping another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import httpx

from prefect_otel_status import sanitize
from prefect_otel_status.bridge.connection import (
    RequestRefused,
    ServerUnavailable,
    Unauthorized,
)
from prefect_otel_status.redact import Redactor
from prefect_otel_status.settings import ConfigurationError

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
"""How a check can come out."""

_LIMIT = 400
_redact = Redactor()
_SPEAKING = (ConfigurationError, ServerUnavailable, Unauthorized, RequestRefused)
"""Errors of our own, whose text is a sentence and holds no secret."""


@dataclass(frozen=True)
class Finding:
    """How a check came out: what was found, and what to do if it is not well."""

    outcome: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Result:
    """A finding, and the check that it is of."""

    check: str
    outcome: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """A check: its name, what it does, and what to do where that fails.

    `seconds` is the least time that it needs, whatever others have.
    """

    name: str
    look: Callable[[], Awaitable[Finding]]
    advice: str = ""
    seconds: float = 0.0


async def results(checks: Iterable[Check], *, timeout: float) -> AsyncIterator[Result]:
    """How CHECKS come out, in their order; all are done at once, each within TIMEOUT seconds."""
    under_way = [(check, asyncio.create_task(_looked(check, timeout))) for check in checks]
    try:
        for check, task in under_way:
            found = await task
            advice = found.advice or (check.advice if found.outcome == FAILED else "")
            yield Result(check.name, found.outcome, _clean(found.found), _clean(advice))
    finally:
        for _, task in under_way:
            task.cancel()


async def _looked(check: Check, timeout: float) -> Finding:
    seconds = max(timeout, check.seconds)
    try:
        return await asyncio.wait_for(check.look(), seconds)
    except asyncio.TimeoutError:
        return Finding(FAILED, f"no answer within {seconds:g} s")
    except _SPEAKING as error:
        return Finding(FAILED, str(error))
    except Exception as error:
        return Finding(FAILED, _words_of(error))


def _words_of(error: Exception) -> str:
    """What is wrong, without the error's own text: that may hold an address with a password."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    if isinstance(error, httpx.ConnectError):
        return "nothing answers there"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, ValueError):
        return "what answers there is something else"
    return type(error).__name__


def _clean(text: str) -> str:
    return sanitize.line(_redact(text), limit=_LIMIT)
