"""What the bridge answers over HTTP: metrics, health, deployments and runs. Read only."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from prefect_otel_status.bridge.exposition import OPENMETRICS, TEXT
from prefect_otel_status.bridge.guard import Guard, error_response, json_response
from prefect_otel_status.bridge.health import Health, Limits, readiness
from prefect_otel_status.failure import type_name
from prefect_otel_status.web.deployment import deployment_page
from prefect_otel_status.web.runbooks import runbook

logger = logging.getLogger("prefect_otel_status.bridge")

WAITING = b"# waiting for the lease\n"
"""The metrics of a standby: none, or they would be there twice."""

_INDEX = """The bridge of prefect-otel-status.

/metrics          the metrics, for Prometheus
/healthz          200 while the process lives
/readyz           200 while it does its work, and why not
/api/deployments  the deployments and how they are
/api/runs/{id}    a flow run
/deployments      a deployment: ?flow=NAME&deployment=NAME
/runbooks/{name}  what to do about an alert
"""
_MEDIA_TYPE = "application/openmetrics-text"
_WORTH_A_THREAD = 100_000
"""Bytes that take so long to compress that the event loop should not wait."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""A page loads nothing and runs nothing; its own style stands in it."""

LinksOf = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""The addresses at which a run can be seen elsewhere, by what is there."""

Endpoint = Callable[[Request], Awaitable[Response]]


class Metrics(Protocol):
    """Gives the exposition; None while another bridge has the lease."""

    async def __call__(self, *, openmetrics: bool) -> bytes | None: ...


def make_app(
    *,
    metrics: Metrics,
    health: Callable[[], Health],
    deployments: Callable[[], Awaitable[Sequence[Any]]],
    run: Callable[[str], Awaitable[Any | None]],
    allowed_hosts: Collection[str],
    links: LinksOf = lambda run: {},
    limits: Limits | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> ASGIApp:
    """The application. Only requests whose `Host` is among ALLOWED_HOSTS are answered."""
    pages = _Pages(metrics, health, deployments, run, links, limits or Limits(), clock)
    routes = {
        "/": pages.index,
        "/metrics": pages.metrics,
        "/healthz": pages.healthz,
        "/readyz": pages.readyz,
        "/api/deployments": pages.deployments,
        "/api/runs/{id}": pages.run,
        "/deployments": pages.deployment,
        "/runbooks/{name}": pages.runbook,
    }
    app = Starlette(
        routes=[Route(path, _guarded(page), methods=["GET"]) for path, page in routes.items()],
        exception_handlers={HTTPException: _on_http_error},
    )
    app.router.redirect_slashes = False
    return Guard(app, allowed_hosts=allowed_hosts)


class _Pages:
    """One method a page."""

    def __init__(
        self,
        metrics: Metrics,
        health: Callable[[], Health],
        deployments: Callable[[], Awaitable[Sequence[Any]]],
        run: Callable[[str], Awaitable[Any | None]],
        links: LinksOf,
        limits: Limits,
        clock: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._deployments = deployments
        self._run = run
        self._links = links
        self._limits = limits
        self._clock = clock

    async def index(self, request: Request) -> Response:
        return PlainTextResponse(_INDEX)

    async def metrics(self, request: Request) -> Response:
        openmetrics = _wants_openmetrics(request)
        # A HEAD shows nothing, so it must not pass for a scrape.
        body = b"" if request.method == "HEAD" else await self._metrics(openmetrics=openmetrics)
        if body is None:
            body, openmetrics = WAITING, False  # OpenMetrics has no such comments
        headers = {"Vary": "Accept, Accept-Encoding"}
        if body and qualities(request.headers.get("accept-encoding", "")).get("gzip", 0.0) > 0:
            body = await _compressed(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers, media_type=OPENMETRICS if openmetrics else TEXT)

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        found = readiness(self._health(), limits=self._limits, now=self._clock())
        return json_response(found.report, status=200 if found.ready else 503)

    async def deployments(self, request: Request) -> Response:
        return json_response(await self._deployments())

    async def run(self, request: Request) -> Response:
        try:
            run_id = str(UUID(request.path_params["id"]))
        except ValueError:
            return error_response(400, "The id of a run is a UUID.")
        found = await self._run(run_id)
        return error_response(404, f"No run {run_id}.") if found is None else json_response(found)

    async def deployment(self, request: Request) -> Response:
        wanted = {name: request.query_params.get(name) or None for name in ("flow", "deployment")}
        found = [d for d in await self._deployments() if wanted.items() <= d.items()]
        if not found:
            return error_response(404, "No such deployment; `/api/deployments` names them.")
        run_id = found[0].get("last_run_id")
        last_run = await self._run(run_id) if run_id else None
        links = self._links(last_run) if last_run else {}
        page = deployment_page(found[0], last_run=last_run, links=links, now_ns=self._clock())
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    async def runbook(self, request: Request) -> Response:
        found = runbook(request.path_params["name"])
        if found is None:
            return error_response(404, "There is no runbook of that name.")
        return PlainTextResponse(found, media_type="text/markdown")


def qualities(header: str) -> dict[str, float]:
    """The values of HEADER, an `Accept` or its like, each with its highest weight."""
    found: dict[str, float] = {}
    for item in header.lower().split(","):
        value, *parameters = (part.strip() for part in item.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        found[value] = max(found.get(value, 0.0), _weight(weight))
    return found


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _wants_openmetrics(request: Request) -> bool:
    accepted = qualities(request.headers.get("accept", ""))
    wanted = accepted.get(_MEDIA_TYPE, 0.0)
    return wanted > 0 and wanted >= accepted.get("text/plain", 0.0)


async def _compressed(body: bytes) -> bytes:
    # Labels repeat so much that the quickest level does nearly all.
    if len(body) < _WORTH_A_THREAD:
        return gzip.compress(body, 1)
    return await asyncio.to_thread(gzip.compress, body, 1)


def _guarded(page: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await page(request)
        except Exception as error:
            # Its text may hold the address of the store, with a password.
            logger.warning("%s could not be answered: %s", request.url.path, type_name(error))
            return error_response(503, "This cannot be answered now; the bridge's log says more.")

    return answer


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = getattr(error, "headers", None)
    sentences = {404: "There is no such page; `/` names them.", 405: "Only GET and HEAD."}
    return error_response(status, sentences.get(status, "That cannot be answered."), headers)
