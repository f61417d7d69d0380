"""The page of one run: its spans on an axis of time, with what was said in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from prefect_otel_status.trees import MARKS, duration, offset
from prefect_otel_status.waterfall import Waterfall

_TICKS = 4
"""Parts that the axis is divided into."""


class Tick(NamedTuple):
    """A label below the axis, at a percentage of it."""

    at: float
    text: str
    anchor: str


def standalone_page(trace: Waterfall, *, title: str, subtitle: str = "") -> str:
    """TRACE as a page of its own, which needs nothing beside it. All text is escaped."""
    started = datetime.fromtimestamp(trace.start / 1e9, tz=timezone.utc)
    return (
        _environment()
        .get_template("trace.html")
        .render(
            title=title,
            subtitle=subtitle,
            started=f"{started:%Y-%m-%d %H:%M:%S} UTC",
            trace_id=trace.rows[0].span.trace_id,
            **drawing(trace),
        )
    )


def drawing(trace: Waterfall) -> dict[str, Any]:
    """What the template `waterfall.html` needs to draw TRACE."""
    return {
        "trace": trace,
        "ticks": list(ticks(trace)),
        "length": duration,
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


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("prefect_otel_status.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
