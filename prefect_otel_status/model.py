"""What travels through the project: frozen records, no Prefect, no SDK."""

from __future__ import annotations

from typing import Any

import msgspec

LEVELS = ("debug", "info", "warning", "error", "critical")
SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
"""OpenTelemetry's severity number of each level."""

ERROR_LEVELS = frozenset({"error", "critical"})

Value = str | int | float | bool | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]
"""An attribute's value, as OpenTelemetry allows it."""


class Run(msgspec.Struct, frozen=True):
    """A flow run or task run, as far as a process knows it. Ids are UUIDs as text."""

    kind: str
    id: str
    name: str = ""
    flow_run_id: str | None = None
    flow_name: str = ""
    task_name: str = ""
    deployment_id: str | None = None

    @property
    def is_task(self) -> bool:
        return self.kind == "task"

    @property
    def title(self) -> str:
        """The name of its task or flow: what the many runs of one have in common."""
        return self.task_name if self.is_task else self.flow_name


class Status(msgspec.Struct, frozen=True):
    """One status message: what a run said, when, and where in its trace.

    `timestamp` is in nanoseconds since 1970. `trace_id` and `span_id` are 0
    outside a trace. `flags` names what was odd about it; see `signals.FLAGS`.
    """

    template: str
    message: str
    event: str | None = None
    stage: str | None = None
    level: str = "info"
    progress: float | None = None
    attributes: dict[str, Any] = {}
    bound: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
    run: Run | None = None
    attempt: int = 0
    sequence: int = 0
    timestamp: int = 0
    trace_id: int = 0
    span_id: int = 0
    sampled: bool = False
    origin: str = "status"

    @property
    def name(self) -> str:
        """Its low-cardinality name: the stable `event`, or else the template."""
        return self.event or self.template

    @property
    def is_error(self) -> bool:
        return self.level in ERROR_LEVELS


class Transition(msgspec.Struct, frozen=True):
    """A run went into a state. `duration` is in seconds, for terminal states."""

    run: Run
    state_id: str
    state_type: str
    state_name: str
    message: str = ""
    previous: str | None = None
    attempt: int = 0
    timestamp: int = 0
    duration: float | None = None
    result: str | None = None
    error_type: str | None = None
    bound: dict[str, Any] = {}
    trace_id: int = 0
    span_id: int = 0
    sampled: bool = False


class StageStart(msgspec.Struct, frozen=True):
    """A stage opened; times in nanoseconds since 1970, ids 0 outside a trace."""

    stage: str
    run: Run | None = None
    started: int = 0
    span_id: int = 0
    parent_span_id: int = 0


class StageEnd(msgspec.Struct, frozen=True):
    """A stage closed after `duration` seconds with `result` (`success` or `failure`)."""

    stage: str
    duration: float
    result: str
    run: Run | None = None
    bound: dict[str, Any] = {}
    started: int = 0
    ended: int = 0
    span_id: int = 0
    parent_span_id: int = 0


class GateResult(msgspec.Struct, frozen=True):
    """An evaluation gate decided."""

    gate: str
    score: float
    threshold: float
    passed: bool
    timestamp: int = 0
    run: Run | None = None
    bound: dict[str, Any] = {}
    trace_id: int = 0
    span_id: int = 0
    sampled: bool = False

    @property
    def decision(self) -> str:
        return "pass" if self.passed else "fail"


class LogLine(msgspec.Struct, frozen=True):
    """A line that the flow's own code wrote to Prefect's run logger."""

    message: str
    severity: int
    severity_text: str
    logger: str
    timestamp: int
    attributes: dict[str, Any] = {}
    run: Run | None = None
    trace_id: int = 0
    span_id: int = 0
    sampled: bool = False


Record = Status | Transition | StageStart | StageEnd | GateResult | LogLine
"""Everything that a sink can be given."""

RESULTS = {
    "COMPLETED": "success",
    "FAILED": "failure",
    "CRASHED": "error",
    "CANCELLED": "cancellation",
}
FINAL_TYPES = frozenset(RESULTS)
NAMED_RESULTS = {"TimedOut": "timeout", "Cached": "skip", "Skipped": "skip", "NotReady": "skip"}
ERROR_RESULTS = frozenset({"failure", "error", "timeout"})


def result_of(state_type: str, state_name: str) -> str | None:
    """The CI/CD result of a state, or None while the run goes on."""
    if state_name in NAMED_RESULTS and (state_type in FINAL_TYPES or state_name == "NotReady"):
        return NAMED_RESULTS[state_name]
    return RESULTS.get(state_type)
