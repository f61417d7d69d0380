"""Where Prefect's server is, and how to authenticate: from Prefect's own settings."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from prefect_otel_status.settings import ConfigurationError
from prefect_otel_status.version import VERSION

_PROTECTED = frozenset(
    {"user-agent", "prefect-csrf-token", "prefect-csrf-client", "host", "connection", "upgrade"}
)
"""Headers that a custom header must not replace."""


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server. Its `repr` shows no secret; neither do errors that name it.

    `headers` go with each request; `token` opens the stream of events.
    """

    api_url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token: str | None = field(default=None, repr=False)
    csrf: bool = False
    verify: bool = True
    ca_file: str = ""
    ui_url: str = ""
    timeout: float = 60.0

    @property
    def websocket_url(self) -> str:
        """Where events are streamed from."""
        scheme, rest = self.api_url.split("://", 1)
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/events/out"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what errors and log lines say."""
        parts = urlsplit(self.api_url)
        return f"{parts.scheme}://{parts.netloc}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """How certificates are checked; None for plain HTTP."""
        if not self.api_url.startswith("https://"):
            return None
        if not self.verify:
            return httpx.create_ssl_context(verify=False)
        return _trusting(self.ca_file)


def from_prefect_settings(settings: Any = None) -> PrefectServer:
    """The server that Prefect's settings name: environment, `.env`, `prefect.toml`, profile.

    They are read anew at each call, so that a rotated key is found. Raises
    `ConfigurationError` that repeats neither an address nor a key.
    """
    settings = _read() if settings is None else settings
    api_url = _checked_url(settings.api.url)
    key, auth = _secret(settings.api.key).strip(), _secret(settings.api.auth_string)
    is_cloud = api_url.startswith(settings.cloud.api_url)
    custom = getattr(settings.client, "custom_headers", None) or {}
    return PrefectServer(
        api_url=api_url,
        headers=_headers(key, auth, custom),
        token=(key or auth if is_cloud else auth) or None,
        csrf=settings.client.csrf_support_enabled and not is_cloud,
        verify=not settings.api.tls_insecure_skip_verify,
        ca_file=settings.api.ssl_cert_file or "",
        ui_url=(settings.ui_url or "").rstrip("/"),
        timeout=settings.api.request_timeout,
    )


def _read() -> Any:
    from prefect.settings import Settings  # slow to import

    try:
        return Settings()
    except ValueError as error:
        # Pydantic's own text repeats the value, which may be a secret.
        raise ConfigurationError(f"Prefect's settings cannot be read: {_where(error)}?") from None


def _where(error: ValueError) -> str:
    errors: list[dict[str, Any]] = getattr(error, "errors", list)()
    named = {".".join(map(str, item.get("loc", ()))) for item in errors}
    # What Prefect checks without naming it is the address.
    return ", ".join(sorted(named - {""})) or "is PREFECT_API_URL an http or https address"


def _checked_url(url: str | None) -> str:
    if not url:
        raise ConfigurationError(
            "There is no Prefect server to read: Set PREFECT_API_URL, for instance "
            "http://127.0.0.1:4200/api, or choose a profile."
        )
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise ConfigurationError(
            "PREFECT_API_URL must be an http or https address, "
            "for instance http://127.0.0.1:4200/api."
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            "PREFECT_API_URL must not hold a user name or password: "
            "use PREFECT_API_AUTH_STRING or PREFECT_API_KEY."
        )
    return parts.geturl().rstrip("/")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # a port that is no number is found only here
    except ValueError:
        return None
    return parts if parts.hostname else None


def _secret(value: Any) -> str:
    return "" if value is None else str(value.get_secret_value())


def _headers(key: str, auth: str, custom: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    headers = {"user-agent": f"prefect-otel-status/{VERSION}"}
    if auth:
        headers["authorization"] = "Basic " + base64.b64encode(auth.encode()).decode()
    elif key:
        headers["authorization"] = f"Bearer {_plain(key, 'PREFECT_API_KEY')}"
    for name, value in custom.items():
        if name.lower() not in _PROTECTED and not name.lower().startswith("sec-websocket-"):
            setting = "PREFECT_CLIENT_CUSTOM_HEADERS"
            headers[_plain(name.lower(), setting)] = _plain(value, setting)
    return tuple(headers.items())


def _plain(value: str, setting: str) -> str:
    # A client's own error for such a header would print it.
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"{setting} holds a character that no header may have.")
    return value


def _trusting(ca_file: str) -> ssl.SSLContext:
    if not ca_file:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise ConfigurationError(
            "The file in PREFECT_API_SSL_CERT_FILE cannot be read as certificates."
        ) from None
