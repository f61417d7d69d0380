"""The HTTP surface: what is answered, to whom, and in which form."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_otel_status.bridge.health import Check, Health
from prefect_otel_status.bridge.http import make_app, qualities

RUN = "0195f2c1-0000-7000-8000-000000000001"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


AT = "1969-12-31T23:56:41Z"
DEPLOYMENT = {
    **{"flow": "deploy", "deployment": "prod", "environment": "live", "health": "failing"},
    **{"model": "bert", "version": "3", "active_runs": 1, "expected_interval_seconds": None},
    **{"last_status": "Rolled back", "last_status_at": AT, "last_status_stage": "rollback"},
    **{"last_status_level": "error", "last_result": "failure", "last_run_id": RUN},
    **{"last_ended_at": AT, "last_success_at": None},
}
LAST_RUN = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "last_status": "Rolled back"}


class Bridge:
    """What stands behind the pages; its parts can be broken."""

    def __init__(self) -> None:
        self.body: bytes | None = b"x" * 200
        self.asked: list[bool] = []
        self.health = Health(holds_lease=True)
        self.broken = False

    async def metrics(self, *, openmetrics: bool) -> bytes | None:
        self._check()
        self.asked.append(openmetrics)
        return self.body

    async def deployments(self) -> list[dict[str, Any]]:
        self._check()
        return [DEPLOYMENT]

    async def run(self, run_id: str) -> dict[str, Any] | None:
        self._check()
        return {"id": run_id, **LAST_RUN} if run_id == RUN else None

    def _check(self) -> None:
        if self.broken:
            raise ConnectionError("postgresql://bridge:secret@db/bridge is gone")


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
async def client(bridge: Bridge) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(
        metrics=bridge.metrics,
        health=lambda: bridge.health,
        deployments=bridge.deployments,
        run=bridge.run,
        allowed_hosts=["localhost", "::1", "Bridge.example"],
        clock=lambda: 10**9,
    )
    transport = httpx.ASGITransport(app)
    headers = {"Accept-Encoding": "identity"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost:9464", headers=headers
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.5", False),
        ("application/openmetrics-text;q=high", False),
    ],
)
async def test_metrics_come_in_the_form_that_is_wanted(
    client: httpx.AsyncClient, bridge: Bridge, accept: str, openmetrics: bool
) -> None:
    answer = await client.get("/metrics", headers={"Accept": accept})
    assert (answer.status_code, answer.content, bridge.asked) == (200, b"x" * 200, [openmetrics])
    assert dict(answer.headers) == {
        "vary": "Accept, Accept-Encoding",
        "content-length": "200",
        "content-type": OPENMETRICS if openmetrics else TEXT,
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }


@pytest.mark.parametrize("size", [200, 300_000])
async def test_metrics_are_compressed_where_that_is_wanted(
    client: httpx.AsyncClient, bridge: Bridge, size: int
) -> None:
    bridge.body = b"x" * size
    async with client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert (answer.headers["content-encoding"], gzip.decompress(raw)) == ("gzip", bridge.body)
    refused = await client.get("/metrics", headers={"Accept-Encoding": "gzip;q=0, br"})
    assert ("content-encoding" in refused.headers, refused.content) == (False, bridge.body)


async def test_a_head_shows_nothing_and_is_no_scrape(
    client: httpx.AsyncClient, bridge: Bridge
) -> None:
    answer = await client.head("/metrics", headers={"Accept": PROMETHEUS})
    assert (answer.status_code, answer.content, bridge.asked) == (200, b"", [])
    assert answer.headers["content-type"] == OPENMETRICS


async def test_a_standby_has_no_metrics_and_says_why(
    client: httpx.AsyncClient, bridge: Bridge
) -> None:
    bridge.body = None
    answer = await client.get("/metrics", headers={"Accept": PROMETHEUS})
    assert (answer.status_code, answer.text) == (200, "# waiting for the lease\n")
    assert answer.headers["content-type"] == TEXT


async def test_health_and_readiness(client: httpx.AsyncClient, bridge: Bridge) -> None:
    alive = await client.get("/healthz")
    assert (alive.status_code, alive.text) == (200, "ok\n")
    not_yet = await client.get("/readyz")
    assert (not_yet.status_code, not_yet.json()["ready"]) == (503, False)
    assert not_yet.json()["sweep"] == {
        "ok": False,
        "age_seconds": None,
        "sentence": "No sweep has succeeded yet.",
    }
    bridge.health = Health(*[Check(10**9)] * 3, holds_lease=True)
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    bridge.health = Health()
    standby = await client.get("/readyz")
    assert (standby.status_code, standby.json()["lease"]) == (200, "waiting")


async def test_deployments_and_runs(client: httpx.AsyncClient) -> None:
    deployments = await client.get("/api/deployments")
    assert deployments.json() == [DEPLOYMENT]
    assert deployments.headers["content-type"] == "application/json"
    for written in (RUN, RUN.upper(), RUN.replace("-", "")):
        assert (await client.get(f"/api/runs/{written}")).json() == {"id": RUN, **LAST_RUN}


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", f"/api/runs/{RUN[:-1]}2", 404, f"No run {RUN[:-1]}2."),
        ("GET", "/api/runs/1;drop", 400, "The id of a run is a UUID."),
        ("GET", "/api/runs/", 404, "There is no such page; `/help` names them."),
        ("GET", "/metrics/", 404, "There is no such page; `/help` names them."),
        ("GET", "/nothing", 404, "There is no such page; `/help` names them."),
        ("POST", "/metrics", 405, "Only GET and HEAD."),
        ("DELETE", f"/api/runs/{RUN}", 405, "Only GET and HEAD."),
        ("OPTIONS", "/", 405, "Only GET and HEAD."),
    ],
)
async def test_what_cannot_be_answered_is_said_as_json(
    client: httpx.AsyncClient, method: str, path: str, status: int, sentence: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (status, {"error": sentence})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/metrics", "/api/deployments", f"/api/runs/{RUN}"])
async def test_a_failure_is_answered_and_logged_without_its_text(
    client: httpx.AsyncClient, bridge: Bridge, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.broken = True
    with caplog.at_level(logging.WARNING, "prefect_otel_status.bridge"):
        answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (
        503,
        {"error": "This cannot be answered now; the bridge's log says more."},
    )
    assert caplog.messages == [f"{path} could not be answered: ConnectionError"]
    bridge.broken = False
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:9464", 200),
        ("[::1]", 200),
        ("bridge.EXAMPLE:9464", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("bridge.example.", 421),
        ("127.0.0.1:9464", 421),
        ("*", 421),
        ("", 400),
        ("localhost:port", 400),
        ("user@localhost", 400),
        ("::1", 400),
    ],
)
async def test_only_known_hosts_are_answered(
    client: httpx.AsyncClient, host: str, status: int
) -> None:
    answer = await client.get("/api/deployments", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert list(answer.json()) == ["error"]
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_every_host_can_be_allowed_and_two_never_are(bridge: Bridge) -> None:
    app = make_app(
        metrics=bridge.metrics,
        health=lambda: bridge.health,
        deployments=bridge.deployments,
        run=bridge.run,
        allowed_hosts="*",
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://anything.example"
    ) as client:
        assert (await client.get("/healthz")).status_code == 200
        two = [("Host", "a.example"), ("Host", "b.example")]
        assert (await client.get("/healthz", headers=two)).status_code == 400


async def test_the_index_is_text_where_there_are_no_pages(client: httpx.AsyncClient) -> None:
    index = await client.get("/", headers={"Accept": "text/html"})
    assert index.headers["content-type"] == "text/plain; charset=utf-8"
    assert index.text == (await client.get("/help")).text
    assert "/metrics          the metrics, for Prometheus\n" in index.text
    assert (await client.get("/deployments")).status_code == 404


TOKEN = "0123456789abcdef"
BASIC = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (f"Basic {BASIC}", 200),
        ("", 401),
        (f"Bearer {TOKEN}0", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Token {TOKEN}", 401),
        (TOKEN, 401),
        ("Basic nonsense!", 401),
        ("Basic " + base64.b64encode(TOKEN.encode()).decode(), 401),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), 401),
    ],
)
async def test_with_a_token_only_who_has_it_is_answered(
    bridge: Bridge, authorization: str, status: int
) -> None:
    app = make_app(
        metrics=bridge.metrics,
        health=lambda: bridge.health,
        deployments=bridge.deployments,
        run=bridge.run,
        allowed_hosts=["localhost"],
        token=TOKEN,
    )
    headers = {"Authorization": authorization} if authorization else {}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
    ) as client:
        for path in ("/metrics", "/api/deployments", "/", "/help", "/nothing"):
            answer = await client.get(path)
            assert (answer.status_code == 401) == (status == 401), path
            assert ("www-authenticate" in answer.headers) == (status == 401)
            assert TOKEN not in answer.text
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code in (200, 503)


async def test_a_runbook_is_the_page_of_the_docs(client: httpx.AsyncClient) -> None:
    answer = await client.get("/runbooks/DeploymentFailing")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    page = Path(__file__).parents[2] / "docs" / "runbooks" / "DeploymentFailing.md"
    assert answer.text == page.read_text(encoding="utf-8")
    for name in ("Nothing", "deployment", "..%2FREADME", "%2e%2e%2fsignals"):
        assert (await client.get(f"/runbooks/{name}")).status_code == 404


def test_qualities_are_the_highest_of_each_value() -> None:
    assert qualities("gzip, br;q=0.5 , br;q=0.7;x=y, *;q=nonsense") == {
        "gzip": 1.0,
        "br": 0.7,
        "*": 0.0,
    }
    assert json.dumps(qualities("")) == '{"": 1.0}'
