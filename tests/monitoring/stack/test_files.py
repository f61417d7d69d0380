"""The files of the stack as they are committed."""

from __future__ import annotations

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.stack import files
from tests.monitoring.stack.compose import ROOT


def test_what_is_committed_is_what_is_rendered() -> None:
    rendered = files(Links())
    committed = {path: (ROOT / "dashboards" / path).read_text() for path in rendered}
    assert committed == rendered


def test_addresses_for_browsers_can_be_changed() -> None:
    usual, changed = files(Links()), files(Links(prefect="https://prefect.example"))
    different = {path for path in usual if usual[path] != changed[path]}
    assert different == {"grafana/provisioning/datasources/datasources.yml"}
    assert "https://prefect.example/runs/flow-run/" in changed[different.pop()]
