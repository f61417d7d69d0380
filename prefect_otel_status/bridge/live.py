"""Server-sent events: that something changed, so that a page asks for its content again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

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
        self.listeners = 0
        """How many listen now."""

    def close(self) -> None:
        """Let everybody go, so that the server can end."""
        self._closed.set()

    async def __call__(self, request: Request) -> Response:
        """The stream; 503 where too many listen already: the browser then asks again later."""
        if self.listeners >= self._most:
            return error_response(503, "Too many pages listen; this one reloads by itself.")
        return _Stream(self._events(), on_begin=self._begins, on_end=self._ends)

    def _begins(self) -> None:
        self.listeners += 1

    def _ends(self) -> None:
        self.listeners -= 1

    async def _events(self) -> AsyncIterator[str]:
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

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except asyncio.TimeoutError:
            return


class _Stream(StreamingResponse):
    """The answer to one browser. It counts from its first step, so that a crowd is counted too."""

    def __init__(
        self,
        events: AsyncIterator[str],
        *,
        on_begin: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._on_begin = on_begin
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the browser leaves, or all are let go."""
        self._on_begin()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()
