"""Trace and span ids that follow from run ids, so that a run id finds its trace."""

from __future__ import annotations

from hashlib import sha256


def trace_id_of(root_run_id: str) -> int:
    """The trace id of the run tree whose root is ROOT_RUN_ID: `sha256(id)[:16]`.

    A hash and not the UUID itself: ratio samplers read the low 64 bits, and a
    UUID's variant fixes the first two of them.
    """
    return int.from_bytes(sha256(root_run_id.encode()).digest()[:16], "big") or 1


def run_span_id_of(run_id: str) -> int:
    """The span id of the span `RUN <flow>` that a bridge makes for the flow run RUN_ID."""
    return int.from_bytes(sha256(f"RUN {run_id}".encode()).digest()[:8], "big") or 1


def hex_trace_id(trace_id: int) -> str:
    """TRACE_ID as 32 lower-case hexadecimal digits, as every backend writes it."""
    return f"{trace_id:032x}"


def hex_span_id(span_id: int) -> str:
    """SPAN_ID as 16 lower-case hexadecimal digits."""
    return f"{span_id:016x}"
