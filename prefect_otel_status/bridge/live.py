"""Server-sent events: that something changed, so that a page asks for its content again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from prefect_otel_status.bridge.guard import error_response

MOST = 24
"""Browsers that may listen at once: fewer than connections, so that a scrape finds one."""

EVERY = 1.0
"""Seconds between two looks whether something changed."""

HEARTBEAT = 15
"""Looks after which a browser hears that it is still connected."""


class Live:
    """Tells browsers of changes. VERSION is another number after each change."""

    def __init__(
        self,
        version: Callable[[], int],
        *,
        most: int = MOST,
        pause: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        self._version = version
        self._most = most
        self._closed = asyncio.Event()
        self._pause = pause or self._wait
        self._listeners = 0

    def close(self) -> None:
        """Let everybody go, so that the server can end."""
        self._closed.set()

    async def __call__(self, request: Request) -> Response:
        """The stream; 503 where too many listen already: the browser then asks again later."""
        if self._listeners >= self._most:
            return error_response(503, "Too many pages listen; this one reloads by itself.")
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(), headers=headers, media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        self._listeners += 1
        try:
            # A browser that was away asks anew itself; at once so that headers are sent.
            yield "retry: 3000\n: hello\n\n"
            seen, quiet = self._version(), 0
            while not self._closed.is_set():
                await self._pause(EVERY)
                quiet += 1
                if (version := self._version()) != seen:
                    seen, quiet = version, 0
                    yield f"data: {version}\n\n"
                elif quiet >= HEARTBEAT:
                    quiet = 0
                    yield ": still here\n\n"
        finally:
            self._listeners -= 1

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except asyncio.TimeoutError:
            return
