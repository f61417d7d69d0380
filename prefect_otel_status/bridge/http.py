"""What the bridge answers over HTTP: metrics, health, JSON, and pages for people. Read only."""

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
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from prefect_otel_status.bridge.exposition import OPENMETRICS, TEXT
from prefect_otel_status.bridge.guard import Guard, error_response, json_response
from prefect_otel_status.bridge.health import Health, Limits, readiness
from prefect_otel_status.bridge.site import Site, either, wants_html
from prefect_otel_status.failure import type_name
from prefect_otel_status.web.runbooks import runbook

logger = logging.getLogger("prefect_otel_status.bridge")

WAITING = b"# waiting for the lease\n"
"""The metrics of a standby: none, or they would be there twice."""

_INDEX = """The bridge of prefect-otel-status.

/                 the deployments, for a browser
/deployments      a deployment: ?flow=NAME&deployment=NAME
/runs/{id}        a flow run, with what happened when
/runbooks/{name}  what to do about an alert
/metrics          the metrics, for Prometheus
/healthz          200 while the process lives
/readyz           200 while it does its work, and why not
/api/deployments  the deployments and how they are, as JSON
/api/runs/{id}    a flow run, as JSON
/live             server-sent events: something changed
"""
_MEDIA_TYPE = "application/openmetrics-text"
_WORTH_A_THREAD = 100_000
"""Bytes that take so long to compress that the event loop should not wait."""

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
    site: Site | None = None,
    live: Endpoint | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> ASGIApp:
    """The application. Only requests whose `Host` is among ALLOWED_HOSTS are answered.

    SITE has the pages for people, LIVE tells these of changes; without them there
    are none. With TOKEN only who has it is answered, but for whether it is well.
    """
    pages = _Pages(metrics, health, deployments, run, limits or Limits(), clock)
    routes: dict[str, Endpoint] = {
        "/": either(site.overview, _INDEX) if site else pages.index,
        "/help": pages.index,
        "/metrics": pages.metrics,
        "/healthz": pages.healthz,
        "/readyz": pages.readyz,
        "/api/deployments": pages.deployments,
        "/api/runs/{id}": pages.run,
        "/runbooks/{name}": pages.runbook,
        **(site.routes() if site else {}),
        **({"/live": live} if live else {}),
    }
    refuse = _Refuse(site)
    app = Starlette(
        routes=[
            Route(path, _guarded(page, refuse), methods=["GET"]) for path, page in routes.items()
        ],
        exception_handlers={HTTPException: refuse.on_error},
    )
    app.router.redirect_slashes = False
    return Guard(app, allowed_hosts=allowed_hosts, token=token)


class _Pages:
    """One method a page."""

    def __init__(
        self,
        metrics: Metrics,
        health: Callable[[], Health],
        deployments: Callable[[], Awaitable[Sequence[Any]]],
        run: Callable[[str], Awaitable[Any | None]],
        limits: Limits,
        clock: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._deployments = deployments
        self._run = run
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


class _Refuse:
    """Errors: a page for a browser, JSON for anybody else."""

    def __init__(self, site: Site | None) -> None:
        self._site = site

    def __call__(
        self,
        request: Request,
        status: int,
        sentence: str,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        if self._site is None or not wants_html(request):
            return error_response(status, sentence, headers)
        answer = self._site.error(status, sentence)
        answer.headers.update(headers or {})
        return answer

    async def on_error(self, request: Request, error: Exception) -> Response:
        """The answer to what no page is for."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        sentences = {404: "There is no such page; `/help` names them.", 405: "Only GET and HEAD."}
        sentence = sentences.get(status, "That cannot be answered.")
        return self(request, status, sentence, getattr(error, "headers", None))


def _guarded(page: Endpoint, refuse: _Refuse) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await page(request)
        except Exception as error:
            # Its text may hold the address of the store, with a password.
            logger.warning("%s could not be answered: %s", request.url.path, type_name(error))
            sentence = "This cannot be answered now; the bridge's log says more."
            return refuse(request, 503, sentence)

    return answer
