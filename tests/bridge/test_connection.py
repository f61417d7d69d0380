"""Requests to a server: patient, bounded, with credentials that may rotate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest

from prefect_otel_status.bridge.connection import (
    Connection,
    RequestRefused,
    ServerUnavailable,
    Unauthorized,
)
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.settings import ConfigurationError
from tests.support.records import NOW
from tests.support.server import free_port, prefect_server

API = "http://prefect.example:4200/api"
SERVER = PrefectServer(API, headers=(("authorization", "Bearer hush"),))
AUTH = "admin:pass word"

Handler = Callable[[httpx.Request], httpx.Response]


class Script:
    """A server that gives the answers of a list, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.asked: list[httpx.Request] = []
        self.waits: list[float] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def connection(self, server: PrefectServer = SERVER, **options: Any) -> Connection:
        usual: dict[str, Any] = {"clock": lambda: NOW, "random": lambda: 0.0, "sleep": self.sleep}
        transport = httpx.MockTransport(self)
        return Connection(lambda: server, transport=transport, **{**usual, **options})


def answer(status: int, text: str = "[]", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, text=text, headers=named)


async def test_asks_below_the_address_with_the_servers_headers() -> None:
    script = Script(answer(200, "[1]"), answer(200, "[2]"))
    connection = script.connection()
    assert await connection.post("flow_runs/filter", {"limit": 1}) == b"[1]"
    assert await connection.get("states/", {"run": "a b"}) == b"[2]"
    first, second = script.asked
    assert (first.method, str(first.url)) == ("POST", f"{API}/flow_runs/filter")
    assert (first.content, first.headers["content-type"]) == (b'{"limit":1}', "application/json")
    assert first.headers["authorization"] == "Bearer hush"
    assert (second.method, str(second.url)) == ("GET", f"{API}/states/?run=a+b")
    assert connection.requests == 2
    await connection.close()


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
@pytest.mark.fault(20)
async def test_waits_as_long_as_a_busy_server_asks_for(status: int) -> None:
    # NOW is 22:13:20 that day.
    date = "Tue, 14 Nov 2023 22:13:27 GMT"
    script = Script(
        answer(status, Retry_After="3"),
        answer(status, Retry_After=date),
        answer(status, Retry_After="86400"),
        answer(status, Retry_After="soon"),
        answer(200, "done"),
    )
    assert await script.connection().get("x") == b"done"
    assert script.waits == [3.0, 7.0, 60.0, 4.0]


async def test_waits_a_little_longer_by_chance_and_never_shorter() -> None:
    script = Script(answer(429, Retry_After="10"), answer(429, Retry_After="-1"), answer(200))
    await script.connection(random=lambda: 1.0).get("x")
    assert script.waits == [11.0, 0.0]


async def test_gives_up_on_a_server_that_stays_busy() -> None:
    script = Script(*[answer(429, Retry_After="nan") for _ in range(5)])
    with pytest.raises(ServerUnavailable) as caught:
        await script.connection().get("x")
    assert str(caught.value) == (
        "Prefect's server at http://prefect.example:4200 is too busy: it answered 429 to 5 tries."
    )
    assert script.waits == [0.5, 1.0, 2.0, 4.0]


async def test_asks_once_more_where_an_idle_connection_was_closed() -> None:
    script = Script(httpx.RemoteProtocolError("closed"), answer(200, "well"))
    connection = script.connection()
    assert await connection.get("x") == b"well"
    assert connection.requests == 2


@pytest.mark.parametrize(
    ("errors", "why"),
    [
        ([httpx.ConnectError("All connection attempts failed")], "All connection attempts failed"),
        ([httpx.ConnectTimeout("hush")], "ConnectTimeout"),
        ([httpx.ReadError("hush"), httpx.ReadError("hush")], "ReadError"),
        ([httpx.LocalProtocolError("Illegal header value b'hush'")], "LocalProtocolError"),
    ],
)
async def test_says_that_a_server_cannot_be_reached(errors: list[Exception], why: str) -> None:
    with pytest.raises(ServerUnavailable) as caught:
        await Script(*errors).connection().get("x")
    assert str(caught.value) == (
        f"Prefect's server at http://prefect.example:4200 cannot be reached: {why}."
    )
    assert caught.value.__suppress_context__


async def test_nobody_listens() -> None:
    connection = Connection(lambda: PrefectServer(f"http://127.0.0.1:{free_port()}/api"))
    with pytest.raises(ServerUnavailable, match="cannot be reached"):
        await connection.get("health")
    await connection.close()


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.fault(19)
async def test_names_the_settings_where_credentials_are_refused(status: int) -> None:
    script = Script(answer(status, "hush"))
    with pytest.raises(Unauthorized) as caught:
        await script.connection().get("x")
    assert str(caught.value) == (
        f"Prefect's server at http://prefect.example:4200 refuses the request ({status}): "
        "set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud, to what it accepts."
    )
    assert len(script.asked) == 1


@pytest.mark.fault(19)
async def test_takes_rotated_credentials_without_a_restart() -> None:
    servers = [SERVER, replace(SERVER, headers=(("authorization", "Bearer new"),))]
    script = Script(answer(401), answer(200, "in"), answer(200, "in again"))
    connection = Connection(lambda: servers.pop(0), transport=httpx.MockTransport(script))
    assert [await connection.get("x"), await connection.get("x")] == [b"in", b"in again"]
    sent = [request.headers["authorization"] for request in script.asked]
    assert sent == ["Bearer hush", "Bearer new", "Bearer new"]


async def test_stays_unauthorized_where_the_settings_are_gone() -> None:
    servers = [SERVER]

    def factory() -> PrefectServer:
        if not servers:
            raise ConfigurationError("gone")
        return servers.pop()

    connection = Connection(factory, transport=httpx.MockTransport(Script(answer(401))))
    with pytest.raises(Unauthorized):
        await connection.get("x")


async def test_follows_no_redirect() -> None:
    script = Script(answer(307, location="http://evil.example/api/x"))
    with pytest.raises(RequestRefused, match=r"answered 307 to x\. Is PREFECT_API_URL right\?"):
        await script.connection().get("x")
    assert [request.url.host for request in script.asked] == ["prefect.example"]


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (422, RequestRefused, "answered 422 to x."),
        (404, RequestRefused, "answered 404 to x. Is PREFECT_API_URL right?"),
        (500, ServerUnavailable, "failed: it answered 500 to x."),
    ],
)
async def test_other_answers(status: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        await Script(answer(status, "hush")).connection().get("x")
    assert str(caught.value).endswith(message)
    assert "hush" not in str(caught.value)


async def test_reads_no_more_than_it_can_hold() -> None:
    script = Script(answer(200, "x" * 100), answer(200, "x" * 101))
    connection = script.connection(largest_answer=100)
    assert len(await connection.get("x")) == 100
    with pytest.raises(RequestRefused, match="larger than 100 bytes"):
        await connection.get("x")


def csrf_server(tokens: list[str], *, lives: str = "2026-01-01T00:00:00Z") -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("csrf-token"):
            return answer(
                200, msgspec.json.encode({"token": tokens[0], "expiration": lives}).decode()
            )
        good = request.headers.get("prefect-csrf-token") == tokens[0]
        assert request.headers["prefect-csrf-client"]
        return (
            answer(200, "in") if good else answer(403, "Invalid CSRF token or client identifier.")
        )

    return handle


async def test_fetches_a_token_once_and_again_where_it_is_refused() -> None:
    tokens = ["first"]
    connection = Connection(
        lambda: replace(SERVER, csrf=True),
        transport=httpx.MockTransport(csrf_server(tokens)),
        clock=lambda: NOW,
    )
    assert [await connection.post("x", {}) for _ in range(2)] == [b"in", b"in"]
    assert connection.requests == 3
    tokens[0] = "second"
    assert await connection.post("x", {}) == b"in"
    assert connection.requests == 6


async def test_fetches_a_new_token_when_the_old_one_is_spent() -> None:
    now = NOW
    connection = Connection(
        lambda: replace(SERVER, csrf=True),
        transport=httpx.MockTransport(csrf_server(["t"], lives="2023-11-14T23:13:20Z")),
        clock=lambda: now,
    )
    await connection.post("x", {})
    assert connection.requests == 2
    now += 3600 * 10**9
    await connection.post("x", {})
    assert connection.requests == 4


@pytest.mark.parametrize("status", [404, 422])
async def test_sends_no_token_where_the_server_wants_none(status: int) -> None:
    script = Script(answer(status, "CSRF protection is disabled."), answer(200), answer(200))
    connection = script.connection(replace(SERVER, csrf=True))
    await connection.post("x", {})
    await connection.post("x", {})
    assert len(script.asked) == 3
    assert "prefect-csrf-token" not in script.asked[1].headers


async def test_begins_to_send_tokens_when_the_server_begins_to_want_them() -> None:
    token = '{"token": "t", "expiration": "2026-01-01T00:00:00Z"}'
    missing = answer(403, '{"detail": "Missing CSRF token."}')
    script = Script(answer(422), answer(200), missing, answer(200, token), answer(200, "in"))
    connection = script.connection(replace(SERVER, csrf=True))
    await connection.post("x", {})
    assert await connection.post("x", {}) == b"in"
    assert script.asked[-1].headers["prefect-csrf-token"] == "t"


async def test_says_that_the_server_wants_tokens() -> None:
    script = Script(answer(403, '{"detail": "Missing CSRF token."}'))
    with pytest.raises(Unauthorized, match="set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true"):
        await script.connection().post("x", {})


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_no_token_can_be_had_now(status: int) -> None:
    script = Script(answer(status))
    with pytest.raises(ServerUnavailable):
        await script.connection(replace(SERVER, csrf=True)).post("x", {})


async def test_a_token_that_is_none() -> None:
    script = Script(answer(200, "<html>"))
    with pytest.raises(ServerUnavailable, match="not Prefect's API"):
        await script.connection(replace(SERVER, csrf=True)).post("x", {})


@pytest.fixture(scope="module")
def guarded_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server that wants a password and CSRF tokens."""
    home = tmp_path_factory.mktemp("guarded")
    guards = {
        "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    }
    with prefect_server(home, **guards) as address:
        yield address


def settings(monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.server
async def test_a_real_server(prefect_api: str) -> None:
    connection = Connection(lambda: PrefectServer(prefect_api, csrf=True))
    assert (await connection.get("admin/version")).startswith(b'"3.')
    assert await connection.post("work_pools/filter", {"limit": 0}) == b"[]"
    assert connection.requests == 3
    await connection.close()


@pytest.mark.server
@pytest.mark.fault(20)
async def test_a_real_server_with_password_and_tokens(
    guarded_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect_otel_status.bridge.server import from_prefect_settings

    settings(monkeypatch, PREFECT_API_URL=guarded_api, PREFECT_API_AUTH_STRING="admin:wrong")
    connection = Connection(from_prefect_settings)
    with pytest.raises(Unauthorized, match="PREFECT_API_AUTH_STRING"):
        await connection.post("flow_runs/filter", {})
    settings(monkeypatch, PREFECT_API_AUTH_STRING=AUTH)
    assert await connection.post("flow_runs/filter", {}) == b"[]"
    connection._csrf.token = "stale"
    assert await connection.post("flow_runs/filter", {}) == b"[]"
    await connection.close()


@pytest.mark.server
async def test_a_real_server_that_wants_tokens_of_a_client_without(
    guarded_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect_otel_status.bridge.server import from_prefect_settings

    settings(
        monkeypatch,
        PREFECT_API_URL=guarded_api,
        PREFECT_API_AUTH_STRING=AUTH,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED="false",
    )
    connection = Connection(from_prefect_settings)
    with pytest.raises(Unauthorized, match="PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"):
        await connection.post("flow_runs/filter", {})
    await connection.close()
