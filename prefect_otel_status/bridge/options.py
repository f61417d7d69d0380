"""What a bridge is told to do. Durations in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefect_otel_status.bridge.otlp import Resource
from prefect_otel_status.bridge.outbox import Cap


@dataclass(frozen=True)
class Options:
    """All that can be chosen about a working bridge, beside where things are."""

    owner: str = "process"
    backfill: float = 86_400.0
    sweep_interval: float = 5.0
    settle: float = 10.0
    overlap: float = 60.0
    recheck_interval: float = 300.0
    recheck_window: float = 3_600.0
    heartbeat_period: float = 180.0
    retention: float = 8 * 86_400.0
    scrape_interval: float = 15.0
    label_budget: int = 200
    lease_seconds: float = 10.0
    logs: bool = False
    metrics: bool = False
    cap: Cap = field(default_factory=Cap)
    resource: Resource = field(default_factory=Resource)
