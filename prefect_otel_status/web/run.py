"""The page of one run: its spans on an axis of time, with what was said in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from prefect_otel_status.trees import MARKS, duration, offset
from prefect_otel_status.waterfall import Waterfall
from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.deployment import SaidIn
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.moments import utc
from prefect_otel_status.web.templating import environment, render

_TICKS = 4
"""Parts that the axis is divided into."""


@dataclass(frozen=True)
class RunHead:
    """What stands above the spans of a run. `last_status_at` is in nanoseconds, 0 for none.

    `died` says that its process was killed, and what is known of that.
    """

    id: str
    name: str
    flow: str = ""
    deployment: str = ""
    environment: str = ""
    state: str = ""
    attempts: int = 0
    last_status: str = ""
    last_status_at: int = 0
    died: str = ""
    parent_run_id: str = ""
    trace_id: str = ""


class Tick(NamedTuple):
    """A label below the axis, at a percentage of it."""

    at: float
    text: str
    anchor: str


def standalone_page(trace: Waterfall, *, title: str, subtitle: str = "") -> str:
    """TRACE as a page of its own, which needs nothing beside it. All text is escaped."""
    return (
        environment()
        .get_template("trace.html")
        .render(
            title=title,
            subtitle=subtitle,
            started=utc(trace.start),
            trace_id=trace.rows[0].span.trace_id,
            length=duration,
            **drawing(trace),
        )
    )


def run_page(
    trace: Waterfall, *, head: RunHead, links: Mapping[str, str], is_whole: bool, frame: Frame
) -> str:
    """The run of HEAD as a page of the bridge, with its TRACE.

    LINKS lead to the run elsewhere, by what they are called. IS_WHOLE is false
    where there was too much of it to read.
    """
    return render(
        "run.html",
        now=frame.now,
        frame=replace(frame, title=f"{head.name}: {trace.rows[0].result or 'running'}"),
        head=head,
        top=trace.rows[0],
        links=links,
        is_whole=is_whole,
        of_nanoseconds=duration,
        **drawing(trace),
    )


def short_page(
    run: Bar,
    *,
    flow: str,
    deployment: str,
    feed: Sequence[SaidIn],
    links: Mapping[str, str],
    frame: Frame,
) -> str:
    """What the bridge itself has kept of a run, for when Prefect's history cannot be read."""
    return render(
        "short_run.html",
        now=frame.now,
        frame=replace(frame, title=f"{run.name}: {run.result}"),
        run=run,
        flow=flow,
        deployment=deployment,
        feed=feed,
        links=links,
    )


def drawing(trace: Waterfall) -> dict[str, Any]:
    """What the template `waterfall.html` needs to draw TRACE."""
    return {
        "trace": trace,
        "ticks": list(ticks(trace)),
        "since": lambda nanoseconds: offset(nanoseconds).strip(),
        "sign": lambda result: MARKS.get(result, ("•", ""))[0],
        "percent": percent,
    }


def ticks(trace: Waterfall) -> Iterator[Tick]:
    """Where the axis of TRACE says how late it is."""
    for i in range(_TICKS + 1):
        anchor = "start" if i == 0 else "end" if i == _TICKS else "middle"
        text = "0" if i == 0 else duration(trace.duration * i // _TICKS)
        yield Tick(100 * i / _TICKS, text, anchor)


def percent(part: float, *, least: float = 0.0) -> float:
    """PART of one as a percentage, no less than LEAST."""
    return max(least, round(100 * part, 3))
