"""Statuses, transitions and the flow's own log lines as log records."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import TraceFlags

from prefect_otel_status.sinks import attributes
from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.sinks.log import LogSink, to_log_record
from tests.support.records import (
    FLOW_RUN_ID,
    NOW,
    SPAN_ID,
    TRACE_ID,
    envelopes,
    gate_result,
    log_line,
    stage_end,
    status,
    task_run,
    transition,
)

OF_RUN = {"cicd.pipeline.name": "train", "cicd.pipeline.run.id": FLOW_RUN_ID}


class Logs:
    """A real logger, and the whole of each record that it was given."""

    def __init__(self) -> None:
        self.exporter = InMemoryLogRecordExporter()
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))
        self.logger = provider.get_logger("test")

    def sent(self) -> list[dict[str, Any]]:
        records = [found.log_record for found in self.exporter.get_finished_logs()]
        return [
            {
                "event": record.event_name,
                "time": record.timestamp,
                "severity": record.severity_number,
                "level": record.severity_text,
                "body": record.body,
                "attributes": dict(record.attributes or {}),
                "trace": (record.trace_id, record.span_id, record.trace_flags),
            }
            for record in records
        ]


def send(*records: Any, events: bool = True) -> list[dict[str, Any]]:
    """What a sink sends for RECORDS."""
    logs = Logs()
    LogSink(lambda: logs.logger, events=events).accept(envelopes(*records))
    return logs.sent()


def expected(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "time": NOW,
        "severity": SeverityNumber.INFO,
        "level": "INFO",
        "trace": (TRACE_ID, SPAN_ID, TraceFlags.SAMPLED),
    }
    return {**usual, **changes}


def test_a_status_is_a_log_event_of_its_span() -> None:
    said = status(
        "Scored {model}",
        message="Scored bert",
        level="warning",
        stage="score",
        attributes={"model": "bert"},
        bound={"model.name": "bert"},
    )
    assert send(said) == [
        expected(
            event="Scored {model}",
            severity=SeverityNumber.WARN,
            level="WARNING",
            body="Scored bert",
            attributes={
                "model": "bert",
                "model.name": "bert",
                "prefect_status.message": "Scored bert",
                "prefect_status.template": "Scored {model}",
                "prefect_status.level": "warning",
                "prefect_status.stage": "score",
                "prefect_status.sequence": 1,
                "prefect_status.attempt": 1,
                **OF_RUN,
            },
        )
    ]


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        ("debug", SeverityNumber.DEBUG),
        ("info", SeverityNumber.INFO),
        ("warning", SeverityNumber.WARN),
        ("error", SeverityNumber.ERROR),
        ("critical", SeverityNumber.FATAL),
    ],
)
def test_levels_become_severities(level: str, severity: SeverityNumber) -> None:
    (sent,) = send(status(level=level))
    assert (sent["severity"], sent["level"]) == (severity, level.upper())


@pytest.mark.parametrize(
    ("result", "severity", "level"),
    [
        (None, SeverityNumber.INFO, "INFO"),
        ("success", SeverityNumber.INFO, "INFO"),
        ("skip", SeverityNumber.INFO, "INFO"),
        ("cancellation", SeverityNumber.INFO, "INFO"),
        ("failure", SeverityNumber.ERROR, "ERROR"),
        ("error", SeverityNumber.ERROR, "ERROR"),
        ("timeout", SeverityNumber.ERROR, "ERROR"),
    ],
)
def test_a_transition_is_a_log_event(
    result: str | None, severity: SeverityNumber, level: str
) -> None:
    moved = transition("FAILED", message="boom", result=result, run=task_run())
    assert send(moved) == [
        expected(
            event="prefect_status.transition",
            severity=severity,
            level=level,
            body="boom",
            attributes={
                **attributes.of_run(task_run()),
                **attributes.of_transition(moved),
            },
        )
    ]


def test_a_transition_without_a_message_says_its_state() -> None:
    (sent,) = send(transition("RUNNING", state_name="Retrying"))
    assert sent["body"] == "Retrying"


def test_a_line_of_the_flow_is_a_plain_record() -> None:
    assert send(log_line("read 3 files", attributes={"code.line.number": 7})) == [
        expected(
            event=None,
            body="read 3 files",
            attributes={"code.line.number": 7, **OF_RUN},
        )
    ]


def test_a_gate_is_an_evaluation_where_gen_ai_is_bound() -> None:
    bound = {"gen_ai.request.model": "bert"}
    assert send(gate_result(bound=bound), gate_result()) == [
        expected(
            event="gen_ai.evaluation.result",
            body="accuracy: pass at 0.93",
            attributes={
                **bound,
                **OF_RUN,
                "gen_ai.evaluation.name": "accuracy",
                "gen_ai.evaluation.score.value": 0.93,
                "gen_ai.evaluation.score.label": "pass",
            },
        )
    ]


def test_without_events_only_the_lines_of_the_flow_are_sent() -> None:
    said = (status(), transition(), gate_result(bound={"gen_ai.x": 1}), log_line("kept"))
    assert [sent["body"] for sent in send(*said, events=False)] == ["kept"]


def test_a_stage_that_closed_is_no_record() -> None:
    assert to_log_record(stage_end()) is None


@pytest.mark.parametrize(
    ("changes", "trace"),
    [
        ({"sampled": False}, (TRACE_ID, SPAN_ID, TraceFlags.DEFAULT)),
        ({"trace_id": 0, "span_id": 0, "sampled": False}, (0, 0, TraceFlags.DEFAULT)),
    ],
)
def test_a_record_carries_the_span_it_was_said_in(
    changes: dict[str, Any], trace: tuple[int, int, int]
) -> None:
    (sent,) = send(status(**changes))
    assert sent["trace"] == trace


def test_what_is_unsafe_can_be_encoded() -> None:
    logs = Logs()
    bad = status("\ud800", attributes={"\ud800": "\ud800", "n": 2**70, "f": float("nan")})
    LogSink(lambda: logs.logger).accept(envelopes(bad, transition(message="\ud800")))
    request = encode_logs(logs.exporter.get_finished_logs())
    assert len(request.resource_logs[0].scope_logs[0].log_records) == 2


def test_the_logger_is_asked_for_at_each_batch() -> None:
    first, second = Logs(), Logs()
    loggers = iter([first.logger, second.logger])
    sink = LogSink(lambda: next(loggers))
    sink.accept(envelopes(status("a")))
    sink.accept(envelopes(status("b")))
    assert [[sent["body"] for sent in logs.sent()] for logs in (first, second)] == [["a"], ["b"]]


def test_nothing_is_held_back_and_nothing_is_ever_due() -> None:
    logs = Logs()
    sink = LogSink(lambda: logs.logger)
    assert isinstance(sink, Sink)
    sink.flush()
    assert (sink.tick(NOW), logs.sent()) == (None, [])
