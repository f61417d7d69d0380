"""The templates of the pages. All text is escaped."""

from __future__ import annotations

from functools import cache, partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from prefect_otel_status.web import bars, moments

STATIC = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files that pages load, and what they are."""


def render(template: str, *, now: int, **values: Any) -> str:
    """TEMPLATE with VALUES. NOW, in nanoseconds since 1970, is what times are told against."""
    return (
        environment()
        .get_template(template)
        .render(
            ago=partial(moments.ago, now=now),
            ahead=partial(moments.ahead, now=now),
            iso=moments.iso,
            utc=moments.utc,
            length=bars.length,
            small_bars=bars.small_bars,
            chart=bars.chart,
            **values,
        )
    )


@cache
def static(name: str) -> bytes | None:
    """The file NAME of those that pages load; None where there is none."""
    if name not in STATIC:
        return None
    folder = files("prefect_otel_status.web")
    found = (folder / "static" / name).read_bytes()
    if name == "style.css":
        found += (folder / "templates" / "waterfall.css").read_bytes()
    return found


@cache
def environment() -> Environment:
    """Where templates come from, and how strict they are."""
    return Environment(
        loader=PackageLoader("prefect_otel_status.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
