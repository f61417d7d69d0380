"""Loki's configuration. No Loki can be had here: it is checked for what we rest on."""

from __future__ import annotations

from typing import Any

import yaml

from prefect_otel_status.monitoring.stack import loki
from tests.monitoring.stack.compose import mounts, services

CONFIG: dict[str, Any] = yaml.safe_load(loki.files()["loki/loki.yml"])


def test_all_that_it_keeps_is_on_its_volume() -> None:
    volumes = [target for source, target, _ in mounts(services()["loki"]) if source[0] != "."]
    assert volumes == [CONFIG["common"]["path_prefix"]]
    kept = [*CONFIG["common"]["storage"]["filesystem"].values()]
    kept.append(CONFIG["compactor"]["working_directory"])
    assert all(path.startswith(f"{volumes[0]}/") for path in kept)


def test_it_deletes_after_a_week() -> None:
    assert CONFIG["limits_config"]["retention_period"] == "168h"
    assert CONFIG["compactor"]["retention_enabled"] is True


def test_it_takes_otlp() -> None:
    # Without these two it refuses what comes by OTLP.
    assert CONFIG["limits_config"]["allow_structured_metadata"] is True
    assert CONFIG["schema_config"]["configs"][-1]["schema"] == "v13"
