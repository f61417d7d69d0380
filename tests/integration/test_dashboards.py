"""Every query of every panel, to a real Prometheus, after runs that went well and badly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prefect_otel_status.monitoring import dashboards, inventory
from prefect_otel_status.monitoring.inventory import Expression, PanelInfo
from prefect_otel_status.monitoring.links import Links
from tests.support import panels
from tests.support.panels import BUDGET, Stack, full_stack, happen
from tests.support.server import wait_for

# Starts several real processes, and runs the example half a dozen times.
pytestmark = [pytest.mark.server, pytest.mark.timeout(500)]

ASKED = [
    pytest.param(panel, expression, id=f"{panel.key}/{expression.name}")
    for panel in inventory.panels(dashboards.files(Links()))
    for expression in panel.expressions
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in which everything has happened."""
    folder = tmp_path_factory.mktemp("dashboards")
    with full_stack(folder, label_budget=BUDGET, outbox_age="2s") as running:
        happen(running)
        yield running


def test_everything_that_is_empty_when_all_is_well_is_provoked() -> None:
    assert panels.PROVOKED.keys() == inventory.EMPTY_WHEN_WELL.keys()
    steps = {*sum(map(tuple, panels.AT_ONCE), ()), *panels.AFTERWARDS}
    assert set(panels.PROVOKED.values()) <= steps, "a step that never happens"


@pytest.mark.parametrize(("panel", "expression"), ASKED)
def test_a_panel_shows_something(stack: Stack, panel: PanelInfo, expression: Expression) -> None:
    asked = stack.prometheus
    wait_for(
        lambda: panels.at_once(asked, expression.text), timeout=20, what=f"data for {panel.key}"
    )
    wait_for(
        lambda: panels.over_time(asked, expression.text), timeout=20, what=f"a curve of {panel.key}"
    )


@pytest.mark.parametrize(
    ("panel", "expression"),
    [case for case in ASKED if panels.provoked_by(*case.values)],  # type: ignore[arg-type]
)
def test_what_must_be_provoked_is_empty_while_all_is_well(
    stack: Stack, panel: PanelInfo, expression: Expression
) -> None:
    assert panels.at_once(stack.prometheus, expression.text, time=stack.well_at) == []


def test_a_curve_of_durations_leads_to_traces(stack: Stack) -> None:
    found = panels.exemplars(stack.prometheus, "cicd_pipeline_run_duration_seconds_bucket")
    assert found
    assert {len(labels.get("trace_id", "")) for labels in found} == {32}
