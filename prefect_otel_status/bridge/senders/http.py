"""OTLP over HTTP, as binary protobuf."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it has no stubs

from prefect_otel_status.bridge.endpoint import Endpoint, authorities, identify
from prefect_otel_status.bridge.otlp import request
from prefect_otel_status.bridge.senders.base import (
    RESPONSES,
    Kind,
    Outcome,
    clean,
    of_response,
    secrets_of,
)
from prefect_otel_status.version import VERSION

_ANSWER_LIMIT = 65_536  # bytes of an answer that are read
_TOO_LARGE = 413
_LATER = frozenset({408, 425, 429, 502, 503, 504})
# Each says that the address or the credentials are wrong, and nothing about the data.
_MISDIRECTED = frozenset({401, 403, 404, 405, 407, 415})


_client_log = logging.getLogger("httpx")


class _Unspoken(logging.Filter):
    """Keeps out the line that `httpx` logs of each request to ADDRESS, which may hold a key."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._url = httpx.URL(address)

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and self._url in record.args)


class HttpSender:
    """Posts requests to one URL, on a connection that is kept and made anew when it breaks."""

    def __init__(self, endpoint: Endpoint, *, now: Callable[[], float] = time.time) -> None:
        self._endpoint = endpoint
        self._now = now
        self._secrets = secrets_of(endpoint.headers)
        self._client: httpx.AsyncClient | None = None
        self._unspoken = _Unspoken(endpoint.address)

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        """Post BODIES as one request. What goes wrong is in the outcome, never raised."""
        try:
            status, headers, body = await asyncio.wait_for(
                self._post(request(bodies)), self._endpoint.timeout
            )
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return Outcome(Kind.RETRY, f"no answer within {self._endpoint.timeout:g} s")
        except (httpx.HTTPError, OSError) as error:
            await self.close()  # the next one reads certificates that were renewed meanwhile
            return Outcome(Kind.RETRY, self._clean(str(error) or type(error).__name__))
        return self._outcome(signal, status, headers, body)

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        _client_log.removeFilter(self._unspoken)
        if client is not None:
            await client.aclose()

    async def _post(self, content: bytes) -> tuple[int, httpx.Headers, bytes]:
        if self._client is None:
            self._client = self._connect()
        if self._endpoint.gzip:
            # The time that gzip would write makes equal requests differ.
            content = gzip.compress(content, mtime=0)
        async with self._client.stream("POST", self._endpoint.address, content=content) as answer:
            return answer.status_code, answer.headers, await _start_of(answer)

    def _connect(self) -> httpx.AsyncClient:
        _client_log.addFilter(self._unspoken)
        verify: bool | ssl.SSLContext = _context(self._endpoint) if self._endpoint.secure else True
        return httpx.AsyncClient(
            headers=self._headers(),
            verify=verify,
            timeout=self._endpoint.timeout,
            follow_redirects=False,  # our headers are for the endpoint alone
        )

    def _headers(self) -> dict[str, str]:
        encoding = {"content-encoding": "gzip"} if self._endpoint.gzip else {}
        return {
            "user-agent": f"prefect-otel-status/{VERSION}",
            **dict(self._endpoint.headers),
            "content-type": "application/x-protobuf",
            **encoding,
        }

    def _outcome(self, signal: str, status: int, headers: httpx.Headers, body: bytes) -> Outcome:
        if 200 <= status < 300:
            return self._success(signal, headers, body)
        message = self._clean(f"{status} {_phrase(status)}{_words(headers, body)}")
        if status in _LATER:
            return Outcome(Kind.RETRY, message, retry_after=self._delay(headers))
        if status >= 500:
            return Outcome(Kind.RETRY, message, retry_after=self._delay(headers), bounded=True)
        if status in _MISDIRECTED or status < 400:
            return Outcome(Kind.UNAUTHORIZED, message)
        return Outcome(Kind.TOO_LARGE if status == _TOO_LARGE else Kind.REFUSED, message)

    def _success(self, signal: str, headers: httpx.Headers, body: bytes) -> Outcome:
        kind = _content_type(headers)
        if kind == "text/html":
            # The page of a proxy or a login: nobody took the data.
            return Outcome(Kind.UNAUTHORIZED, "a web page answered instead of an OTLP receiver")
        read = _from_json if kind == "application/json" else _from_protobuf
        response = read(signal, body)
        return of_response(response, self._clean) if response else Outcome(Kind.DELIVERED)

    def _delay(self, headers: httpx.Headers) -> float | None:
        """Seconds that `Retry-After` asks for: a number, or a date."""
        raw = headers.get("retry-after", "").strip()
        if raw.isdecimal():
            return float(raw[:12])
        try:
            return max(0.0, parsedate_to_datetime(raw).timestamp() - self._now())
        except (ValueError, TypeError, IndexError, OverflowError):
            return None

    def _clean(self, message: str) -> str:
        return clean(message, secrets=self._secrets)


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    ours = endpoint.tls.certificate
    return identify(authorities(endpoint.tls) if ours else httpx.create_ssl_context(), endpoint.tls)


async def _start_of(answer: httpx.Response) -> bytes:
    found = b""
    async for part in answer.aiter_bytes():
        found += part
        if len(found) >= _ANSWER_LIMIT:
            break
    return found[:_ANSWER_LIMIT]


def _content_type(headers: httpx.Headers) -> str:
    kind: str = headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _phrase(status: int) -> str:
    return httpx.codes.get_reason_phrase(status)


def _words(headers: httpx.Headers, body: bytes) -> str:
    kind = _content_type(headers)
    if not body or kind == "text/html":
        return ""
    message = _status_message(kind, body)
    return f": {message}" if message else ""


def _status_message(kind: str, body: bytes) -> str:
    """What a `google.rpc.Status` says, which OTLP wants here; else the text as it is."""
    if kind == "application/x-protobuf":
        try:
            return str(Status.FromString(body).message)
        except DecodeError:
            return ""
    found = _json(body) if kind == "application/json" else None
    if isinstance(found, dict) and isinstance(found.get("message"), str):
        return str(found["message"])
    return body.decode("utf-8", "replace")


def _from_protobuf(signal: str, body: bytes) -> Any:
    try:
        return RESPONSES[signal].FromString(body)
    except DecodeError:
        return None  # it was a success nevertheless


def _from_json(signal: str, body: bytes) -> Any:
    try:
        return ParseDict(_json(body), RESPONSES[signal](), ignore_unknown_fields=True)
    except (ParseError, TypeError, AttributeError):
        return None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
