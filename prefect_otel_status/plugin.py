"""Prefect's plugin: with `PREFECT_PLUGINS_ENABLED=1`, every flow and task is told about."""

from __future__ import annotations

from typing import Any

import pluggy

hookimpl = pluggy.HookimplMarker("prefect-experimental")


@hookimpl
def setup_environment(*, ctx: Any) -> None:
    """Instrument this process. Runs at `import prefect`; Prefect logs what it raises."""
    from prefect_otel_status.instrumentation import instrument

    instrument()
