"""Where the bridge listens, and the server that does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from prefect_otel_status.settings import ConfigurationError

LOOPBACK = "127.0.0.1"
LOOPBACK_HOSTS = ("localhost", LOOPBACK, "::1")
_USE = "use an address such as 127.0.0.1:9464 or [::1]:9464"
_CONNECTIONS = 64
_HEADER_BYTES = 16_384
_KEEP_ALIVE = 75
"""Seconds; longer than scrapes are apart, so that each scraper keeps its connection."""


class Listen(NamedTuple):
    """A host and a port; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a client writes it."""
        return f"http://{self}"


class Serving(NamedTuple):
    """A server that runs: where it really listens, and the task that it is."""

    listen: Listen
    task: asyncio.Task[None]


def parse_listen(text: str, *, allow_public: bool = False) -> Listen:
    """The host and port that TEXT says; without a host, loopback.

    Raises `ConfigurationError` that says what to write instead, also for an
    address that others can reach, unless ALLOW_PUBLIC.
    """
    host, separator, port = text.strip().rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigurationError(f"{text!r} has no port from 0 to 65535: {_USE}.")
    listen = Listen(_host(host, text), int(port))
    if not allow_public and not is_loopback(listen.host):
        raise ConfigurationError(
            f"{listen} can be reached from other machines, and anyone there could read what "
            f"the runs say: listen on 127.0.0.1:{listen.port}, ask for a token by "
            "PREFECT_OTEL_STATUS_WEB_TOKEN_FILE, or allow it with --allow-public."
        )
    return listen


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv6Address(host[1:-1]))
    elif not set(host) & set(":[]/@ "):
        return host.lower() or LOOPBACK
    raise ConfigurationError(f"{text!r} has no usable host: {_USE}.")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches HOST."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hosts_of(listen: Listen) -> frozenset[str]:
    """The names by which LISTEN may be asked: it, and the loopback ones."""
    return frozenset({*LOOPBACK_HOSTS, listen.host})


def bind(listen: Listen) -> socket.socket:
    """A socket that listens there. Raises `ConfigurationError` where that cannot be had."""
    try:
        return _bind(listen)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there; stop it, or choose another port"
        else:
            reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"Cannot listen on {listen}: {reason}.") from None


def _bind(listen: Listen) -> socket.socket:
    found = socket.getaddrinfo(*listen, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_CONNECTIONS)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


@asynccontextmanager
async def serve(app: ASGIApp, listen: Listen, *, stop_timeout: int = 2) -> AsyncIterator[Serving]:
    """Serve APP on LISTEN as a task of this loop until the end; signals stay the caller's.

    Requests that go on then have STOP_TIMEOUT seconds.
    """
    listener = bind(listen)
    actual = Listen(listen.host, listener.getsockname()[1])
    server = _Server(_config(app, stop_timeout))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="bridge-http")
    try:
        yield Serving(actual, task)
    finally:
        server.should_exit = True
        try:
            await task
        finally:
            listener.close()


class _Server(uvicorn.Server):
    """A server that leaves the signals of the process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _config(app: ASGIApp, stop_timeout: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",  # what goes wrong in a page is logged there, without secrets
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=stop_timeout,
    )
