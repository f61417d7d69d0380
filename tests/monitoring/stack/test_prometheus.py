"""The configuration of Prometheus, as Prometheus' own tool reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import JOB
from prefect_otel_status.monitoring.rules import files as rule_files
from prefect_otel_status.monitoring.stack import prometheus
from tests.monitoring.stack.compose import STACKS
from tests.support.processes import program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the container finds in `/etc/prometheus`, and the targets beside it."""
    for path, text in {**prometheus.files(), **rule_files(Links())}.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return tmp_path / "prometheus"


@pytest.mark.parametrize("stack", STACKS)
def test_promtool_finds_nothing_wrong(folder: Path, stack: str) -> None:
    config = folder / "prometheus.yml"
    targets = str(folder / "targets" / stack / "*.yml")
    config.write_text(config.read_text().replace(prometheus.TARGETS, targets))
    _check(config)


def test_promtool_finds_nothing_wrong_in_what_others_take(folder: Path) -> None:
    _check(folder / "scrape.example.yml")


def _check(config: Path) -> None:
    command = [program("promtool"), "check", "config", "--lint-fatal", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS: 2 rule files found" in done.stdout
    assert "WARNING" not in done.stdout


def test_every_bridge_shows_its_series_as_the_same_instance() -> None:
    rendered = {path: yaml.safe_load(text) for path, text in prometheus.files().items()}
    bridge = rendered["prometheus/prometheus.yml"]["scrape_configs"][0]
    assert bridge == {
        "job_name": JOB,
        "file_sd_configs": [{"files": ["/etc/prometheus-targets/*.yml"]}],
        "metric_relabel_configs": [{"target_label": "instance", "replacement": JOB}],
    }
    assert rendered["prometheus/targets/single/bridge.yml"] == [_group("bridge:9464", JOB)]
    assert rendered["prometheus/targets/ha/bridge.yml"] == [
        _group("bridge:9464", f"{JOB}-1"),
        _group("bridge-2:9464", f"{JOB}-2"),
    ]


def _group(target: str, instance: str) -> dict[str, Any]:
    return {"targets": [target], "labels": {"instance": instance}}


def test_all_neighbours_are_scraped() -> None:
    config = yaml.safe_load(prometheus.files()["prometheus/prometheus.yml"])
    found = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"][1:]
    }
    assert found == {
        "alertmanager": ["alertmanager:9093"],
        "collector": ["collector:8888"],
        "grafana": ["grafana:3000"],
        "jaeger": ["jaeger:8888"],
        "prometheus": ["prometheus:9090"],
    }
