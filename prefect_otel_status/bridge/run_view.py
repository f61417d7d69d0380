"""The page of one run: read from Prefect's history when somebody looks at it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from prefect_otel_status.bridge.cards import bar_of, said_in
from prefect_otel_status.bridge.connection import (
    RequestRefused,
    ServerUnavailable,
    Unauthorized,
)
from prefect_otel_status.bridge.reading import Trace
from prefect_otel_status.bridge.recent import EndedRun
from prefect_otel_status.bridge.shown import shown
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.waterfall import waterfall
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.run import RunHead, run_page, short_page

logger = logging.getLogger("prefect_otel_status.bridge")

FRESH = 2.0
"""Seconds for which a run is not read anew: many may look at the same one."""

PATIENCE = 10.0
"""Seconds that the server has to tell of a run; a reader waits for the page."""

_KEPT = 32


class Traces(Protocol):
    """Reads a run; `reading.TraceReader` does."""

    async def read(self, run_id: str) -> Trace | None: ...


class _Read(NamedTuple):
    at: float
    trace: Trace | None


class RunView:
    """Draws runs. One is read at a time, so that a crowd of readers is no load for the server."""

    def __init__(
        self,
        traces: Traces,
        kept: Callable[[str], Awaitable[EndedRun | None]],
        *,
        links: Callable[[Mapping[str, Any]], Mapping[str, str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._traces = traces
        self._kept = kept
        self._links = links
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._read: OrderedDict[str, _Read] = OrderedDict()

    async def page(self, run_id: str, frame: Frame) -> str | None:
        """The page of the run RUN_ID, whole or, without the server, short; None without either."""
        try:
            trace = await asyncio.wait_for(self._trace(run_id), PATIENCE)
        except (ServerUnavailable, Unauthorized, RequestRefused, asyncio.TimeoutError) as error:
            logger.info("A run could not be read for its page: %s", type(error).__name__)
            return await self._short(run_id, frame)
        return self._whole(trace, frame) if trace else await self._short(run_id, frame)

    async def _trace(self, run_id: str) -> Trace | None:
        async with self._lock:
            found = self._read.get(run_id)
            if found is None or self._monotonic() - found.at > FRESH:
                found = _Read(self._monotonic(), await self._traces.read(run_id))
                self._keep(run_id, found)
            return found.trace

    def _keep(self, run_id: str, found: _Read) -> None:
        self._read[run_id] = found
        self._read.move_to_end(run_id)
        while len(self._read) > _KEPT:
            self._read.popitem(last=False)

    def _whole(self, trace: Trace, frame: Frame) -> str:
        trace_id = hex_trace_id(trace.spans[0].trace_id)
        return run_page(
            waterfall(shown(trace.spans)),
            head=_head(trace, trace_id),
            links=self._links({"id": trace.run.id, "trace_id": trace_id}),
            is_whole=trace.is_whole,
            frame=frame,
        )

    async def _short(self, run_id: str, frame: Frame) -> str | None:
        run = await self._kept(run_id)
        if run is None:
            return None
        return short_page(
            bar_of(run),
            flow=run.flow,
            deployment=run.deployment,
            feed=said_in(run),
            links=self._links({"id": run.id, "trace_id": run.trace_id}),
            frame=frame,
        )


def _head(trace: Trace, trace_id: str) -> RunHead:
    run = trace.run
    return RunHead(
        id=run.id,
        name=run.run_name or run.id,
        flow=run.flow_name,
        deployment=run.deployment_name,
        environment=run.environment,
        state=run.state_name,
        attempts=run.attempt,
        last_status=run.message,
        last_status_at=run.said_at,
        died=_death(trace),
        parent_run_id=run.seen.parent_run_id,
        trace_id=trace_id,
    )


def _death(trace: Trace) -> str:
    """What is known of the death of its process, if it died."""
    if not trace.died:
        return ""
    if trace.run.inferred:
        return (
            "Its heartbeats stopped, and nobody reported its end: its process was killed "
            "together with what watched over it. It ends here with its last sign of life."
        )
    return "Its process was killed. What it did after its last words is not known."
