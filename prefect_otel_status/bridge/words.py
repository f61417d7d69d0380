"""What the message of a state says about an error. Pure."""

from __future__ import annotations

import re

from prefect_otel_status.bridge.records import StateFact

_EXCEPTION = re.compile(
    r"(?:Flow|Task) run encountered an exception:? ([A-Za-z_][\w.]{0,150})(?::|$|\b)"
)


def error_type_of(state: StateFact | None) -> str:
    """The class of the exception that STATE's message names, else the state's own name."""
    if state is None:
        return "HeartbeatLost"
    found = _EXCEPTION.match(state.message)
    return found[1].rstrip(".") if found else state.name


def error_words(state: StateFact | None) -> str:
    """A sentence for the span's status."""
    if state is None:
        return ""
    return state.message or f"Run ended as {state.name}"
