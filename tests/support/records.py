"""Builders of runs and records with fixed ids and times, and of what carries them."""

from __future__ import annotations

from contextvars import Context
from typing import Any

from prefect_otel_status.cleaner import Cleaner
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import GateResult, LogLine, Run, StageEnd, Status, Transition
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally

NOW = 1_700_000_000_000_000_000
"""2023-11-14 22:13:20 UTC, in nanoseconds since 1970."""

SECOND = 1_000_000_000

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0x00F067AA0BA902B7
FLOW_RUN_ID = "6f1c1a52-3f9b-4c8e-9d3a-0c5b7a1e2d11"
TASK_RUN_ID = "0b9e6c1d-77aa-4f0e-8a55-5d3f2c1b0a99"


def flow_run(**changes: Any) -> Run:
    """A run of the flow `train`."""
    usual: dict[str, Any] = {
        "kind": "flow",
        "id": FLOW_RUN_ID,
        "name": "wise-owl",
        "flow_run_id": FLOW_RUN_ID,
        "flow_name": "train",
    }
    return Run(**{**usual, **changes})


def task_run(**changes: Any) -> Run:
    """A run of the task `score` in that flow."""
    usual: dict[str, Any] = {
        "kind": "task",
        "id": TASK_RUN_ID,
        "name": "score-0",
        "flow_run_id": FLOW_RUN_ID,
        "flow_name": "train",
        "task_name": "score",
    }
    return Run(**{**usual, **changes})


def status(template: str = "Scored {model}", **changes: Any) -> Status:
    """A status of the run of `train`; its message is its template unless it is given."""
    usual: dict[str, Any] = {
        "message": template,
        "run": flow_run(),
        "attempt": 1,
        "sequence": 1,
        "timestamp": NOW,
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "sampled": True,
    }
    return Status(template, **{**usual, **changes})


def transition(state_type: str = "COMPLETED", **changes: Any) -> Transition:
    """The run of `train` went into a state."""
    usual: dict[str, Any] = {
        "run": flow_run(),
        "state_id": "11111111-2222-3333-4444-555555555555",
        "state_name": state_type.title(),
        "attempt": 1,
        "timestamp": NOW,
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "sampled": True,
    }
    return Transition(state_type=state_type, **{**usual, **changes})


def stage_end(stage: str = "load", **changes: Any) -> StageEnd:
    """A stage of the run of `train` closed."""
    usual: dict[str, Any] = {"duration": 2.0, "result": "success", "run": flow_run()}
    return StageEnd(stage, **{**usual, **changes})


def gate_result(gate: str = "accuracy", **changes: Any) -> GateResult:
    """A gate of the run of `train` decided."""
    usual: dict[str, Any] = {
        "score": 0.93,
        "threshold": 0.9,
        "passed": True,
        "timestamp": NOW,
        "run": flow_run(),
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "sampled": True,
    }
    return GateResult(gate, **{**usual, **changes})


def log_line(message: str = "read 3 files", **changes: Any) -> LogLine:
    """A line that the flow's own code logged."""
    usual: dict[str, Any] = {
        "severity": 9,
        "severity_text": "INFO",
        "logger": "prefect.flow_runs",
        "timestamp": NOW,
        "run": flow_run(),
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "sampled": True,
    }
    return LogLine(message, **{**usual, **changes})


def cleaner(*, tally: Tally | None = None, **settings: Any) -> Cleaner:
    """A cleaner with SETTINGS, that counts in TALLY."""
    return Cleaner(Settings(**settings), tally or Tally())


def envelope(record: Any, *, context: Context | None = None, **settings: Any) -> Envelope:
    """RECORD on its way to the sinks."""
    return Envelope(record, cleaner(**settings), context)


def envelopes(*records: Any, context: Context | None = None) -> list[Envelope]:
    """RECORDS on their way to the sinks, in order."""
    shared = cleaner()
    return [Envelope(record, shared, context) for record in records]


class ManualClock:
    """A clock that shows what it is set to, in nanoseconds since 1970."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now
