"""The dashboards as they are committed, and what it takes to render them anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_otel_status.monitoring import inventory
from prefect_otel_status.monitoring.inventory import PanelInfo

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"

FILES = {
    path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((FOLDER / "grafana").glob("*.json"))
}
DASHBOARDS: list[dict[str, Any]] = inventory.dashboards(FILES)
PANELS: list[PanelInfo] = inventory.panels(FILES)

renders = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="grafana-foundation-sdk is for Python 3.11 and newer"
)
"""For what renders. What only reads the committed files runs on every Python."""


def each_dashboard() -> pytest.MarkDecorator:
    """The test is run with each `dashboard`."""
    return pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda found: found["uid"])


def each_panel() -> pytest.MarkDecorator:
    """The test is run with each `panel`."""
    return pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.key)
