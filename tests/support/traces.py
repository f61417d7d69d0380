"""Traces as trees, whoever made their spans: the bridge, a process that was recorded, a receiver.

A tree is compared as text, a span a line, so that a test shows what a reader of
the trace would see:

    RUN killed: error Crashed, incomplete
      load: success
      (evaluate)

In brackets is what a process had sent of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from prefect_otel_status import signals
from prefect_otel_status.bridge.records import SpanRecord
from prefect_otel_status.ids import run_span_id_of
from tests.support.histories import History
from tests.support.receiver import attributes_of
from tests.support.replay import Outcome

Key = tuple[int, int]
"""The ids of a trace and of a span in it."""

_FLAGS = {
    signals.INCOMPLETE.name: "incomplete",
    signals.ABANDONED.name: "abandoned",
    signals.INFERRED.name: "inferred",
}
_DYNAMIC_KEY = re.compile(r"-[0-9a-f]{1,8}$")


@dataclass(frozen=True)
class Drawn:
    """A span, as far as tests compare it. `error` is None where its status is no error."""

    key: Key
    parent_id: int
    name: str
    kind: str = ""
    start: int = 0
    end: int = 0
    error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    links: tuple[Key, ...] = ()
    by_process: bool = False

    @property
    def parent(self) -> Key:
        return self.key[0], self.parent_id

    @property
    def run_id(self) -> str:
        return str(self.attributes.get(signals.RUN_ID.name, ""))

    @property
    def title(self) -> str:
        """Its name and, where they are known, its result, error type and flags."""
        if self.by_process:
            return f"({self.name})"
        result = self.attributes.get(signals.RESULT.name) or self.attributes.get(
            signals.TASK_RESULT.name, ""
        )
        error_type = self.attributes.get(signals.ERROR_TYPE.name, "")
        first = " ".join(filter(None, (str(result), str(error_type))))
        said = [first, *(word for name, word in _FLAGS.items() if self.attributes.get(name))]
        tail = ", ".join(filter(None, said))
        return f"{self.name}: {tail}" if tail else self.name


def of_bridge(outcome: Outcome) -> list[Drawn]:
    """What the bridge drew in OUTCOME."""
    return [_of_record(span) for span in outcome.spans.values()]


def of_processes(history: History, *, owner: str = "process") -> list[Drawn]:
    """What the processes of HISTORY sent themselves, named after flows and tasks.

    They were recorded as owners of their roots. With OWNER `bridge`, those with
    our code are shown as they are when the bridge is that.
    """
    flows = {flow["id"]: flow["name"] for flow in history.flows}
    names = {run["name"]: f"RUN {flows[run['flow_id']]}" for run in history.flow_runs}
    found = [
        Drawn(
            (int(span["trace_id"], 16), int(span["span_id"], 16)),
            int(span["parent_span_id"] or "0", 16),
            names.get(span["name"]) or _DYNAMIC_KEY.sub("", span["name"]),
            by_process=True,
        )
        for span in history.truth["exported_spans"]
    ]
    is_below = owner == "bridge" and history.variant == "ours"
    return _below_the_bridge(found, history) if is_below else found


def _below_the_bridge(spans: list[Drawn], history: History) -> list[Drawn]:
    attempts: dict[int, tuple[str, int]] = {}
    for run_id, states in history.flow_run_states.items():
        # Before it runs, a state names the span of its caller.
        running = [s for s in states if s["type"] not in ("SCHEDULED", "PENDING")]
        of_run = [state["state_details"].get("traceparent") for state in running]
        for number, label in enumerate(dict.fromkeys(filter(None, of_run)), start=1):
            attempts[int(label.split("-")[2], 16)] = (run_id, number)
    return [
        replace(
            span,
            name=f"ATTEMPT {attempts[span.key[1]][1]}",
            parent_id=run_span_id_of(attempts[span.key[1]][0]),
        )
        if span.key[1] in attempts
        else span
        for span in spans
    ]


def of_receiver(spans: Iterable[Span]) -> list[Drawn]:
    """What a receiver was sent."""
    return [
        Drawn(
            (_number(span.trace_id), _number(span.span_id)),
            _number(span.parent_span_id),
            span.name,
            Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.message if span.status.code == 2 else None,
            attributes_of(span.attributes),
            tuple(event.name for event in span.events),
            tuple((_number(link.trace_id), _number(link.span_id)) for link in span.links),
        )
        for span in spans
    ]


def tree(spans: Iterable[Drawn]) -> str:
    """SPANS as text, each below its parent; what has a parent that is missing is marked."""
    found = sorted(spans, key=lambda span: (span.title, span.start, span.key))
    keys = {span.key for span in found}
    roots = [span for span in found if span.parent not in keys]
    return "\n".join(_forest(roots, found)) + "\n"


def lost(spans: Iterable[Drawn]) -> list[str]:
    """The names of the spans whose parents are missing."""
    found = list(spans)
    keys = {span.key for span in found}
    return sorted(span.name for span in found if span.parent_id and span.parent not in keys)


def doubled(spans: Iterable[Drawn]) -> list[Key]:
    """The ids that more than one span has."""
    return [key for key, count in Counter(span.key for span in spans).items() if count > 1]


def backwards(spans: Iterable[Drawn]) -> list[str]:
    """The names of the spans that end before they start, or at no time."""
    return [span.name for span in spans if not 0 < span.start <= span.end]


def runs_of(spans: Iterable[Drawn]) -> Counter[str]:
    """How many `RUN` spans each flow run has, by its id."""
    return Counter(span.run_id for span in spans if span.name.startswith("RUN "))


def _forest(siblings: list[Drawn], spans: list[Drawn]) -> list[str]:
    """The lines of SIBLINGS and all below them; equal ones are shown once, with their number."""
    trees = Counter(tuple(_lines(span, spans)) for span in siblings)
    return [
        line if count == 1 or index else f"{line} ×{count}"
        for lines, count in trees.items()
        for index, line in enumerate(lines)
    ]


def _lines(span: Drawn, spans: list[Drawn]) -> list[str]:
    is_lost = span.parent_id and not any(other.key == span.parent for other in spans)
    below = [s for s in spans if s.parent_id and s.parent == span.key and s is not span]
    first = span.title + (" [its parent is missing]" if is_lost else "")
    return [first, *(f"  {line}" for line in _forest(below, spans))]


def _of_record(span: SpanRecord) -> Drawn:
    return Drawn(
        (span.trace_id, span.span_id),
        span.parent_span_id,
        span.name,
        span.kind,
        span.start,
        span.end,
        span.error,
        span.attributes,
        tuple(event.name for event in span.events),
        tuple((link.trace_id, link.span_id) for link in span.links),
    )


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")
