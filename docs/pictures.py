"""Draw the dashboards as pictures, for people who cannot start Grafana.

`python docs/pictures.py --prometheus http://127.0.0.1:9090` draws each dashboard
from its JSON in `dashboards/grafana/` and from what its queries give there.
`--demo` starts a server, the example, a bridge and Prometheus itself, which
takes some minutes. Needs Chromium. The pictures are not screenshots of Grafana.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from prefect_otel_status.monitoring import inventory  # noqa: E402  (found by the line before)

WIDTH, COLUMNS, UNIT, GAP, TITLE, HEADER = 1400, 24, 28, 8, 26, 64
"""Pixels, but for the number of columns."""

SCRAPE = 15
"""Seconds between two scrapes that the dashboards are made for: no step is shorter."""

COLORS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#96d98d")
NAMED = {
    "green": "#37872d",
    "yellow": "#b08f00",
    "orange": "#c4510b",
    "red": "#c4162a",
    "blue": "#1f60c4",
    "text": "#5a6070",
}
EMPTY = '<p class="empty">No data: nothing of the kind is there at the moment.</p>'
SAYS_SO = (
    "Drawn by docs/pictures.py from the dashboard's JSON and the answers of a real Prometheus. "
    "Not a screenshot of Grafana."
)
STYLE = """
* { box-sizing: border-box; margin: 0 }
body { background: #111217; color: #d0d3da; font: 12px "DejaVu Sans", sans-serif; width: 1400px }
header { padding: 10px 12px } h1 { font-size: 19px; color: #fff; font-weight: 600 }
header p { color: #9aa0ac; margin-top: 4px }
.panel, .row { position: absolute; overflow: hidden }
.panel { background: #181b1f; border: 1px solid #2b2f36; border-radius: 3px }
.row { font-size: 14px; color: #fff; padding: 5px 10px }
h2 { font-size: 12px; font-weight: 600; padding: 6px 8px 0; height: 26px; white-space: nowrap }
.stat { display: flex; height: 100%; align-items: center; justify-content: center; color: #fff;
  font-size: 30px; font-weight: 600 }
.empty { color: #7d828c; padding: 8px } .said { padding: 4px 10px; line-height: 1.6 }
table { border-collapse: collapse; width: 100%; font-size: 11px }
th, td { padding: 4px 6px; border-bottom: 1px solid #2b2f36; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; max-width: 250px }
th { text-align: left; color: #8ab8ff; font-weight: 600; white-space: normal; font-size: 10px;
  vertical-align: bottom }
.legend { padding: 0 8px; columns: 2; column-gap: 12px; font-size: 10px; line-height: 15px }
.legend div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.legend b { display: inline-block; width: 10px; height: 3px; margin: 0 5px 3px 0 }
svg text { fill: #9aa0ac; font: 10px "DejaVu Sans", sans-serif }
"""

Json = Mapping[str, Any]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Size:
    """Of the inside of a panel, in pixels."""

    width: float
    height: float


@dataclass(frozen=True)
class Curve:
    """A series over time and how it is called."""

    name: str
    points: Points


# --- questions -------------------------------------------------------------------
class Asked:
    """The Prometheus at ADDRESS, asked about the last MINUTES as Grafana would ask it."""

    def __init__(self, address: str, minutes: int) -> None:
        self._address = address
        self._minutes = minutes
        self.end = time.time()
        self.start = self.end - 60 * minutes

    def at_the_end(self, target: Json, panel: Json) -> list[dict[str, Any]]:
        """What TARGET of PANEL gives for the end."""
        return self._get("query", target, panel, time=self.end)

    def curves(self, target: Json, panel: Json) -> list[Curve]:
        """What TARGET of PANEL gives over time."""
        times = {"start": self.start, "end": self.end, "step": self.step(panel)}
        found = self._get("query_range", target, panel, **times)
        return [
            Curve(_called(target, series["metric"]), [(t, float(v)) for t, v in series["values"]])
            for series in found
        ]

    def step(self, panel: Json) -> int:
        """Seconds between two points of PANEL."""
        least = {"1m": 60}.get(panel.get("interval", ""), SCRAPE)
        return max(least, math.ceil((self.end - self.start) / 200))

    def _get(self, path: str, target: Json, panel: Json, **times: float) -> list[dict[str, Any]]:
        step = self.step(panel)
        query = inventory.concrete(
            target["expr"],
            window=f"{self._minutes}m",
            range=f"{self._minutes}m",
            rate_interval=f"{max(step + SCRAPE, 4 * SCRAPE)}s",
            interval=f"{step}s",
        )
        answer = httpx.post(f"{self._address}/api/v1/{path}", data={"query": query, **times})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def _called(target: Json, labels: Mapping[str, str]) -> str:
    form = target.get("legendFormat", "__auto")
    if form != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: labels.get(m[1], ""), form).strip(" /")
    return ", ".join(value for name, value in labels.items() if name != "__name__")


def _targets(panel: Json) -> list[Json]:
    """The queries of PANEL that Prometheus answers."""
    found = panel.get("targets", [])
    return [target for target in found if target["datasource"]["type"] == "prometheus"]


# --- values ----------------------------------------------------------------------
def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """VALUE with its UNIT, as Grafana names units."""
    if math.isnan(value):
        return "NaN"
    if unit == "dateTimeFromNow":
        return f"{_duration(time.time() - value / 1000)} ago"
    if unit == "s":
        return _duration(value)
    if unit == "percentunit":
        return f"{value * 100:.{decimals if decimals is not None else 1}f} %"
    return _number(value, unit, decimals)


def _number(value: float, unit: str, decimals: int | None) -> str:
    if unit == "bytes":
        return _bytes(value)
    text = f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}"
    after = {"cps": "/s", "cpm": "/min"}.get(unit, unit.removeprefix("suffix:"))
    return text if unit in ("", "short", "none") else f"{text} {after.strip()}"


def _bytes(value: float) -> str:
    for name in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024 or name == "GiB":
            break
        value /= 1024
    return f"{value:.3g} {name}"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1000:.3g} ms" if seconds else "0 s"


def color_of(value: float, config: Json) -> str:
    """The colour of VALUE by the thresholds of CONFIG."""
    found = "green"
    for step in config.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return NAMED.get(found, found)


def mapped(value: str, config: Json) -> tuple[str, str | None]:
    """VALUE as the mappings of CONFIG show it, and its colour if they say one."""
    for mapping in config.get("mappings", ()):
        found = mapping["options"].get(value)
        if found is not None:
            return found["text"], NAMED.get(found["color"], found["color"])
    return value, None


# --- kinds of panels ---------------------------------------------------------------
def draw_stat(panel: Json, asked: Asked, size: Size) -> str:
    """One number on its colour."""
    (target,) = _targets(panel)
    found = asked.at_the_end(target, panel)
    if not found:
        return EMPTY
    config = panel["fieldConfig"]["defaults"]
    value = float(found[0]["value"][1])
    text = shown(value, config.get("unit", ""), config.get("decimals"))
    color = color_of(value, config)
    if panel["options"].get("colorMode") == "none":
        color = "transparent"
    return f'<div class="stat" style="background:{color}">{escape(text)}</div>'


def draw_gauges(panel: Json, asked: Asked, size: Size) -> str:
    """A bar for each series."""
    (target,) = _targets(panel)
    config = panel["fieldConfig"]["defaults"]
    parts = []
    for series in asked.at_the_end(target, panel):
        value = float(series["value"][1])
        share = 100 * value / (config.get("max") or max(value, 1))
        text = f"{_called(target, series['metric'])}: {shown(value, config.get('unit', ''))}"
        parts.append(
            f'<div class="said">{escape(text)}<div style="height:14px;width:{share:.1f}%;'
            f'background:{color_of(value, config)}"></div></div>'
        )
    return "".join(parts) or EMPTY


def draw_text(panel: Json, asked: Asked, size: Size) -> str:
    """Its text, without the marks of Markdown and where its links lead."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", panel["options"]["content"])
    lines = re.sub(r"[*`#]", "", text).replace("\n- ", "\n\n• ").split("\n\n")
    return '<div class="said">' + "<br>".join(map(escape, lines)) + "</div>"


def draw_other(panel: Json, asked: Asked, size: Size) -> str:
    """Which data source it asks, as none but Prometheus is asked here."""
    kinds = sorted({target["datasource"]["type"] for target in panel.get("targets", [])})
    asks = " and ".join(kind.capitalize() for kind in kinds)
    return f'<p class="empty">Asks {escape(asks)}, which this picture is drawn without.</p>'


# --- tables --------------------------------------------------------------------------
def draw_table(panel: Json, asked: Asked, size: Size) -> str:
    """Its rows, with the columns and the order that it says."""
    if not _targets(panel):
        return draw_other(panel, asked, size)
    rows = _merged(panel, asked)
    if not rows:
        return EMPTY
    names = _columns(panel, rows)
    lines = [_cells(panel, names, row) for row in _sorted(panel, names, rows)]
    head = "".join(f"<th>{escape(title)}</th>" for title in names.values())
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines[: int(size.height // 23) - 1])
    return f"<table><tr>{head}</tr>{body}</table>"


def _merged(panel: Json, asked: Asked) -> list[dict[str, Any]]:
    """One row for all series that agree in the labels that they share."""
    rows: list[dict[str, Any]] = []
    for target in _targets(panel):
        before = list(rows)
        for row in _frame(target, panel, asked):
            same = [known for known in before if _agree(known, row)]
            for known in same:
                known |= row
            if not same:
                rows.append(row)
    return rows


def _frame(target: Json, panel: Json, asked: Asked) -> list[dict[str, Any]]:
    """A row for each series of TARGET, all with the same labels: what one has not is empty."""
    found = asked.at_the_end(target, panel)
    names = {name for series in found for name in series["metric"]} - {"__name__"}
    return [
        {
            **{name: series["metric"].get(name, "") for name in names},
            f"Value #{target['refId']}": float(series["value"][1]),
        }
        for series in found
    ]


def _agree(one: Json, other: Json) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _columns(panel: Json, rows: Sequence[Json]) -> dict[str, str]:
    """The titles of the columns by the names in the data, in their order."""
    options = _organized(panel)
    order, titles = options.get("indexByName", {}), options.get("renameByName", {})
    hidden = {name for name, out in options.get("excludeByName", {}).items() if out}
    if "Value" in titles:  # of a table with one query
        titles = {**titles, "Value #A": titles["Value"]}
        order = {**order, "Value #A": order.get("Value", 99)}
    found = [*dict.fromkeys([*titles, *(name for row in rows for name in row)])]
    kept = [n for n in found if n not in hidden and n != "Value" and any(n in r for r in rows)]
    return {name: titles.get(name, name) for name in sorted(kept, key=lambda n: order.get(n, 99))}


def _organized(panel: Json) -> Json:
    steps = panel.get("transformations", [])
    return next((step["options"] for step in steps if step["id"] == "organize"), {})


def _sorted(panel: Json, names: Mapping[str, str], rows: list[dict[str, Any]]) -> list[Json]:
    for by in panel.get("options", {}).get("sortBy", ()):
        name = next((n for n, title in names.items() if title == by["displayName"]), "")
        there = [row for row in rows if name in row]
        there.sort(key=lambda row: row[name], reverse=by.get("desc", False))
        rows = there + [row for row in rows if name not in row]
    return list(rows)


def _cells(panel: Json, names: Mapping[str, str], row: Json) -> Iterator[str]:
    for name, title in names.items():
        config = _config(panel, title)
        text, color = _cell(row.get(name, ""), config)
        filled = config.get("custom.cellOptions", {}).get("type") == "color-background"
        style = f' style="background:{color};color:#fff"' if filled and text and color else ""
        yield f"<td{style}>{escape(text)}</td>"


def _cell(value: Any, config: Json) -> tuple[str, str | None]:
    if isinstance(value, str):
        return mapped(value, config)
    text, color = mapped(f"{value:g}", config)
    if color is not None:
        return text, color
    return shown(value, config.get("unit", ""), config.get("decimals")), color_of(value, config)


def _config(panel: Json, title: str) -> dict[str, Any]:
    """How the column TITLE is shown: as all are, and as its own overrides say."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"] == {"id": "byName", "options": title}:
            found |= {change["id"]: change.get("value") for change in override["properties"]}
    return found


# --- curves --------------------------------------------------------------------------
LEFT, BOTTOM, TOP = 56, 18, 6
"""The room for the axes, in pixels."""

NAMES = 260
"""The room for the names of strips, in pixels."""


@dataclass(frozen=True)
class Axes:
    """Places of times and values on a chart of SIZE."""

    size: Size
    start: float
    end: float
    low: float
    high: float
    left: float = LEFT

    def x(self, at: float) -> float:
        """Where the time AT is."""
        share = (at - self.start) / (self.end - self.start)
        return self.left + share * (self.size.width - self.left - 8)

    def y(self, value: float) -> float:
        """Where VALUE is."""
        share = (value - self.low) / (self.high - self.low)
        return self.size.height - BOTTOM - share * (self.size.height - BOTTOM - TOP)


def draw_curves(panel: Json, asked: Asked, size: Size) -> str:
    """Lines, areas or bars, with axes and a legend."""
    curves = [curve for target in _targets(panel) for curve in asked.curves(target, panel)]
    if not curves:
        return EMPTY
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    is_stacked = custom.get("stacking", {}).get("mode") == "normal"
    legend = 15 * min(4, math.ceil(len(curves) / 2)) + 4
    chart = Size(size.width, size.height - legend)
    levels = _stacked(curves) if is_stacked else [(curve, {}) for curve in curves]
    axes = _axes(panel, asked, chart, levels)
    draw = _bars if custom.get("drawStyle") == "bars" else _line
    drawn = [
        draw(axes, curve, below, color, step=asked.step(panel), filled=is_stacked)
        for (curve, below), color in zip(levels, COLORS * 9, strict=False)
    ]
    return _svg(chart, [*_grid(axes, panel), *drawn]) + _legend(curves[:8], panel, legend)


def _stacked(curves: Sequence[Curve]) -> list[tuple[Curve, dict[float, float]]]:
    """Each of CURVES on top of those before it, with what is below it."""
    below: dict[float, float] = {}
    found = []
    for curve in curves:
        points = [(t, v + below.get(t, 0)) for t, v in curve.points]
        found.append((Curve(curve.name, points), dict(below)))
        below |= dict(points)
    return found


def _axes(panel: Json, asked: Asked, size: Size, levels: Sequence[tuple[Curve, Any]]) -> Axes:
    config = panel["fieldConfig"]["defaults"]
    values = [v for curve, _ in levels for _, v in curve.points if not math.isnan(v)] or [0]
    low = config.get("min", min(0, *values) if len(values) > 1 else min(0, values[0]))
    high = max(config.get("max", -math.inf), *values, low)
    if math.isclose(high, low):
        high = low + 1
    return Axes(size, asked.start, asked.end, low, _nice(high - low) * 4 + low)


def _nice(span: float) -> float:
    """A round quarter of a bit more than SPAN."""
    raw = span * 1.02 / 4
    power: float = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if m * power >= raw * 0.999)


def _grid(axes: Axes, panel: Json) -> Iterator[str]:
    config = panel["fieldConfig"]["defaults"]
    for part in range(5):
        value = axes.low + part * (axes.high - axes.low) / 4
        label = escape(shown(value, config.get("unit", ""), None))
        yield _rule(axes, value, "#2b2f36")
        yield f'<text x="{LEFT - 5}" y="{axes.y(value) + 3:.1f}" text-anchor="end">{label}</text>'
    yield from _times(axes)
    for step in config.get("thresholds", {}).get("steps", ())[1:]:
        if axes.low < step["value"] < axes.high:
            color = NAMED.get(step["color"], step["color"])
            yield _rule(axes, step["value"], color, dashes="5 4")


def _rule(axes: Axes, value: float, color: str, *, dashes: str = "none") -> str:
    y = f"{axes.y(value):.1f}"
    right = axes.size.width - 8
    return (
        f'<line x1="{LEFT}" x2="{right:.0f}" y1="{y}" y2="{y}" stroke="{color}" '
        f'stroke-dasharray="{dashes}"/>'
    )


def _times(axes: Axes) -> Iterator[str]:
    """At most six round moments."""
    each = 60 * math.ceil((axes.end - axes.start) / 360)
    for at in range(math.ceil(axes.start / each) * each, int(axes.end), each):
        label = time.strftime("%H:%M", time.gmtime(at))
        y = axes.size.height - 4
        yield f'<text x="{axes.x(at):.1f}" y="{y:.0f}" text-anchor="middle">{label}</text>'


def _line(
    axes: Axes, curve: Curve, below: Mapping[float, float], color: str, *, step: int, filled: bool
) -> str:
    parts = []
    for piece in _pieces(curve.points, step):
        there = " ".join(f"{axes.x(t):.1f},{axes.y(v):.1f}" for t, v in piece)
        if filled:
            under = [(t, below.get(t, 0.0)) for t, _ in reversed(piece)]
            back = " ".join(f"{axes.x(t):.1f},{axes.y(v):.1f}" for t, v in under)
            parts.append(f'<polygon points="{there} {back}" fill="{color}" fill-opacity="0.4"/>')
        if len(piece) == 1:
            x, y = there.split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="2" fill="{color}"/>')
        parts.append(
            f'<polyline points="{there}" fill="none" stroke="{color}" stroke-width="1.5"/>'
        )
    return "".join(parts)


def _pieces(points: Points, step: int) -> Iterator[Points]:
    """POINTS between their gaps."""
    piece: Points = []
    for at, value in points:
        if math.isnan(value) or (piece and at - piece[-1][0] > 1.5 * step):
            if piece:
                yield piece
            piece = []
        if not math.isnan(value):
            piece.append((at, value))
    if piece:
        yield piece


def _bars(
    axes: Axes, curve: Curve, below: Mapping[float, float], color: str, *, step: int, filled: bool
) -> str:
    width = max(2.0, (axes.x(axes.start + step) - axes.x(axes.start)) * 0.8)
    parts = []
    for at, value in curve.points:
        left = max(axes.left, axes.x(at) - width / 2)
        right = min(axes.x(axes.end), axes.x(at) + width / 2)
        top, bottom = axes.y(value), axes.y(below.get(at, 0.0))
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(0, bottom - top):.1f}" fill="{color}" fill-opacity="0.8"/>'
        )
    return "".join(parts)


def _svg(size: Size, parts: Sequence[str]) -> str:
    return f'<svg width="{size.width:.0f}" height="{size.height:.0f}">{"".join(parts)}</svg>'


def _legend(curves: Sequence[Curve], panel: Json, height: float) -> str:
    config = panel["fieldConfig"]["defaults"]
    lines = []
    for curve, color in zip(curves, COLORS, strict=False):
        last = shown(curve.points[-1][1], config.get("unit", ""), config.get("decimals"))
        text = escape(f"{curve.name or 'all'}: {last}")
        lines.append(f'<div><b style="background:{color}"></b>{text}</div>')
    return f'<div class="legend" style="height:{height}px">{"".join(lines)}</div>'


# --- strips and cells ------------------------------------------------------------------
def draw_strips(panel: Json, asked: Asked, size: Size) -> str:
    """A strip for each series: its states over time."""
    curves = [curve for target in _targets(panel) for curve in asked.curves(target, panel)]
    if not curves:
        return EMPTY
    axes = Axes(size, asked.start, asked.end, 0, 1, left=NAMES)
    each = min(34.0, (size.height - BOTTOM) / len(curves))
    parts = [
        _strip(axes, curve, panel, place * each, each, asked.step(panel))
        for place, curve in enumerate(curves)
    ]
    return _svg(size, [*parts, *_times(axes)])


def _strip(axes: Axes, curve: Curve, panel: Json, top: float, height: float, step: int) -> str:
    config = panel["fieldConfig"]["defaults"]
    width = axes.x(axes.start + step) - axes.x(axes.start) + 0.4
    parts = [f'<text x="6" y="{top + height / 2 + 3:.1f}">{escape(curve.name[:56])}</text>']
    for at, value in curve.points:
        _, color = mapped(f"{value:g}", config)
        parts.append(
            f'<rect x="{axes.x(at) - width:.1f}" y="{top + 3:.1f}" width="{width:.1f}" '
            f'height="{height - 6:.1f}" fill="{color or color_of(value, config)}"/>'
        )
    return "".join(parts)


def draw_cells(panel: Json, asked: Asked, size: Size) -> str:
    """A histogram over time: the darker a cell, the more."""
    (target,) = _targets(panel)
    cells = _differences(asked.curves(target, panel))
    most = max((value for _, value in cells.values()), default=0) if cells else 0
    if not most:
        return EMPTY
    bounds = sorted({bound for (_, bound) in cells if cells[_, bound][1] > 0})
    axes = Axes(size, asked.start, asked.end, 0, len(bounds))
    width = axes.x(axes.start + asked.step(panel)) - axes.x(axes.start)
    parts = [*_times(axes)]
    for (at, bound), (_, value) in cells.items():
        if value > 0:
            y = axes.y(bounds.index(bound) + 1)
            parts.append(
                f'<rect x="{axes.x(at) - width:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
                f'height="{axes.y(0) - axes.y(1) - 1:.1f}" fill="#ff9830" '
                f'fill-opacity="{0.2 + 0.8 * value / most:.2f}"/>'
            )
    for place, bound in enumerate(bounds):
        label = escape("more" if math.isinf(bound) else f"≤ {_duration(bound)}")
        y = axes.y(place + 0.5) + 3
        parts.append(f'<text x="{LEFT - 5}" y="{y:.1f}" text-anchor="end">{label}</text>')
    return _svg(size, parts)


def _differences(curves: Sequence[Curve]) -> dict[tuple[float, float], tuple[float, float]]:
    """By time and upper bound: the bound, and what is in that bucket alone."""
    found: dict[tuple[float, float], tuple[float, float]] = {}
    below: dict[float, float] = {}
    for curve in sorted(curves, key=lambda curve: float(curve.name)):
        for at, value in curve.points:
            alone = max(0.0, value - below.get(at, 0.0))
            found[at, float(curve.name)] = (float(curve.name), alone if alone > 1e-6 else 0.0)
            below[at] = value
    return found


DRAW: Mapping[str, Callable[[Json, Asked, Size], str]] = {
    "stat": draw_stat,
    "timeseries": draw_curves,
    "table": draw_table,
    "state-timeline": draw_strips,
    "heatmap": draw_cells,
    "bargauge": draw_gauges,
    "text": draw_text,
}


# --- pages -----------------------------------------------------------------------------
def page(dashboard: Json, asked: Asked) -> tuple[str, int]:
    """DASHBOARD as HTML, and how high it is in pixels."""
    parts, lowest = [], 0
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        lowest = max(lowest, place["y"] + place["h"])
        draw = _row if panel["type"] == "row" else _panel
        parts.append(draw(panel, asked))
    height = HEADER + lowest * UNIT + GAP
    since, until = (time.strftime("%H:%M", time.gmtime(t)) for t in (asked.start, asked.end))
    head = f"<h1>{escape(dashboard['title'])}</h1><p>{escape(SAYS_SO)} {since} to {until} UTC.</p>"
    body = f"<header>{head}</header>{''.join(parts)}"
    return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>{body}', height


def _row(panel: Json, asked: Asked) -> str:
    folded = " (folded)" if panel.get("collapsed") else ""
    return f'<div class="row" {_place(panel)}>▾ {escape(panel["title"])}{folded}</div>'


def _panel(panel: Json, asked: Asked) -> str:
    place = panel["gridPos"]
    size = Size(place["w"] * WIDTH / COLUMNS - GAP - 2, place["h"] * UNIT - GAP - TITLE - 2)
    inside = DRAW.get(panel["type"], draw_other)(panel, asked, size)
    height = f"height:{size.height:.0f}px"
    return (
        f'<div class="panel" {_place(panel)}><h2>{escape(panel["title"])}</h2>'
        f'<div style="{height};overflow:hidden">{inside}</div></div>'
    )


def _place(panel: Json) -> str:
    place = panel["gridPos"]
    column = WIDTH / COLUMNS
    return (
        f'style="left:{place["x"] * column + GAP / 2:.0f}px;'
        f"top:{HEADER + place['y'] * UNIT:.0f}px;width:{place['w'] * column - GAP:.0f}px;"
        f'height:{place["h"] * UNIT - GAP:.0f}px"'
    )


def photograph(text: str, height: int, picture: Path) -> None:
    """Have Chromium render the HTML TEXT, HEIGHT pixels high, as the PNG at PICTURE."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(text, encoding="utf-8")
        quiet = (
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--disable-lcd-text",
        )
        command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", *quiet]
        own = (f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{height}")
        subprocess.run(
            [*command, *own, f"--screenshot={picture}", source.as_uri()],
            check=True,
            capture_output=True,
            timeout=120,
        )
    picture.write_bytes(smaller(picture.read_bytes()))


# --- PNG -------------------------------------------------------------------------------
_SIGNATURE = 8
_RGB = 3
"""Bytes of a pixel, as Chromium writes them."""


def smaller(png: bytes) -> bytes:
    """PNG without its rows' filters: flat colours take a fifth less room that way."""
    chunks = list(_chunks(png))
    header = dict(chunks)[b"IHDR"]
    width, height, depth, kind = struct.unpack(">IIBB", header[:10])
    if (depth, kind) != (8, 2):
        return png
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    plain = b"".join(b"\0" + row for row in _rows(zlib.decompress(packed), width * _RGB, height))
    found = [(b"IHDR", header), (b"IDAT", zlib.compress(plain, 9)), (b"IEND", b"")]
    return png[:_SIGNATURE] + b"".join(_chunk(name, data) for name, data in found)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = _SIGNATURE
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _rows(raw: bytes, length: int, height: int) -> Iterator[bytes]:
    above = bytearray(length)
    for number in range(height):
        at = number * (length + 1)
        row = bytearray(raw[at + 1 : at + 1 + length])
        if raw[at]:
            guess = _GUESSES[raw[at]]
            for place in range(length):
                left = row[place - _RGB] if place >= _RGB else 0
                corner = above[place - _RGB] if place >= _RGB else 0
                row[place] = (row[place] + guess(left, above[place], corner)) & 255
        yield bytes(row)
        above = row


def _paeth(left: int, up: int, corner: int) -> int:
    """Whichever is nearest to the plane through the three, as the PNG standard has it."""
    plane = left + up - corner
    return min((left, up, corner), key=lambda value: abs(plane - value))


_GUESSES: Mapping[int, Callable[[int, int, int], int]] = {
    1: lambda left, up, corner: left,
    2: lambda left, up, corner: up,
    3: lambda left, up, corner: (left + up) // 2,
    4: _paeth,
}


# --- the program -----------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> int:
    """Draw all dashboards; returns the exit code."""
    options = _options(arguments)
    with _demo(options.minutes) if options.demo else _given(options.prometheus) as address:
        for path in sorted(options.dashboards.glob("*.json")):
            asked = Asked(address, options.minutes)
            text, height = page(json.loads(path.read_text(encoding="utf-8")), asked)
            picture = options.to / f"{path.stem}.png"
            options.to.mkdir(parents=True, exist_ok=True)
            photograph(text, height, picture.resolve())
            print(f"{picture}: {picture.stat().st_size // 1000} kB, {WIDTH} x {height}")
    return 0


@contextmanager
def _given(address: str) -> Iterator[str]:
    yield address


@contextmanager
def _demo(minutes: int) -> Iterator[str]:
    """The stack of the dashboards' test, once its runs have filled MINUTES; its Prometheus."""
    from tests.support.panels import full_stack, keep_running

    with tempfile.TemporaryDirectory() as folder, full_stack(Path(folder)) as stack:
        keep_running(stack, seconds=60 * minutes)
        yield stack.prometheus.address


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--prometheus", help="the address of a Prometheus that scrapes a bridge")
    where.add_argument("--demo", action="store_true", help="start everything that is needed")
    option = parser.add_argument
    option("--minutes", type=int, default=12, help="as many of the last minutes are drawn")
    option("--dashboards", type=Path, default=ROOT / "dashboards" / "grafana")
    option("--to", type=Path, default=ROOT / "docs" / "pictures", help="the folder for the PNGs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
