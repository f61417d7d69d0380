"""What Grafana finds at its start. No Grafana can be had here: the files are checked alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.stack import grafana
from tests.monitoring.stack.compose import ROOT, mounts, services

FILES = {path: yaml.safe_load(text) for path, text in grafana.files(Links()).items()}
SOURCES = FILES["grafana/provisioning/datasources/datasources.yml"]["datasources"]


def test_data_sources_are_services_of_the_stack() -> None:
    assert {source["uid"]: (source["type"], source["url"]) for source in SOURCES} == {
        "prometheus": ("prometheus", "http://prometheus:9090"),
        "jaeger": ("jaeger", "http://jaeger:16686"),
        "loki": ("loki", "http://loki:3100"),
        "alertmanager": ("alertmanager", "http://alertmanager:9093"),
    }
    assert {re.split("[/:]+", source["url"])[1] for source in SOURCES} <= set(services())
    assert [source["uid"] for source in SOURCES if source.get("isDefault")] == ["prometheus"]


def test_none_can_be_changed_in_a_browser() -> None:
    assert [source["editable"] for source in SOURCES] == [False] * len(SOURCES)
    (provider,) = FILES["grafana/provisioning/dashboards/dashboards.yml"]["providers"]
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)


def test_exemplars_lead_to_traces() -> None:
    (prometheus,) = [source for source in SOURCES if source["uid"] == "prometheus"]
    assert prometheus["jsonData"]["exemplarTraceIdDestinations"] == [
        {"name": "trace_id", "datasourceUid": "jaeger", "urlDisplayLabel": "Trace"}
    ]


def test_data_sources_lead_only_to_one_another() -> None:
    assert set(_values(SOURCES, "datasourceUid")) == {"jaeger", "loki", "prometheus"}


def _values(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from [node[key]] if key in node else []
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _values(child, key)


def test_variables_are_left_for_grafana_to_fill_in_when_they_are_used() -> None:
    # A single `$` would be filled in at the start, from the environment: with nothing.
    texts = [text for text in _texts(SOURCES) if "$" in text]
    assert len(texts) == 4
    assert [text for text in texts if re.search(r"(?<!\$)\$(?!\$)", text)] == []


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _texts(child)


@pytest.mark.parametrize("target", ["/etc/grafana-dashboards", "/etc/grafana/provisioning"])
def test_the_files_are_mounted_where_grafana_looks(target: str) -> None:
    (source,) = [source for source, to, _ in mounts(services()["grafana"]) if to == target]
    assert (ROOT / source).is_dir()


def test_the_first_page_is_a_dashboard_that_there_is() -> None:
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    (provider,) = FILES["grafana/provisioning/dashboards/dashboards.yml"]["providers"]
    folder, _, name = home.rpartition("/")
    assert folder == provider["options"]["path"]
    assert (ROOT / "dashboards" / "grafana" / name).is_file()
