"""Prefect's plugin: with `PREFECT_PLUGINS_ENABLED=1`, every flow and task is told about."""

from __future__ import annotations

import sys
from typing import Any

import pluggy

hookimpl = pluggy.HookimplMarker("prefect-experimental")


@hookimpl
def setup_environment(*, ctx: Any) -> None:
    """Instrument this process. Runs at `import prefect`; Prefect logs what it raises."""
    if "prefect_otel_status.instrumentation" in sys.modules:
        # It is what imports Prefect just now, for `opentelemetry-instrument`,
        # which calls it as soon as it is there.
        return
    from prefect_otel_status.instrumentation import instrument

    instrument()
