"""What is around the panels: their places, the marks of releases, links, and the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status.monitoring.dashboards import releases, uids
from prefect_otel_status.monitoring.dashboards.variables import Variable

VERSION = 1
"""Of all dashboards; raised with a release that changes them."""

_WIDTH = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True)
class Placed:
    """A panel and its size: the grid is 24 wide, and a unit of height is 30 pixels."""

    panel: Any
    width: int
    height: int


@dataclass(frozen=True)
class Row:
    """A part of a dashboard under a title. A FOLDED one asks nothing before it is opened."""

    title: str
    panels: Sequence[Placed]
    folded: bool = False


@dataclass(frozen=True)
class Frame:
    """A dashboard without its panels."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    since: str = "now-24h"
    refresh: str = "1m"


def dashboard(frame: Frame, rows: Sequence[Row]) -> model.Dashboard:
    """The dashboard of FRAME with the panels of ROWS: each row below the last, ids in order."""
    found = (
        build.Dashboard(frame.title)
        .uid(frame.uid)
        .description(frame.description)
        .version(VERSION)
        .tags([uids.TAG])
        .timezone("browser")
        .time(frame.since, "now")
        .refresh(frame.refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .variables(list(frame.variables))
        .annotations(releases.marks())
        .links([_to_the_others()])
        .build()
    )
    found.panels = list(_arranged(rows))
    return found


def _to_the_others() -> build.DashboardLink:
    return (
        build.DashboardLink("Prefect")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([uids.TAG])
        .include_vars(True)
        .keep_time(True)
    )


def _arranged(rows: Sequence[Row]) -> Iterator[model.Panel | model.RowPanel]:
    number, y = 1, 0
    for row in rows:
        head = model.RowPanel(title=row.title, collapsed=row.folded, id_val=number)
        head.grid_pos = model.GridPos(h=1, w=_WIDTH, x=0, y=y)
        inside, below = _placed(row.panels, first=number + 1, y=y + 1)
        head.panels = inside if row.folded else []
        yield head
        yield from [] if row.folded else inside
        number += 1 + len(inside)
        # A folded row is as high as its head; its panels get their places when it is opened.
        y = y + 1 if row.folded else below


def _placed(panels: Sequence[Placed], *, first: int, y: int) -> tuple[list[model.Panel], int]:
    """PANELS from left to right, in lines from Y on; and where they end."""
    found: list[model.Panel] = []
    x = height = 0
    for number, placed in enumerate(panels, start=first):
        if x + placed.width > _WIDTH:
            x, y, height = 0, y + height, 0
        panel = placed.panel.build()
        panel.id_val = number
        panel.grid_pos = model.GridPos(h=placed.height, w=placed.width, x=x, y=y)
        found.append(panel)
        x, height = x + placed.width, max(height, placed.height)
    return found, y + height


def as_text(found: model.Dashboard) -> str:
    """The dashboard as the file that Grafana reads; the same one always gives the same text."""
    plain = json.loads(JSONEncoder().encode(found))
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
