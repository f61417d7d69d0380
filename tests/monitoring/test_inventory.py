"""The list of panels and queries, and queries with Grafana's variables filled in."""

from __future__ import annotations

import json

import pytest

from prefect_otel_status.monitoring.inventory import (
    EMPTY_WHEN_WELL,
    Expression,
    PanelInfo,
    concrete,
    panels,
    reason_to_be_empty,
)
from tests.monitoring.committed import PANELS

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}


def target(ref: str, text: str, **more: object) -> dict[str, object]:
    return {"refId": ref, "expr": text, "datasource": PROMETHEUS, **more}


def test_panels_are_read_with_their_queries_and_units() -> None:
    table = {
        "type": "table",
        "title": "Deployments",
        "description": "All of them.",
        "targets": [target("A", "up", instant=True), target("B", "down", instant=True)],
        "fieldConfig": {
            "defaults": {},
            "overrides": [
                {"properties": [{"id": "unit", "value": "s"}, {"id": "links", "value": []}]},
                {"properties": [{"id": "unit", "value": "short"}]},
                {"properties": [{"id": "unit", "value": "s"}]},
            ],
        },
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"renameByName": {"Value #A": "Up", "Value #B": "Down"}}},
        ],
    }
    traces = {
        "type": "traces",
        "title": "Trace",
        "targets": [{"refId": "A", "query": "x", "datasource": {"type": "jaeger"}}],
    }
    curve = {
        "type": "timeseries",
        "title": "Rate",
        "description": "Of it.",
        "targets": [target("A", "rate(x[$window])")],
        "fieldConfig": {"defaults": {"unit": "cps"}, "overrides": []},
    }
    rows = [
        {"type": "row", "title": "Open", "panels": []},
        table,
        {"type": "row", "title": "Folded", "panels": [traces]},
        curve,
    ]
    files = {
        "grafana/x.json": json.dumps({"uid": "x", "title": "X", "panels": rows}),
        "grafana/other.json": "[]",
        "prometheus/alerts.yml": "groups: []",
    }
    assert panels(files) == [
        PanelInfo(
            "x",
            "X",
            "Deployments",
            "table",
            "s, short",
            "All of them.",
            (Expression("A", "Up", "up", True), Expression("B", "Down", "down", True)),
        ),
        PanelInfo("x", "X", "Trace", "traces", "", "", ()),
        PanelInfo(
            "x",
            "X",
            "Rate",
            "timeseries",
            "cps",
            "Of it.",
            (Expression("A", "A", "rate(x[$window])", False),),
        ),
    ]


def test_variables_are_filled_in() -> None:
    text = 'x{job=~"$job", flow=~"${flow}"}[$__range:$__interval] * $__interval_ms / $__range_s'
    assert concrete(text, range="1h30m", interval="15s") == (
        'x{job=~"prefect-otel-bridge", flow=~".*"}[1h30m:15s] * 15000 / 5400'
    )
    assert (
        concrete("[$window] [$__rate_interval]", window="2d", rate_interval="75s") == "[2d] [75s]"
    )
    assert concrete('{job="$job"}', variables={"job": "mine"}) == '{job="mine"}'


def test_a_variable_that_nothing_fills_is_named() -> None:
    with pytest.raises(ValueError, match=r"^Nothing fills \$nobody in: x\[\$nobody\]$"):
        concrete("x[$nobody]")


def test_what_may_be_empty_is_there() -> None:
    keys = {panel.key for panel in PANELS}
    keys |= {f"{panel.key}/{found.name}" for panel in PANELS for found in panel.expressions}
    assert EMPTY_WHEN_WELL.keys() - keys == set()


def test_the_reason_is_of_the_panel_or_of_the_column() -> None:
    by_key = {panel.key: panel for panel in PANELS}

    def reasons(key: str) -> dict[str, str | None]:
        panel = by_key[key]
        return {found.name: reason_to_be_empty(panel, found) for found in panel.expressions}

    assert reasons("prefect-delivery/Broken now") == {"For": "no deployment's latest run failed"}
    assert reasons("prefect-statuses/Gates") == {
        "Score": None,
        "Threshold": None,
        "Passed": None,
        "Refused": "no gate ever refused a model",
    }
