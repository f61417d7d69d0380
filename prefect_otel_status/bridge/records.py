"""What travels through the bridge: facts about runs, what is kept of a run, spans, steps.

All frozen, all of plain values, so that they can be stored, compared and
replayed. Times are nanoseconds since 1970, 0 where unknown; ids of runs are
Prefect's UUIDs as text, ids of traces and spans are integers.
"""

from __future__ import annotations

from typing import Any

import msgspec

FLOW, TASK = "flow", "task"
PLANNED, ACTIVE, ENDED, SETTLED = "planned", "active", "ended", "settled"
"""The phases of a run: it is to start; it goes on; its end was seen; its spans are frozen."""


class StateFact(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="state"):
    """A run went into a state. Its key is the state's id, which is the event's id too.

    For a task, what its event says of it comes along: `attempt`, `task_name`,
    `run_name`, the span in its label, and its times. Of a flow run only what
    events and the API both tell is here, so that it is the same from either;
    the rest is in `Seen`. `received` is when the server got it, where known.
    """

    id: str
    type: str
    name: str
    at: int
    message: str = ""
    attempt: int = 0
    traceparent: str = ""
    received: int = 0
    task_name: str = ""
    run_name: str = ""
    started: int = 0
    ended: int = 0
    child_run_id: str = ""

    @property
    def key(self) -> str:
        return self.id


class StatusFact(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="status"):
    """A run said a status. The key holds its number, and its time: two processes may count."""

    at: int
    template: str
    message: str
    event: str = ""
    stage: str = ""
    level: str = "info"
    progress: float | None = None
    attempt: int = 0
    sequence: int = 0
    span_id: int = 0
    attributes: dict[str, Any] = {}
    bound: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
    received: int = 0

    @property
    def key(self) -> str:
        return f"said:{self.attempt}:{self.sequence}:{self.at}"

    @property
    def label(self) -> str:
        """Its low-cardinality name: the stable `event`, or else the template."""
        return self.event or self.template


class StageFact(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="stage"):
    """A stage opened, or, with `ended`, closed. Both have the span id of the stage."""

    name: str
    span_id: int
    started: int
    ended: int = 0
    parent_span_id: int = 0
    result: str = ""
    bound: dict[str, Any] = {}
    received: int = 0

    @property
    def key(self) -> str:
        return f"stage:{self.span_id:016x}:{'closed' if self.ended else 'open'}"

    @property
    def at(self) -> int:
        return self.ended or self.started


Fact = StateFact | StatusFact | StageFact


class Heartbeat(msgspec.Struct, frozen=True):
    """A flow run's process was alive at `at`. Only the latest counts, so it is not kept."""

    at: int


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the API says of a flow run now. `updated` orders two of them."""

    name: str = ""
    flow_name: str = ""
    deployment_id: str = ""
    deployment_name: str = ""
    parent_run_id: str = ""
    root_run_id: str = ""
    parent_traceparent: str = ""
    traceparent: str = ""
    bound: dict[str, Any] = {}
    expected_start: int = 0
    started: int = 0
    ended: int = 0
    updated: int = 0
    run_count: int = 0
    work_pool: str = ""


class Observation(msgspec.Struct, frozen=True):
    """One thing that was read about a run: RUN_ID is the flow run it belongs to.

    `subject_id` is the task run it is about, or the flow run itself. A task
    without a flow run is its own run. `flow_name` and `deployment_name` are what
    an event says of them, empty where it does not.
    """

    run_id: str
    subject_id: str
    what: Fact | Heartbeat | Seen
    flow_name: str = ""
    deployment_name: str = ""
    run_name: str = ""
    kind: str = FLOW


class RunRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a run: where it is now, and what its spans will need.

    `phase` is one of `PLANNED`, `ACTIVE`, `ENDED`, `SETTLED`. `due` is when it should be
    reconciled and settled. `closings` counts how often it was settled.
    """

    id: str
    kind: str = FLOW
    phase: str = ACTIVE
    due: int = 0
    seen: Seen = Seen()
    described: bool = False
    flow_name: str = ""
    deployment_name: str = ""
    environment: str = ""
    run_name: str = ""
    state_id: str = ""
    state_type: str = ""
    state_name: str = ""
    state_at: int = 0
    attempt: int = 0
    first_seen: int = 0
    started: int = 0
    traceparent: str = ""
    said_at: int = 0
    message: str = ""
    stage: str = ""
    progress: float | None = None
    bound: dict[str, Any] = {}
    heartbeat_at: int = 0
    heartbeat_period: int = 0
    inferred: bool = False
    closings: int = 0
    closed_state_id: str = ""
    span_id: int = 0
    trace_id: str = ""
    sampled: bool = True


class Step(msgspec.Struct, frozen=True):
    """A counter goes up by `value`, or a histogram sees `value` seconds.

    `labels` are the values of the metric's labels, in its order. `metric` is
    its OpenTelemetry name.
    """

    metric: str
    labels: tuple[str, ...]
    value: float = 1.0
    trace_id: str = ""
    at: int = 0


class SpanEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event of a span."""

    name: str
    at: int
    attributes: dict[str, Any] = {}


class SpanLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link from a span to another."""

    trace_id: int
    span_id: int
    attributes: dict[str, Any] = {}


class SpanRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A closed span, as it will be sent. `kind` is `SERVER` or `INTERNAL`.

    `error` is None for no status, else the description of an ERROR. `terminal`
    marks the spans that are kept longest when the outbox is full.
    """

    name: str
    kind: str
    trace_id: int
    span_id: int
    start: int
    end: int
    parent_span_id: int = 0
    attributes: dict[str, Any] = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    error: str | None = None
    ok: bool = False
    terminal: bool = False


class Closed(msgspec.Struct, frozen=True):
    """What the end of a run yields: its row, settled; its spans; its counter steps."""

    row: RunRow
    spans: tuple[SpanRecord, ...] = ()
    steps: tuple[Step, ...] = ()
