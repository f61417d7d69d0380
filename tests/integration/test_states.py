"""Every state that a run can go through shows as it should, once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import ROOT, run_flow
from tests.support.receiver import Received, attributes_of, otlp_receiver
from tests.support.server import environment

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def seen(
    prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Received]:
    """What came of tests/flows/states.py."""
    with otlp_receiver() as received:
        env = environment(
            prefect_home,
            PREFECT_API_URL=prefect_api,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            PYTHONPATH=str(ROOT),
        )
        done = run_flow("states.py", uuid.uuid4().hex, env=env)
        assert "own hooks: ['Completed']" in done.stdout
        received.wait_for_spans("RUN states")
        received.wait_for_metric("prefect.task_run.retries")
        yield received


def _spans(seen: Received, name: str) -> list[Span]:
    found = [span for span in seen.spans if span.name == name]
    return sorted(found, key=lambda span: span.start_time_unix_nano)


def _result(span: Span) -> tuple[int, Any, Any]:
    attributes = attributes_of(span.attributes)
    result = attributes.get("cicd.pipeline.task.run.result", attributes.get("cicd.pipeline.result"))
    return span.status.code, result, attributes.get("error.type")


def _said(span: Span) -> list[str]:
    events = [attributes_of(event.attributes) for event in span.events]
    return [e["prefect_status.message"] for e in events if "prefect_status.message" in e]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("retried", [(1, "success", None)]),
        ("retried_later", [(1, "success", None)]),
        ("cached", [(1, "success", None), (1, "skip", None)]),
        ("returns_failed", [(2, "failure", "Failed")]),
        ("returns_completed", [(1, "success", None)]),
        ("raises", [(2, "failure", "ValueError")] * 2),
        ("times_out", [(2, "timeout", "TimedOut")]),
        ("needs", [(1, "skip", None)]),
        ("RUN states", [(1, "skip", None)]),
    ],
)
@pytest.mark.fault(27)
def test_each_run_is_one_span_with_its_result(
    seen: Received, name: str, expected: list[tuple[int, str, str | None]]
) -> None:
    assert [_result(span) for span in _spans(seen, name)] == expected


@pytest.mark.fault(27)
def test_attempts_are_visible_on_the_one_span(seen: Received) -> None:
    (span,) = _spans(seen, "retried")
    attempts = [
        (
            values["prefect_status.message"],
            values["prefect_status.attempt"],
            values["prefect_status.sequence"],
        )
        for values in (attributes_of(event.attributes) for event in span.events)
        if "prefect_status.message" in values
    ]
    assert attempts == [("Attempt 1", 1, 1), ("Attempt 2", 2, 1), ("Attempt 3", 3, 1)]
    assert attributes_of(span.attributes)["prefect_status.attempt"] == 3


def test_messages_of_returned_states_are_statuses(seen: Received) -> None:
    assert _said(*_spans(seen, "returns_failed")) == ["Accuracy 0.42 is too low"]
    assert _said(*_spans(seen, "returns_completed")) == ["Promoted version 7"]
    assert _said(*_spans(seen, "RUN states")) == ["Nothing to deploy"]
    failed = seen.wait_for_log("Accuracy <num> is too low")
    assert (failed.severity_text, failed.body.string_value) == ("ERROR", "Accuracy 0.42 is too low")


def test_prefects_own_words_are_no_statuses(seen: Received) -> None:
    bodies = [log.event_name for log in seen.logs]
    assert not [name for name in bodies if "encountered an exception" in name]


def test_lines_of_the_run_logger_are_log_records_of_their_run(seen: Received) -> None:
    (span,) = _spans(seen, "logs")
    lines = {
        log.body.string_value: (log.severity_text, log.span_id == span.span_id)
        for log in seen.logs
        if not log.event_name
    }
    assert lines == {"Loaded 12 rows": ("INFO", True), "Only 3 rows": ("WARNING", True)}
    assert _said(span) == ["Only 3 rows"]


def test_a_hook_after_ours_still_speaks_below_its_task(seen: Received) -> None:
    (task_run,) = _spans(seen, "with_a_late_hook")
    (late,) = _spans(seen, "STATUS")
    assert late.parent_span_id == task_run.span_id
    assert (_said(task_run), _said(late)) == (
        ["Said in the body"],
        ["Said by a hook that came last"],
    )


def test_secrets_of_exceptions_do_not_leave_the_process(seen: Received) -> None:
    sent = b"".join(m.SerializeToString() for m in [*seen.spans, *seen.logs, *seen.metrics])
    assert b"hunter22" not in sent
    assert b"password=[redacted]" in sent


def test_transitions_are_counted_once(seen: Received) -> None:
    points = seen.wait_for_metric("prefect.flow_run.transitions").sum.data_points
    counted = {attributes_of(p.attributes)["prefect.state.name"]: p.as_int for p in points}
    assert counted == {"Running": 1, "Skipped": 1}
    retries = seen.wait_for_metric("prefect.task_run.retries").sum.data_points
    assert {attributes_of(p.attributes)["cicd.pipeline.task.name"]: p.as_int for p in retries} == {
        "retried": 2,
        "retried_later": 1,
    }
