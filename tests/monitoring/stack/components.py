"""What a configuration in the collector's form declares, and what it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("receivers", "processors", "exporters")


def declared(config: Mapping[str, Any]) -> dict[str, set[str]]:
    """The components by kind."""
    return {kind: set(config.get(kind, ())) for kind in (*KINDS, "extensions")}


def used(config: Mapping[str, Any]) -> dict[str, set[str]]:
    """The components that a pipeline or the service names, by kind."""
    pipelines = config["service"]["pipelines"].values()
    found = {
        kind: {name for pipeline in pipelines for name in pipeline.get(kind, ())} for kind in KINDS
    }
    return {**found, "extensions": set(config["service"]["extensions"])}


def endpoints(config: Any) -> set[str]:
    """Every `endpoint` in CONFIG, however deep."""
    if not isinstance(config, Mapping):
        return set()
    own = {config["endpoint"]} if isinstance(config.get("endpoint"), str) else set()
    return own.union(*(endpoints(value) for value in config.values()))
