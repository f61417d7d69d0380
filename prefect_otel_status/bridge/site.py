"""The pages for people: what is read for each, and what stands around it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from prefect_otel_status.bridge.cards import Look
from prefect_otel_status.bridge.catalogue import Key
from prefect_otel_status.bridge.guard import error_response
from prefect_otel_status.bridge.health import Health, Limits, readiness
from prefect_otel_status.web.deployment import deployment_page
from prefect_otel_status.web.error import error_page
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import Card, Query, overview_page
from prefect_otel_status.web.templating import STATIC, static

CLOSES = {"Connection": "close"}
"""A browser keeps connections open for a minute; with many of them a scrape would find none."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept",
    **CLOSES,
}
"""A page loads what comes from here, and nothing of others. It runs no inline script."""

LinksOf = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""The addresses at which a run can be seen elsewhere, by what is there."""


class Source(Protocol):
    """What pages are made from."""

    async def cards(self) -> Sequence[Card]: ...

    async def look(self, key: Key) -> Look | None: ...

    async def run_page(self, run_id: str, frame: Frame) -> str | None: ...

    def health(self) -> Health: ...


class Site:
    """One method a page. Answers a browser with HTML."""

    def __init__(
        self,
        source: Source,
        *,
        links: LinksOf = lambda run: {},
        server: Callable[[], str] = lambda: "",
        limits: Limits | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source = source
        self._links = links
        self._server = server
        self._limits = limits or Limits()
        self._clock = clock

    def routes(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """The pages below the overview, by their paths."""
        return {
            "/deployments": self.deployment,
            "/runs/{id}": self.run,
            "/static/{name}": self.static,
        }

    async def overview(self, request: Request) -> Response:
        """All deployments, as the address asks for them."""
        cards = await self._source.cards()
        return _page(overview_page(cards, Query.of(request.query_params), self._frame()))

    async def deployment(self, request: Request) -> Response:
        """The deployment that the address names by `flow` and `deployment`."""
        wanted = request.query_params
        key = (wanted.get("flow") or "", wanted.get("deployment") or "")
        found = await self._source.look(key)
        if found is None:
            name = "/".join(filter(None, key)) or "without a name"
            return self._refused(
                request, 404, f"There is no deployment {name} here: it may not have run yet."
            )
        links = self._links(found.last_run) if found.last_run else {}
        page = deployment_page(found.card, found.past, found.feed, links=links, frame=self._frame())
        return _page(page)

    async def run(self, request: Request) -> Response:
        """The run whose id is in the address."""
        try:
            run_id = str(UUID(request.path_params["id"]))
        except ValueError:
            return self._refused(request, 400, "The id of a run is a UUID, as Prefect shows it.")
        found = await self._source.run_page(run_id, self._frame())
        if found is None:
            sentence = f"Neither Prefect nor the bridge knows a run {run_id}."
            return self._refused(request, 404, sentence)
        return _page(found)

    async def static(self, request: Request) -> Response:
        """A file that pages load."""
        name = request.path_params["name"]
        found = static(name)
        if found is None:
            return error_response(404, "There is no such file.")
        return Response(found, headers=CLOSES, media_type=STATIC[name])

    def error(self, status: int, sentence: str) -> Response:
        """A page that says what is wrong."""
        return _page(error_page(status, sentence, self._frame()), status)

    def _refused(self, request: Request, status: int, sentence: str) -> Response:
        if wants_html(request):
            return self.error(status, sentence)
        return error_response(status, sentence)

    def _frame(self) -> Frame:
        frame = Frame(now=self._clock(), server=self._server())
        return replace(frame, trouble=trouble(self._source.health(), self._limits, frame.now))


def trouble(health: Health, limits: Limits, now: int) -> str:
    """What a reader must know before they believe a page; empty where all is well."""
    if not health.holds_lease:
        return (
            "This bridge waits: another one works on the same store, and what is shown here "
            "is as that one last wrote it."
        )
    if not health.sweep.succeeded and not health.sweep.trouble:
        return ""  # it has only just begun
    report = readiness(health, limits=limits, now=now).report
    wrong = [report[part]["sentence"] for part in ("sweep", "commit") if not report[part]["ok"]]
    if not wrong:
        return ""
    return " ".join(["What is shown may be old.", *wrong, "Is Prefect's server up? See /readyz."])


def wants_html(request: Request) -> bool:
    """Whether a browser asks; `curl` and scripts get what they got before."""
    return "text/html" in request.headers.get("accept", "")


def either(page: Callable[[Request], Awaitable[Response]], text: str) -> Any:
    """PAGE for a browser, TEXT for anybody else."""

    async def answer(request: Request) -> Response:
        if wants_html(request):
            return await page(request)
        return PlainTextResponse(text, headers={"Vary": "Accept"})

    return answer


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=HEADERS)
