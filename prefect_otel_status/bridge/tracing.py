"""Which trace a run is in, and whose spans are whose. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from prefect_otel_status.bridge.records import RunRow, StateFact
from prefect_otel_status.ids import run_span_id_of, trace_id_of

# What Prefect's runner and workers write when the process is found dead. What the
# engine writes from inside the process means that its span was still ended.
_DEATHS = re.compile(
    r"Flow run (?:process|infrastructure) exited with .*"
    r"|Process (?:for flow run .* )?exited with .*"
    r"|Flow run infrastructure .*",
    re.DOTALL,
)


class SpanRef(NamedTuple):
    """A span of somebody's, as a W3C traceparent names it."""

    trace_id: int
    span_id: int
    sampled: bool


class Place(NamedTuple):
    """Where a run is drawn.

    `process` is the span that its own process made, None without one.
    `run_span_id` is the id of the span `RUN`, `base` the span below which the
    bridge hangs what belongs to the run, `is_ours` whether the process had
    this package.
    """

    trace_id: int
    sampled: bool
    parent_span_id: int
    run_span_id: int
    process: SpanRef | None
    is_ours: bool

    @property
    def base(self) -> int:
        return self.process.span_id if self.process else self.run_span_id


def read_traceparent(text: str) -> SpanRef | None:
    """The span that TEXT, a valid W3C traceparent or empty, names."""
    if not text:
        return None
    _, trace_id, span_id, flags = text.split("-")
    return SpanRef(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))


def write_traceparent(trace_id: int, span_id: int, *, sampled: bool) -> str:
    """The W3C traceparent of a span."""
    return f"00-{trace_id:032x}-{span_id:016x}-{int(sampled):02x}"


def place_of(
    row: RunRow,
    states: Sequence[StateFact],
    *,
    owner: str,
    sampled: Callable[[int], bool],
    has_words: bool,
) -> Place:
    """Where the run of ROW is drawn. OWNER is `process` or `bridge`.

    HAS_WORDS says that it said statuses, so its process had this package.
    """
    process = read_traceparent(_label(row, states))
    parent = read_traceparent(row.seen.parent_traceparent)
    own = trace_id_of(row.seen.root_run_id or row.id)
    if process is not None and process == parent:
        process = None  # handed on by its caller; its own process made none
    trace_id = process.trace_id if process else parent.trace_id if parent else own
    known = process or _decided(row, parent, own)
    is_ours = process is not None and (has_words or process.trace_id == own)
    derived = process is None or (owner == "bridge" and is_ours)
    return Place(
        trace_id=trace_id,
        sampled=known.sampled if known else sampled(trace_id),
        parent_span_id=parent.span_id if parent and parent.trace_id == trace_id else 0,
        run_span_id=run_span_id_of(row.id) if derived or process is None else process.span_id,
        process=process,
        is_ours=is_ours,
    )


def _decided(row: RunRow, parent: SpanRef | None, own: int) -> SpanRef | None:
    """PARENT where a process made it: with it came the decision whether to sample."""
    is_derived = parent is not None and parent.span_id == run_span_id_of(row.seen.parent_run_id)
    return None if parent is None or (is_derived and parent.trace_id == own) else parent


def _label(row: RunRow, states: Sequence[StateFact]) -> str:
    """The label of the run's latest process; for a task it comes with its states."""
    of_task = [state.traceparent for state in states if state.traceparent]
    return of_task[-1] if of_task else row.traceparent


def process_died(row: RunRow, final: StateFact | None) -> bool:
    """Whether the process is known not to have ended its span: killed, or silent."""
    if row.inferred:
        return True
    return (
        final is not None
        and final.type == "CRASHED"
        and _DEATHS.fullmatch(final.message) is not None
    )


def derived_span_id(kind: str, *parts: object) -> int:
    """A span id that follows from PARTS: the same each time that it is asked for."""
    text = " ".join([kind, *map(str, parts)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") or 1
