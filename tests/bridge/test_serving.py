"""Addresses to listen on, and the server that listens there."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from prefect_otel_status.bridge.serving import Listen, bind, hosts_of, parse_listen, serve
from prefect_otel_status.settings import ConfigurationError


@pytest.mark.parametrize(
    ("text", "listen", "written"),
    [
        ("127.0.0.1:9464", Listen("127.0.0.1", 9464), "127.0.0.1:9464"),
        (" 127.8.8.8:0 ", Listen("127.8.8.8", 0), "127.8.8.8:0"),
        ("Localhost:65535", Listen("localhost", 65535), "localhost:65535"),
        ("[::1]:9464", Listen("::1", 9464), "[::1]:9464"),
        ("[0:0::1]:9464", Listen("::1", 9464), "[::1]:9464"),
        (":9464", Listen("127.0.0.1", 9464), "127.0.0.1:9464"),
    ],
)
def test_addresses_are_read(text: str, listen: Listen, written: str) -> None:
    found = parse_listen(text)
    assert (found, str(found), found.url) == (listen, written, f"http://{written}")


@pytest.mark.parametrize(
    "text", ["127.0.0.1:70000", "localhost", "", "localhost:", "localhost:-1", ":९४६४", "9464"]
)
def test_a_bad_port_says_what_to_use(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_listen(text)
    assert str(raised.value) == (
        f"{text!r} has no port from 0 to 65535: "
        "use an address such as 127.0.0.1:9464 or [::1]:9464."
    )


@pytest.mark.parametrize("text", ["::1:9464", "[::1:9464", "[localhost]:9464", "http://a:9464"])
def test_a_bad_host_says_what_to_use(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_listen(text)
    assert str(raised.value) == (
        f"{text!r} has no usable host: use an address such as 127.0.0.1:9464 or [::1]:9464."
    )


@pytest.mark.parametrize(
    "text", ["0.0.0.0:9464", "10.0.0.5:9464", "[::]:9464", "bridge:9464", "localhost.evil:9464"]
)
def test_a_public_address_needs_the_flag(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_listen(text)
    assert str(raised.value) == (
        f"{text} can be reached from other machines, and anyone there could read what the runs "
        "say: listen on 127.0.0.1:9464, ask for a token by PREFECT_OTEL_STATUS_WEB_TOKEN_FILE, "
        "or allow it with --allow-public."
    )
    assert str(parse_listen(text, allow_public=True)) == text


def test_an_address_is_asked_by_its_own_name_and_the_loopback_ones() -> None:
    assert hosts_of(Listen("10.0.0.5", 1)) == {"localhost", "127.0.0.1", "::1", "10.0.0.5"}


def test_a_port_in_use_says_so() -> None:
    with bind(Listen("127.0.0.1", 0)) as first:
        listen = Listen("127.0.0.1", first.getsockname()[1])
        with pytest.raises(ConfigurationError) as raised:
            bind(listen)
    assert str(raised.value) == (
        f"Cannot listen on {listen}: another program listens there; stop it, "
        "or choose another port."
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_says_so(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^Cannot listen on {host}:9464: .+"):
        bind(Listen(host, 9464))


async def _hello(request: Request) -> Response:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", _hello)])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_the_port_that_was_free_is_told_and_given_back(host: str) -> None:
    if host == "::1" and not _has_ipv6():
        reason = "this machine has no IPv6"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    async with serve(APP, Listen(host, 0)) as serving:
        assert serving.listen.port != 0
        async with httpx.AsyncClient() as client:
            answer = await client.get(serving.listen.url)
        assert (answer.status_code, answer.text, "server" in answer.headers) == (
            200,
            "hello",
            False,
        )
    assert serving.task.done()
    with bind(serving.listen):
        pass


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_signals_stay_the_callers() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serve(APP, Listen("127.0.0.1", 0)) as serving, httpx.AsyncClient() as client:
        await client.get(serving.listen.url)
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_request_that_goes_on_does_not_hold_up_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began = asyncio.Event()

    async def forever(request: Request) -> Response:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    app = Starlette(routes=[Route("/", forever)])
    async with httpx.AsyncClient(timeout=30) as client:
        async with serve(app, Listen("127.0.0.1", 0), stop_timeout=1) as serving:
            request = asyncio.create_task(client.get(serving.listen.url))
            await asyncio.wait_for(began.wait(), 10)
        assert (await asyncio.wait_for(request, 10)).status_code == 500
    assert caplog.messages == []


async def test_a_header_without_end_is_refused() -> None:
    async with serve(APP, Listen("127.0.0.1", 0)) as serving:
        reader, writer = await asyncio.open_connection(*serving.listen)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 20_000)
        status = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
    assert status == b"HTTP/1.1 400 Bad Request\r\n"
