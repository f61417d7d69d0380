"""The frozen records that travel through the project."""

from __future__ import annotations

import pytest

from prefect_otel_status.model import LEVELS, SEVERITY, GateResult, Status, result_of
from tests.support.records import flow_run, gate_result, status, task_run, transition


@pytest.mark.parametrize(
    ("state_type", "state_name", "result"),
    [
        ("COMPLETED", "Completed", "success"),
        ("COMPLETED", "Cached", "skip"),
        ("COMPLETED", "Skipped", "skip"),
        ("COMPLETED", "RolledBack", "success"),
        ("COMPLETED", "My own name", "success"),
        ("FAILED", "Failed", "failure"),
        ("FAILED", "TimedOut", "timeout"),
        ("CRASHED", "Crashed", "error"),
        ("CRASHED", "TimedOut", "timeout"),
        ("CANCELLED", "Cancelled", "cancellation"),
        ("PENDING", "NotReady", "skip"),
        ("PENDING", "Pending", None),
        ("SCHEDULED", "AwaitingRetry", None),
        ("SCHEDULED", "Late", None),
        ("RUNNING", "Retrying", None),
        ("RUNNING", "Cached", None),
        ("RUNNING", "TimedOut", None),
        ("PAUSED", "Suspended", None),
        ("CANCELLING", "Cancelling", None),
        ("", "", None),
    ],
)
def test_a_state_has_a_result_only_when_the_run_is_over(
    state_type: str, state_name: str, result: str | None
) -> None:
    assert result_of(state_type, state_name) == result


def test_a_status_is_named_by_its_event_or_else_by_its_template() -> None:
    named = status("Scored {model}", event="scored")
    assert (named.name, status("Scored {model}").name) == ("scored", "Scored {model}")


def test_errors_are_the_two_highest_levels() -> None:
    errors = [level for level in LEVELS if status(level=level).is_error]
    assert errors == ["error", "critical"]


def test_every_level_has_a_severity_and_they_rise() -> None:
    assert list(SEVERITY) == list(LEVELS)
    assert list(SEVERITY.values()) == sorted(set(SEVERITY.values()))


def test_a_gate_says_pass_or_fail() -> None:
    assert gate_result(passed=True).decision == "pass"
    assert gate_result(passed=False).decision == "fail"


def test_only_a_task_run_is_a_task() -> None:
    assert (task_run().is_task, flow_run().is_task) == (True, False)


def test_the_title_of_a_run_is_the_name_of_its_task_or_flow() -> None:
    assert (task_run().title, flow_run().title) == ("score", "train")


@pytest.mark.parametrize("record", [flow_run(), status(), transition(), gate_result()])
def test_a_record_cannot_be_changed(record: object) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        record.timestamp = 1  # type: ignore[attr-defined]


def test_equal_runs_are_one_key() -> None:
    assert {flow_run(): 1, flow_run(): 2} == {flow_run(): 2}


def test_records_do_not_share_their_attributes() -> None:
    first, second = Status("a", "a"), Status("b", "b")
    first.attributes["x"] = 1
    assert second.attributes == {}


def test_a_gate_without_a_run_has_the_defaults() -> None:
    assert GateResult("g", 1.0, 0.5, True) == gate_result(
        "g", score=1.0, threshold=0.5, timestamp=0, run=None, trace_id=0, span_id=0, sampled=False
    )
