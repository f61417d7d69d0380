"""What the command `bridge` does: runs one, for ever or once, or shows what was set aside."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from prefect_otel_status.bridge import outbox
from prefect_otel_status.bridge.assemble import app_of, bridge, store_address
from prefect_otel_status.bridge.connection import (
    RequestRefused,
    ServerUnavailable,
    Unauthorized,
)
from prefect_otel_status.bridge.daemon import Bridge
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.live import Live
from prefect_otel_status.bridge.outbox import SetAside
from prefect_otel_status.bridge.serving import Listen, parse_listen, serve
from prefect_otel_status.bridge.store import open_store
from prefect_otel_status.bridge.token import read_token
from prefect_otel_status.settings import Settings

logger = logging.getLogger("prefect_otel_status.bridge")

DONE, LEFT, UNREACHABLE = 0, 1, 3
"""Exit codes: all delivered; something still waits; the server cannot be read."""


async def run_forever(settings: Settings) -> int:
    """Run a bridge with its pages until SIGTERM or SIGINT; then stop in order."""
    has_token = read_token(settings.web_token_file) is not None
    listen = parse_listen(settings.listen, allow_public=settings.allow_public or has_token)
    stop = asyncio.Event()
    _stop_on_signals(stop)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(bridge(settings, on_progress=Progress()))
        live = Live(lambda: one.core.last_commit)
        app = app_of(one, listen, settings, live=live)
        serving = await stack.enter_async_context(serve(app, listen))
        stack.callback(live.close)
        _say_where(serving.listen)
        await one.run(stop)
    logger.info("The bridge has stopped.")
    return DONE


async def run_once(settings: Settings) -> int:
    """Sweep, settle and export once; the exit code."""
    async with bridge(settings, on_progress=Progress()) as one:
        try:
            return await _once(one)
        except (ServerUnavailable, Unauthorized, RequestRefused) as error:
            logger.error("%s", error)  # noqa: TRY400  (the sentence says it all)
            return UNREACHABLE
        except LeaseLostError:
            logger.error("Another bridge works on this store; there is nothing to do.")  # noqa: TRY400
            return LEFT


async def _once(one: Bridge) -> int:
    if await one.once():
        logger.error("Not all could be delivered: %s", one.health().export.trouble or "try again")
        return LEFT
    return DONE


async def set_aside(settings: Settings, *, release: bool) -> list[SetAside]:
    """What the receiver refused; with RELEASE it is put back, to be tried again."""
    store = await open_store(store_address(settings), now=time.time_ns())
    try:
        found = await store.read(outbox.list_set_aside)
        if release:
            await store.run(outbox.release_set_aside)
        return found
    finally:
        await store.close()


class Progress:
    """Logs how far a long backfill has come, at most every few seconds."""

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, every: float = 5.0
    ) -> None:
        self._monotonic = monotonic
        self._every = every
        self._next = monotonic() + every

    def __call__(self, count: int) -> None:
        now = self._monotonic()
        if now >= self._next:
            self._next = now + self._every
            logger.info("Reading Prefect's history: %d ended runs so far.", count)


def _say_where(listen: Listen) -> None:
    logger.info("Deployments are shown at %s, metrics are at %s/metrics.", listen.url, listen.url)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """RECORD with its time, level, message and, where there is one, its error."""
        found = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def log_to_stderr(*, as_json: bool, level: int = logging.INFO) -> None:
    """Send our log, and warnings of others, to the standard error stream."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if as_json else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("prefect_otel_status").setLevel(level)
    for chatty in ("httpx", "httpcore"):  # a line for each request
        logging.getLogger(chatty).setLevel(logging.WARNING)
