"""Where the bridge sends a signal: the standard `OTEL_EXPORTER_OTLP_*` variables, checked.

What is wrong is said at the start, by the variable's name and what to use
instead. A message never repeats a value that may hold a credential.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import httpx

from prefect_otel_status.choice import GRPC, HTTP, choose
from prefect_otel_status.settings import ConfigurationError

_TIMEOUT = 10.0
_MILLISECONDS = 1000.0
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_DEFAULTS = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_USE = "use one like http://localhost:4318 or https://collector.example:4317"
_FOLDER = (
    "for files leave it unset: OTLP JSON lines go to the folder PREFECT_OTEL_STATUS_FOLDER then"
)


@dataclass(frozen=True)
class Tls:
    """The files that a connection is verified with; None where the system's own will do."""

    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where a signal goes, and how.

    `address` is the whole URL for HTTP, and `host:port` for gRPC. Headers, which
    may be credentials, do not show when it is printed.
    """

    protocol: str
    address: str = field(repr=False)
    shown: str
    secure: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = _TIMEOUT
    gzip: bool = False
    tls: Tls = Tls()


def is_wanted(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether SIGNAL goes anywhere: not with `OTEL_<SIGNAL>_EXPORTER=none`."""
    return bool(choose(signal, environ))


def endpoint_of(signal: str, environ: Mapping[str, str]) -> Endpoint | None:
    """The endpoint of SIGNAL (`traces`, `logs`, `metrics`) in ENVIRON; None is the local folder.

    Raises `ConfigurationError` that names the variable and says what to use.
    """
    given = _Variables(signal, environ)
    found = given.find("ENDPOINT")
    parts = _address(found) if found else None  # before others look, who may repeat it
    chosen = next((choice for choice in choose(signal, environ) if choice.kind == "otlp"), None)
    if chosen is None:
        return None
    variable = found or _Found("OTEL_EXPORTER_OTLP_ENDPOINT", _DEFAULTS[chosen.protocol])
    parts = parts or _address(variable)
    place = _grpc_place if chosen.protocol == GRPC else _http_place
    address, secure = place(given, variable, parts)
    return Endpoint(
        chosen.protocol,
        address,
        f"{'https' if secure else 'http'}://{parts.netloc}{_path_of(address, chosen.protocol)}",
        secure,
        _headers(given, chosen.protocol),
        _timeout(given),
        _gzip(given),
        _tls(given) if secure else Tls(),
    )


class _Found(NamedTuple):
    variable: str
    value: str


class _Variables:
    """The variables of one signal; its own win over the general ones."""

    def __init__(self, signal: str, environ: Mapping[str, str]) -> None:
        self.signal = signal
        self._environ = environ

    def find(self, name: str) -> _Found | None:
        for variable in (self.own(name), f"OTEL_EXPORTER_OTLP_{name}"):
            if value := self._environ.get(variable, "").strip():
                return _Found(variable, value)
        return None

    def own(self, name: str) -> str:
        return f"OTEL_EXPORTER_OTLP_{self.signal.upper()}_{name}"


def _bad(variable: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"Bad setting: {variable}: {what}.")


def _address(found: _Found) -> SplitResult:
    """The parts of an address that can be one; without a scheme that is gRPC's `host:port`."""
    value = found.value
    try:
        parts = urlsplit(value if "//" in value or value[:5] == "file:" else f"//{value}")
        port = parts.port
    except ValueError:
        raise _bad(found.variable, f"it is no address, or its port is no number; {_USE}") from None
    if parts.scheme not in ("http", "https", ""):
        hint = _FOLDER if parts.scheme == "file" else _USE
        raise _bad(found.variable, f"its scheme is neither http nor https; {hint}")
    if "@" in parts.netloc:
        raise _bad(
            found.variable,
            "it has user information in it; put credentials into OTEL_EXPORTER_OTLP_HEADERS, "
            "such as authorization=Basic%20...",
        )
    bare = parts.netloc.endswith(":")
    if not parts.hostname or bare or port == 0 or not value.isprintable() or " " in value:
        raise _bad(found.variable, f"it names no host and port; {_USE}")
    return parts


def _http_place(given: _Variables, found: _Found, parts: SplitResult) -> tuple[str, bool]:
    if not parts.scheme:
        raise _bad(found.variable, "over HTTP it begins with http:// or https://")
    path = parts.path or "/"
    if found.variable != given.own("ENDPOINT"):
        path = f"{parts.path.rstrip('/')}/v1/{given.signal}"
    whole = urlunsplit(parts._replace(path=path, fragment=""))
    try:
        httpx.URL(whole)
    except httpx.InvalidURL:
        raise _bad(found.variable, f"it is no address; {_USE}") from None
    return whole, parts.scheme == "https"


def _grpc_place(given: _Variables, found: _Found, parts: SplitResult) -> tuple[str, bool]:
    return parts.netloc, not _is_insecure(given, parts.scheme)


def _is_insecure(given: _Variables, scheme: str) -> bool:
    if scheme:
        return scheme == "http"
    found = given.find("INSECURE")
    if found is None:
        return False
    if found.value.lower() not in ("true", "false"):
        raise _bad(found.variable, "it is neither true nor false")
    return found.value.lower() == "true"


def _path_of(address: str, protocol: str) -> str:
    # A query may hold a key.
    return urlsplit(address).path if protocol == HTTP else ""


def _headers(given: _Variables, protocol: str) -> tuple[tuple[str, str], ...]:
    found = given.find("HEADERS")
    if found is None:
        return ()
    pairs = (pair for pair in found.value.split(",") if pair.strip())
    return tuple(dict(_header(found.variable, pair, protocol) for pair in pairs).items())


def _header(variable: str, pair: str, protocol: str) -> tuple[str, str]:
    raw_name, equals, raw_value = pair.partition("=")
    name, value = unquote(raw_name).strip().lower(), unquote(raw_value).strip()
    if not equals or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        raise _bad(
            variable,
            "a part of it is no header; use name=value, with commas between and other "
            "characters percent-encoded, such as authorization=Bearer%20...",
        )
    if protocol == GRPC and name.startswith("grpc-"):
        raise _bad(variable, "names that begin with grpc- are gRPC's own; use another name")
    return name, value


def _timeout(given: _Variables) -> float:
    """Seconds. Python's SDK reads seconds and the specification says milliseconds: both work."""
    found = given.find("TIMEOUT")
    if found is None:
        return _TIMEOUT
    try:
        number = float(found.value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _bad(found.variable, "it is no positive number of seconds; use one such as 10")
    return number if number < _MILLISECONDS else number / _MILLISECONDS


def _gzip(given: _Variables) -> bool:
    found = given.find("COMPRESSION")
    if found is None or found.value.lower() == "none":
        return False
    if found.value.lower() != "gzip":
        raise _bad(found.variable, "it is not known here, use gzip or none")
    return True


def _tls(given: _Variables) -> Tls:
    certificate, client = given.find("CERTIFICATE"), given.find("CLIENT_CERTIFICATE")
    key = given.find("CLIENT_KEY")
    if key and not client:
        raise _bad(key.variable, "a key needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE beside it")
    tls = Tls(*(Path(found.value) if found else None for found in (certificate, client, key)))
    if certificate:
        _check(certificate.variable, lambda: authorities(tls))
    if client:
        _check((key or client).variable, lambda: identify(ssl.create_default_context(), tls))
    return tls


def _check(variable: str, load: Callable[[], object]) -> None:
    try:
        load()
    except ssl.SSLError:
        raise _bad(variable, "the file holds nothing that fits; use one in PEM format") from None
    except OSError as error:
        raise _bad(variable, f"the file cannot be read: {error.strerror}") from None


def authorities(tls: Tls) -> ssl.SSLContext:
    """A context that trusts the certificate of TLS alone. Raises `OSError` (`SSLError`)."""
    return ssl.create_default_context(cafile=tls.certificate)


def identify(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    """CONTEXT with the client certificate of TLS, where there is one. Raises `OSError`."""
    if tls.client_certificate:
        # Without a password OpenSSL would ask for it on the terminal.
        context.load_cert_chain(tls.client_certificate, tls.client_key, password="")
    return context
