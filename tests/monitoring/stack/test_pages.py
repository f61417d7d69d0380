"""The configurations on the pages about the stack: each is read by what it is for."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_otel_status.monitoring.stack import collector, jaeger, prometheus
from tests.monitoring.stack import components
from tests.monitoring.stack.compose import ROOT, example, services
from tests.support.processes import program

HOW_TO = ROOT / "docs" / "how-to"
PAGES = (
    "stack.md",
    "existing-grafana-prometheus.md",
    "sizing-and-retention.md",
    "beyond-one-machine.md",
)
_BLOCK = re.compile(r"^( *)```yaml\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def _blocks(page: str) -> list[str]:
    found = _BLOCK.findall((HOW_TO / page).read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, text in found]


def _about(name: str) -> list[str]:
    """The blocks of the last page that change the file NAME."""
    return [text for text in _blocks("beyond-one-machine.md") if text.startswith(f"# {name}\n")]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_yaml(page: str) -> None:
    assert all(isinstance(yaml.safe_load(block), dict) for block in _blocks(page))


def test_the_scrape_is_what_is_rendered() -> None:
    shown, *_ = _blocks("existing-grafana-prometheus.md")
    rendered = prometheus.files()["prometheus/scrape.example.yml"]
    assert yaml.safe_load(shown) == yaml.safe_load(rendered)


@pytest.mark.parametrize("block", _about("prometheus.yml"))
def test_promtool_reads_what_prometheus_is_given(block: str, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(block.replace("/run/secrets/mimir_password", str(_secret(tmp_path))))
    command = [program("promtool"), "check", "config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _secret(folder: Path) -> Path:
    path = folder / "secret"
    path.touch()
    return path


@pytest.mark.parametrize("block", _about("jaeger.yml"))
def test_what_jaeger_is_given_fits_its_configuration(block: str) -> None:
    usual = yaml.safe_load(jaeger.files()["jaeger/jaeger.yml"])
    change = yaml.safe_load(block)
    # It takes the place of what was there, kind by kind.
    changed = {**usual, **{kind: change[kind] for kind in ("receivers",) if kind in change}}
    for section, part in change.get("extensions", {}).items():
        changed["extensions"][section] = part
    changed["service"] = _merged(usual["service"], change.get("service", {}))
    assert components.used(changed) == components.declared(changed)
    store = changed["exporters"]["jaeger_storage_exporter"] | change.get("exporters", {}).get(
        "jaeger_storage_exporter", {}
    )
    extensions = changed["extensions"]
    assert set(extensions["jaeger_storage"]["backends"]) == {store["trace_storage"]}
    assert extensions["jaeger_query"]["storage"] == {"traces": store["trace_storage"]}


@pytest.mark.parametrize("block", _about("collector.yml"))
def test_what_the_collector_is_given_fits_its_configuration(block: str) -> None:
    usual = yaml.safe_load(collector.files()["collector/collector.yml"])
    changed = _merged(usual, yaml.safe_load(block))
    del changed["exporters"]["otlp_grpc/jaeger"]
    assert components.used(changed) == components.declared(changed)


def _merged(one: Any, other: Any) -> Any:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return {**one, **{key: _merged(one.get(key, {}), value) for key, value in other.items()}}


def test_all_that_is_published_is_on_the_first_page() -> None:
    text = (HOW_TO / "stack.md").read_text(encoding="utf-8")
    ports = {port.split(":")[1] for s in services().values() for port in s.get("ports", ())}
    assert {port for port in ports if f":{port}" not in text} == set()


def test_variables_of_the_first_page_are_those_of_the_example() -> None:
    text = (HOW_TO / "stack.md").read_text(encoding="utf-8")
    known = {*example(), "PREFECT_API_URL", "PREFECT_API_KEY"}
    said = set(re.findall(r"`([A-Z][A-Z_]+[A-Z])[`=]", text))
    assert {name for name in said if not name.startswith(("PREFECT_OTEL", "OTEL_"))} <= known
