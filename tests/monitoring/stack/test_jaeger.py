"""Jaeger's configuration: what is declared and used, and that traces outlive it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from prefect_otel_status.monitoring.stack import jaeger
from tests.monitoring.stack import components
from tests.monitoring.stack.compose import mounts, services


@pytest.fixture
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(jaeger.files()["jaeger/jaeger.yml"])
    return found


def test_every_component_is_declared_and_used(config: dict[str, Any]) -> None:
    assert components.used(config) == components.declared(config)


def test_traces_are_kept_on_a_volume_for_a_week(config: dict[str, Any]) -> None:
    backends = config["extensions"]["jaeger_storage"]["backends"]
    (name,) = backends
    badger = backends[name]["badger"]
    assert (badger["ephemeral"], badger["ttl"]) == (False, {"spans": "168h"})
    volumes = {target for source, target, _ in mounts(services()["jaeger"]) if source[0] != "."}
    assert {path.rpartition("/")[0] for path in badger["directories"].values()} <= volumes
    assert config["extensions"]["jaeger_query"]["storage"] == {"traces": name}
    assert config["exporters"] == {"jaeger_storage_exporter": {"trace_storage": name}}


def test_it_listens_where_the_others_expect_it(config: dict[str, Any]) -> None:
    assert components.endpoints(config) == {"0.0.0.0:13133", "0.0.0.0:16686", "0.0.0.0:4317"}
    health = services()["jaeger"]["healthcheck"]["test"]
    assert health[-1] == "http://127.0.0.1:13133/status"
