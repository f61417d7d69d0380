"""What the command `trace` does: one run, out of Prefect's history, for the eye or for a tool."""

from __future__ import annotations

import json
import os
import shutil
import webbrowser
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from rich.console import Console

from prefect_otel_status.bridge import otlp
from prefect_otel_status.bridge.reading import Trace
from prefect_otel_status.bridge.shown import shown
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.exporters.json_lines import to_json
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.settings import Settings
from prefect_otel_status.terminal.find import NotFound, find_last, find_run
from prefect_otel_status.terminal.prefect import prefect
from prefect_otel_status.terminal.waterfall import lines
from prefect_otel_status.trees import SpanRecord
from prefect_otel_status.waterfall import waterfall
from prefect_otel_status.web.run import standalone_page

WIDTH = 120
"""Columns where nobody says how many there are: in a pipe, in a file."""

_OPEN_FOLDER = "pages"


class TraceFormat(str, Enum):
    """How a trace is written."""

    TREE = "tree"
    JSON = "json"
    OTLP = "otlp"
    HTML = "html"


async def read_trace(settings: Settings, run: str | None, *, last: bool) -> Trace:
    """The trace of the run that RUN names or, with LAST, of the latest one of the deployment RUN.

    Raises `NotFound` for what there is not, and as `Connection` does.
    """
    async with prefect(settings) as history:
        find = find_last(history.api, run) if last else find_run(history.api, run or "")
        run_id = await find
        found = await history.traces.read(run_id)
        if found is None:
            raise NotFound(f"The server knows no run {run_id}; it may have been deleted.")
        return found


def write(
    trace: Trace,
    style: TraceFormat,
    console: Console,
    *,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Print TRACE on CONSOLE in STYLE. What is for tools is one JSON document."""
    if style is TraceFormat.TREE:
        for line in lines(waterfall(shown(trace.spans)), width=_width(console, environ)):
            console.print(line, soft_wrap=True)
        return
    text = {TraceFormat.JSON: as_json, TraceFormat.HTML: as_html}.get(style)
    console.file.write((text(trace) if text else as_otlp(trace, environ)) + "\n")


def as_json(trace: Trace) -> str:
    """TRACE as one JSON object: the run, and its spans in order of time."""
    found = {
        "run_id": trace.run.id,
        "run_name": trace.run.run_name or None,
        "flow": trace.run.flow_name or None,
        "deployment": trace.run.deployment_name or None,
        "state": trace.run.state_name or None,
        "trace_id": hex_trace_id(trace.spans[0].trace_id),
        "is_whole": trace.is_whole,
        "spans": [_span(span) for span in shown(trace.spans)],
    }
    return json.dumps(found, ensure_ascii=False, indent=2)


def as_otlp(trace: Trace, environ: Mapping[str, str]) -> str:
    """TRACE as one OTLP JSON document, which Jaeger's UI loads."""
    resource = otlp.resource_of(environ, settings_environment=None)
    bodies = [otlp.encode_span(span, resource) for span in trace.spans]
    return json.dumps(
        to_json(TracesData.FromString(otlp.request(bodies))), ensure_ascii=False, indent=2
    )


def as_html(trace: Trace) -> str:
    """TRACE as a page that needs nothing beside it."""
    run = trace.run
    return standalone_page(
        waterfall(shown(trace.spans)), title=run.run_name or run.id, subtitle=_whose(trace)
    )


def open_page(
    trace: Trace, settings: Settings, opener: Callable[[str], bool] = webbrowser.open
) -> Path | None:
    """Write TRACE as a page, and open it in the browser; where it is if there is no browser."""
    folder = settings.folder / _OPEN_FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    page = folder / f"{trace.run.id}.html"
    handle = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(as_html(trace))
    return None if opener(page.resolve().as_uri()) else page


def _whose(trace: Trace) -> str:
    run = trace.run
    return f"{run.flow_name}/{run.deployment_name}" if run.deployment_name else run.flow_name


def _width(console: Console, environ: Mapping[str, str]) -> int:
    if console.is_terminal or environ.get("COLUMNS"):
        return shutil.get_terminal_size((WIDTH, 24)).columns
    return WIDTH


def _span(span: SpanRecord) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "start": iso(span.start),
        "end": iso(span.end),
        "duration_seconds": round((span.end - span.start) / 1e9, 9),
        "result": span.result,
        "error": span.description or None,
        "attributes": dict(span.attributes),
        "events": [
            {"name": event.name, "time": iso(event.time), "attributes": dict(event.attributes)}
            for event in span.events
        ],
    }
