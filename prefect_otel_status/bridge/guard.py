"""What holds for every answer over HTTP: who may ask, and headers that keep it where it is."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY_HOST = "*"
"""Among the allowed hosts: every `Host` is answered."""

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.%]+\]|[^:\[\]/@\s]+)(:[0-9]{1,5})?", re.ASCII)

_NAME_IT = (
    "This host name is not among those that are allowed: "
    "name it in PREFECT_OTEL_STATUS_ALLOWED_HOSTS."
)

_OPEN = frozenset({"/healthz", "/readyz"})
"""What a probe asks without a token: it says how the bridge is, and nothing of any run."""

_ASK = {"WWW-Authenticate": 'Basic realm="prefect-otel-status", charset="UTF-8"'}


class Guard:
    """Answers only requests whose `Host` is known, so that no web page reaches us by its own name.

    Browsers let a page ask the address that its own host name resolves to; the
    name stays in the `Host` header.
    """

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: Collection[str], token: str | None = None
    ) -> None:
        self._app = app
        self._token = token
        self._allowed = {host.lower().strip("[]") for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers.getlist("host"))
        if refusal is None and self._token is not None and scope["path"] not in _OPEN:
            refusal = _unauthorized(headers.get("authorization", ""), self._token)
        await (refusal or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, hosts: list[str]) -> Response | None:
        match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if match is None:
            return error_response(400, "The request has no usable Host header.")
        if ANY_HOST in self._allowed or match["name"].strip("[]") in self._allowed:
            return None
        return error_response(421, _NAME_IT)


def _unauthorized(authorization: str, token: str) -> Response | None:
    """The answer to who has not TOKEN: as a bearer, or as the password of any user."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        given = _password(given)
    elif scheme.lower() != "bearer":
        given = ""
    # In the same time whatever is wrong with it.
    if hmac.compare_digest(given.strip().encode(), token.encode()):
        return None
    return error_response(401, "This needs the token of the bridge.", _ASK)


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return ""
    return text.partition(":")[2]


def json_response(
    body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """BODY as JSON."""
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def error_response(
    status: int, sentence: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as JSON: what is wrong, in a sentence."""
    return json_response({"error": sentence}, status=status, headers=headers)


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cache-Control"] = "no-store"
        await send(message)

    return wrapped
