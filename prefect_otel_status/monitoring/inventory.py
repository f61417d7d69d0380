"""What is on the rendered dashboards: every panel and every query, read from the files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from prefect_otel_status.monitoring.promql import JOB

_EVERYTHING = MappingProxyType({"job": JOB, "environment": ".*", "flow": ".*", "deployment": ".*"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

EMPTY_WHEN_WELL: Mapping[str, str] = MappingProxyType(
    {
        "prefect-health/Alerts that fire": "no alert fires",
        "prefect-health/Longest silence": "no run is active that has said a status",
        "prefect-health/Deployments/Silence": "no run is active that has said a status",
        "prefect-health/Deployments: time/Failures": "no run ever failed",
        "prefect-health/Failures by type of error": "no run failed within the shown time",
        "prefect-health/Silence of active runs": "no run is active that has said a status",
        "prefect-statuses/Error messages": "nobody said an error within the shown time",
        "prefect-statuses/Last words that are errors": "nobody's last words are an error",
        "prefect-statuses/Progress of what is running": "no run is active that tells its progress",
        "prefect-statuses/Silence by deployment": "no run is active that has said a status",
        "prefect-statuses/Stages/Failures": "no stage ever ended in an exception",
        "prefect-statuses/Gates/Refused": "no gate ever refused a model",
        "prefect-run/Oldest active run": "no run is active",
        "prefect-delivery/Time to restore": "nothing had to be repaired within the shown time",
        "prefect-delivery/Delivery by deployment/Time to restore": (
            "nothing had to be repaired within the shown time"
        ),
        "prefect-delivery/Broken now": "no deployment's latest run failed",
        "prefect-bridge/Events that could not be read": "every event could be read",
        "prefect-bridge/Dropped": "nothing was dropped",
        "prefect-bridge/Label values beyond their budget": "all values are within their budget",
        "prefect-bridge/Redactions": "nobody said a secret",
    }
)
"""Why a panel, or a column of a table, is empty when all is well.

By the dashboard's uid, the panel's title and, where only a column is meant, its title.
"""


@dataclass(frozen=True)
class Expression:
    """A PromQL query of a panel, still with Grafana's variables in it.

    `name` is the column that it fills, in a table; elsewhere its letter.
    """

    ref: str
    name: str
    text: str
    is_instant: bool


@dataclass(frozen=True)
class PanelInfo:
    """A panel: where it is, what it is, what it asks, and what it says of itself.

    `unit` has all units that its values are shown in, with commas between. `key`
    is as in `EMPTY_WHEN_WELL`.
    """

    uid: str
    dashboard: str
    title: str
    type: str
    unit: str
    description: str
    expressions: tuple[Expression, ...]

    @property
    def key(self) -> str:
        return f"{self.uid}/{self.title}"


def panels(files: Mapping[str, str]) -> list[PanelInfo]:
    """The panels of the dashboards among FILES, in the order of their paths and of their places."""
    return [
        _info(dashboard, panel) for dashboard in dashboards(files) for panel in panels_of(dashboard)
    ]


def dashboards(files: Mapping[str, str]) -> list[dict[str, Any]]:
    """The dashboards among FILES, decoded."""
    found = [json.loads(files[path]) for path in sorted(files) if path.endswith(".json")]
    return [content for content in found if isinstance(content, dict) and "panels" in content]


def panels_of(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels of DASHBOARD, those in folded rows too, without the rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def reason_to_be_empty(panel: PanelInfo, expression: Expression) -> str | None:
    """Why EXPRESSION of PANEL gives nothing when all is well; None where it must give something."""
    return EMPTY_WHEN_WELL.get(panel.key) or EMPTY_WHEN_WELL.get(f"{panel.key}/{expression.name}")


def concrete(
    expression: str,
    *,
    window: str = "5m",
    range: str = "1h",
    rate_interval: str = "1m",
    interval: str = "1m",
    variables: Mapping[str, str] = _EVERYTHING,
) -> str:
    """EXPRESSION with all of Grafana's variables filled in, as Prometheus would get it.

    INTERVAL is the step. Raises `ValueError` for a variable that nothing fills.
    """
    known = {
        **variables,
        "window": window,
        "__range": range,
        "__range_s": f"{_seconds(range):g}",
        "__rate_interval": rate_interval,
        "__interval": interval,
        "__interval_ms": f"{_seconds(interval) * 1_000:g}",
    }

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in known:
            raise ValueError(f"Nothing fills ${name} in: {expression}")
        return known[name]

    return _VARIABLE.sub(value, expression)


def _seconds(duration: str) -> float:
    found = re.findall(r"(\d+)(ms|[smhdw])", duration)
    return sum(int(number) * _SECONDS[unit] for number, unit in found)


def _info(dashboard: Mapping[str, Any], panel: Mapping[str, Any]) -> PanelInfo:
    return PanelInfo(
        uid=dashboard["uid"],
        dashboard=dashboard["title"],
        title=panel["title"],
        type=panel["type"],
        unit=", ".join(_units(panel)),
        description=panel.get("description", ""),
        expressions=tuple(_expressions(panel)),
    )


def _units(panel: Mapping[str, Any]) -> list[str]:
    config = panel.get("fieldConfig", {})
    default = config.get("defaults", {}).get("unit")
    own = [
        change["value"]
        for override in config.get("overrides", [])
        for change in override["properties"]
        if change["id"] == "unit"
    ]
    return list(dict.fromkeys([*([default] if default else []), *own]))


def _expressions(panel: Mapping[str, Any]) -> Iterator[Expression]:
    columns = _columns(panel)
    for target in panel.get("targets", []):
        if target["datasource"]["type"] == "prometheus":
            ref = target["refId"]
            name = columns.get(f"Value #{ref}", ref)
            yield Expression(ref, name, target["expr"], bool(target.get("instant")))


def _columns(panel: Mapping[str, Any]) -> dict[str, str]:
    """The titles of a table's columns, by the names under which the data has them."""
    steps = panel.get("transformations", [])
    return {
        name: title
        for step in steps
        for name, title in step["options"].get("renameByName", {}).items()
    }
