"""Requests to a Prefect server: retried, bounded, and with credentials that may rotate."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.settings import ConfigurationError

_BUSY = frozenset({408, 429, 502, 503, 504})
_LONGEST_PAUSE = 60.0
_LARGEST_ANSWER = 128 * 1024 * 1024
# A page of events can have 50 times 1.5 MB.

# Prefect's server drops a connection that was idle for 5 s: be the first.
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=4.0)


class ServerUnavailable(Exception):  # noqa: N818 - a state of the server, not of a program
    """The server cannot be reached, or is too busy. The next sweep may find it well."""


class Unauthorized(Exception):  # noqa: N818 - as above
    """The server refuses the credentials, or the CSRF token."""


class RequestRefused(Exception):  # noqa: N818 - as above
    """The server does not take this request. `status` is what it answered."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Csrf:
    client: str = field(default_factory=lambda: str(uuid4()))
    token: str = field(default="", repr=False)
    expires: int = 0
    off: bool = False

    def is_good(self, now: int) -> bool:
        return self.off or bool(self.token and now < self.expires)

    def headers(self) -> dict[str, str]:
        if self.off:
            return {}
        return {"prefect-csrf-token": self.token, "prefect-csrf-client": self.client}

    def forget(self) -> None:
        self.token, self.off = "", False


class Connection:
    """Asks a Prefect server; counts the requests that it sent in `requests`.

    SERVER_FACTORY says where the server is, and is asked again when it refuses
    the credentials. How certificates are checked stays as it was at first.
    `clock` is in nanoseconds since 1970, `sleep` takes seconds.
    """

    def __init__(
        self,
        server_factory: Callable[[], PrefectServer],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], int] = time.time_ns,
        random: Callable[[], float] = random.random,
        tries: int = 5,
        largest_answer: int = _LARGEST_ANSWER,
    ) -> None:
        self.requests = 0
        self._server_factory = server_factory
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._random = random
        self._tries = tries
        self._largest = largest_answer
        self._server: PrefectServer | None = None
        self._client: httpx.AsyncClient | None = None
        self._csrf = _Csrf()
        self._csrf_lock = asyncio.Lock()

    @property
    def server(self) -> PrefectServer:
        """The server that is asked. Raises `ConfigurationError` where there is none."""
        if self._server is None:
            self._server = self._server_factory()
        return self._server

    async def post(self, path: str, body: Any) -> bytes:
        """The answer to BODY, sent as JSON to PATH, which is below the API's address."""
        return await self._ask("POST", path, content=msgspec.json.encode(body))

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The answer of PATH. Raises the errors of this module, as `post` does."""
        return await self._ask("GET", path, params=dict(params or {}))

    async def close(self) -> None:
        """Close what is open; the next request opens it again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(self, method: str, path: str, **request: Any) -> bytes:
        try:
            return await self._patiently(method, path, **request)
        except Unauthorized:
            if not self._found_other_credentials():
                raise
        return await self._patiently(method, path, **request)

    def _found_other_credentials(self) -> bool:
        try:
            server = self._server_factory()
        except ConfigurationError:
            return False
        is_other = server != self._server
        self._server = server
        return is_other

    async def _patiently(self, method: str, path: str, **request: Any) -> bytes:
        for attempt in range(1, self._tries + 1):
            answer = await self._with_csrf(method, path, **request)
            if answer.status not in _BUSY:
                return self._accepted(path, answer)
            if attempt < self._tries:
                await self._sleep(self._pause(answer, attempt))
        raise ServerUnavailable(
            f"Prefect's server at {self.server.origin} is too busy: "
            f"it answered {answer.status} to {self._tries} tries."
        )

    def _pause(self, answer: _Answer, attempt: int) -> float:
        """How long to wait: at least as long as asked for, up to a minute; then a bit by chance."""
        asked = _retry_after(answer.headers.get("retry-after", ""), self._clock())
        usual = 0.25 * 2**attempt if asked is None else asked
        return min(usual, _LONGEST_PAUSE) * (1 + 0.1 * self._random())

    async def _with_csrf(self, method: str, path: str, **request: Any) -> _Answer:
        if method == "GET" or not self.server.csrf:
            return await self._send(method, path, **request)
        answer = await self._send(method, path, extra=await self._csrf_headers(), **request)
        if answer.status == 403 and b"CSRF" in answer.body:
            self._csrf.forget()
            answer = await self._send(method, path, extra=await self._csrf_headers(), **request)
        return answer

    async def _csrf_headers(self) -> dict[str, str]:
        async with self._csrf_lock:
            if not self._csrf.is_good(self._clock()):
                await self._fetch_csrf_token()
            return self._csrf.headers()

    async def _fetch_csrf_token(self) -> None:
        path = "csrf-token"
        answer = await self._send("GET", path, params={"client": self._csrf.client})
        if answer.status in (404, 422):  # an old server, or one that wants no tokens
            self._csrf.off = True
        elif answer.status in _BUSY:
            raise ServerUnavailable(f"Prefect's server at {self.server.origin} is too busy.")
        else:
            found = _json(self._accepted(path, answer))
            self._csrf.token = str(found.get("token") or "")
            self._csrf.expires = nanoseconds(str(found.get("expiration") or ""))

    async def _send(
        self, method: str, path: str, *, extra: Mapping[str, str] | None = None, **request: Any
    ) -> _Answer:
        try:
            return await self._send_once(method, path, extra or {}, **request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            # An idle connection that the server closed just now; all we ask can be asked twice.
            pass
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        try:
            return await self._send_once(method, path, extra or {}, **request)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    async def _send_once(
        self, method: str, path: str, extra: Mapping[str, str], **request: Any
    ) -> _Answer:
        server = self.server
        headers = {**dict(server.headers), "content-type": "application/json", **extra}
        url = f"{server.api_url}/{path}"
        self.requests += 1
        async with self._opened().stream(method, url, headers=headers, **request) as response:
            body = await self._read(path, response)
            return _Answer(response.status_code, response.headers, body)

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._transport,
                verify=self.server.ssl_context() or False,  # plain HTTP has nothing to verify
                timeout=self.server.timeout,
                limits=_LIMITS,
                # Credentials must not follow a redirect to where nobody sent them.
                follow_redirects=False,
            )
        return self._client

    async def _read(self, path: str, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._largest:
                raise RequestRefused(
                    f"Prefect's answer to {_named(path)} is larger than {self._largest} bytes.",
                    status=response.status_code,
                )
        return bytes(body)

    def _accepted(self, path: str, answer: _Answer) -> bytes:
        if 200 <= answer.status < 300:
            return answer.body
        if answer.status in (401, 403):
            raise Unauthorized(self._refusal(answer))
        if answer.status >= 500:
            raise ServerUnavailable(
                f"Prefect's server at {self.server.origin} failed: "
                f"it answered {answer.status} to {_named(path)}."
            )
        hint = " Is PREFECT_API_URL right?" if answer.status < 400 or answer.status == 404 else ""
        raise RequestRefused(
            f"Prefect's server at {self.server.origin} answered {answer.status} "
            f"to {_named(path)}.{hint}",
            status=answer.status,
        )

    def _refusal(self, answer: _Answer) -> str:
        who = f"Prefect's server at {self.server.origin} refuses the request ({answer.status})"
        if b"CSRF" in answer.body:
            return f"{who}: it wants CSRF tokens; set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true."
        return (
            f"{who}: set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud, "
            "to what it accepts."
        )

    def _unreachable(self, error: httpx.HTTPError) -> ServerUnavailable:
        # Only a failed connection's own words hold nothing of the request.
        why = str(error) if isinstance(error, httpx.ConnectError) else ""
        return ServerUnavailable(
            f"Prefect's server at {self.server.origin} cannot be reached: "
            f"{why or type(error).__name__}."
        )


def _named(path: str) -> str:
    return path.partition("?")[0]


def _json(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise ServerUnavailable("What answers is not Prefect's API.") from None


def _retry_after(value: str, now: int) -> float | None:
    """The seconds that VALUE, a number or an HTTP date, asks to wait; None where it does not."""
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str, now: int) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now / 1e9)
    except (TypeError, ValueError, OverflowError):
        return None
