"""The collector's configuration. A real collector runs it in tests/integration."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from prefect_otel_status.monitoring.stack import builder, collector
from prefect_otel_status.monitoring.stack.secrets import BLOCKED_KEYS, BLOCKED_VALUES
from prefect_otel_status.signals import Attribute, declared
from tests.monitoring.stack import components
from tests.monitoring.stack.compose import mounts, services


@pytest.fixture
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(collector.files()["collector/collector.yml"])
    return found


def test_every_component_is_declared_and_used(config: dict[str, Any]) -> None:
    assert components.used(config) == components.declared(config)


def test_the_builder_has_these_components_and_no_others(config: dict[str, Any]) -> None:
    kinds = {
        kind: {name.partition("/")[0] for name in names}
        for kind, names in components.declared(config).items()
    }
    assert kinds == {kind: set(modules) for kind, modules in builder.COMPONENTS.items()}


def test_memory_is_limited_first_and_secrets_are_masked_in_every_pipeline(
    config: dict[str, Any],
) -> None:
    pipelines = config["service"]["pipelines"]
    assert {name: pipeline["processors"] for name, pipeline in pipelines.items()} == {
        "traces": ["memory_limiter", "redaction"],
        "logs": ["memory_limiter", "redaction"],
    }


def test_every_queue_is_on_a_volume_and_gives_nothing_up(config: dict[str, Any]) -> None:
    for exporter in config["exporters"].values():
        assert exporter["sending_queue"]["storage"] == "file_storage"
        assert exporter["sending_queue"]["batch"]
        assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    folder = config["extensions"]["file_storage"]["directory"]
    volumes = {target for source, target, _ in mounts(services()["collector"]) if source[0] != "."}
    assert any(folder.startswith(f"{target}/") for target in volumes)


def test_it_listens_and_sends_where_the_others_expect_it(config: dict[str, Any]) -> None:
    assert components.endpoints(config) == {
        "0.0.0.0:13133",
        "0.0.0.0:4317",
        "0.0.0.0:4318",
        "http://loki:3100/otlp",
        "jaeger:4317",
    }


def test_no_attribute_of_ours_is_taken_for_a_secret() -> None:
    names = [
        attribute.name for attribute in declared(Attribute) if isinstance(attribute, Attribute)
    ]
    known = [*names, "gen_ai.usage.input_tokens", "gen_ai.usage.total_tokens", "author", "key"]
    assert [name for name in known if any(re.search(key, name) for key in BLOCKED_KEYS)] == []


@pytest.mark.parametrize(
    "harmless",
    [
        "Scored bert: 93.0%",
        "http://127.0.0.1:4200/runs/flow-run/0b0c2f0e-6a1c-4c0e-9a63-3e3f6f3a6a11",
        "f7fbd59d173df02bb796227ddfd7d3de",
        "Basic training done",
        "sk-learn",
        "postgresql+asyncpg://bridge@postgres:5432/bridge",
        "2026-11-24T22:45:10.000Z",
    ],
)
def test_no_harmless_text_is_masked(harmless: str) -> None:
    assert [value for value in BLOCKED_VALUES if re.search(value, harmless)] == []
