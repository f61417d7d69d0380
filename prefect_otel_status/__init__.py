"""OpenTelemetry status messages for Prefect.

The public names are imported when they are first used, so that importing this
package costs next to nothing in a process that never says anything.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prefect_otel_status.version import VERSION

if TYPE_CHECKING:
    from prefect_otel_status.binding import bind as bind
    from prefect_otel_status.configuration import configure as configure
    from prefect_otel_status.gates import gate as gate
    from prefect_otel_status.hooks import flow_hooks as flow_hooks
    from prefect_otel_status.hooks import task_hooks as task_hooks
    from prefect_otel_status.instrumentation import instrument as instrument
    from prefect_otel_status.instrumentation import uninstrument as uninstrument
    from prefect_otel_status.messages import status as status
    from prefect_otel_status.model import Status as Status
    from prefect_otel_status.runtime import flush as flush
    from prefect_otel_status.runtime import shutdown as shutdown
    from prefect_otel_status.stages import stage as stage
    from prefect_otel_status.tracking import track as track

__version__ = VERSION

_HOMES = {
    "Status": "model",
    "bind": "binding",
    "configure": "configuration",
    "flow_hooks": "hooks",
    "flush": "runtime",
    "gate": "gates",
    "instrument": "instrumentation",
    "shutdown": "runtime",
    "stage": "stages",
    "status": "messages",
    "task_hooks": "hooks",
    "track": "tracking",
    "uninstrument": "instrumentation",
}

__all__ = [
    "Status",
    "bind",
    "configure",
    "flow_hooks",
    "flush",
    "gate",
    "instrument",
    "shutdown",
    "stage",
    "status",
    "task_hooks",
    "track",
    "uninstrument",
]


def __getattr__(name: str) -> Any:
    """Import the public name NAME from its module, once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
