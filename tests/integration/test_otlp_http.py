"""A deployment, from the status calls in its flow to a real OTLP receiver over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from prefect_otel_status.ids import trace_id_of
from tests.conftest import run_flow
from tests.support.receiver import Received, attributes_of, span_as_dict

pytestmark = pytest.mark.server

BOUND = {
    "model.name": "bert",
    "model.version": "3",
    "deployment.environment.name": "prod",
}


def _run_attributes(flow_run: Span) -> dict[str, Any]:
    run_id = attributes_of(flow_run.attributes)["cicd.pipeline.run.id"]
    return {
        "cicd.pipeline.name": "deploy",
        "cicd.pipeline.run.id": run_id,
    }


def _without_prefects_own(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if not name.startswith("prefect.")}


def _statuses(span: Span) -> list[tuple[str, dict[str, Any]]]:
    events = span_as_dict(span)["events"]
    return [(name, values) for name, values in events if "prefect_status.message" in values]


def test_a_good_deployment_is_one_trace(otlp_env: dict[str, str], received: Received) -> None:
    run_flow("deploy.py", "0.9", env=otlp_env)
    names = ("RUN deploy", "promote")
    received.wait_for_spans(*names)
    flow_run = next(span for span in received.spans if span.name == "RUN deploy")
    by_kind = {
        (span.name, span.parent_span_id == flow_run.span_id): span for span in received.spans
    }
    stage = by_kind["evaluate", True]
    task_run = next(s for s in received.spans if s.parent_span_id == stage.span_id)
    run_id = attributes_of(flow_run.attributes)["cicd.pipeline.run.id"]
    task_run_id = attributes_of(task_run.attributes)["cicd.pipeline.task.run.id"]

    assert {span.trace_id for span in received.spans} == {trace_id_of(run_id).to_bytes(16, "big")}
    assert flow_run.parent_span_id == b""
    assert span_as_dict(flow_run)["kind"] == "SPAN_KIND_SERVER"
    assert (flow_run.status.code, flow_run.status.message) == (1, "")
    assert _without_prefects_own(attributes_of(flow_run.attributes)) == {
        **BOUND,
        **_run_attributes(flow_run),
        "cicd.pipeline.run.url.full": f"http://prefect.example/runs/flow-run/{run_id}",
        "cicd.pipeline.result": "success",
        "prefect_status.attempt": 1,
        "prefect_status.message": "Gate accuracy passed: 0.93 against 0.9",
    }
    assert _statuses(flow_run) == [
        (
            "Gate {gate} passed: {score} against {threshold}",
            {
                "prefect_status.message": "Gate accuracy passed: 0.93 against 0.9",
                "prefect_status.template": "Gate {gate} passed: {score} against {threshold}",
                "prefect_status.level": "info",
                "prefect_status.sequence": 1,
                "prefect_status.attempt": 1,
                "prefect_status.gate.name": "accuracy",
                "prefect_status.gate.decision": "pass",
                "prefect_status.gate.score": 0.93,
                "prefect_status.gate.threshold": 0.9,
            },
        )
    ]
    assert task_run.name == "evaluate"
    assert _without_prefects_own(attributes_of(task_run.attributes)) == {
        **BOUND,
        **_run_attributes(flow_run),
        "cicd.pipeline.task.name": "evaluate",
        "cicd.pipeline.task.run.id": task_run_id,
        "cicd.pipeline.task.run.url.full": f"http://prefect.example/runs/task-run/{task_run_id}",
        "cicd.pipeline.task.run.result": "success",
        "prefect_status.attempt": 1,
        "prefect_status.message": "Scored bert: 93.0%",
        "prefect_status.stage": "evaluate",
    }
    said = [values["prefect_status.message"] for _, values in _statuses(task_run)]
    assert said == [
        "Task is now running",
        "Evaluating bert",
        "Evaluating bert",
        "Scored bert: 93.0%",
    ]
    assert _statuses(task_run)[-1] == (
        "Scored {model}: {accuracy:.1%}",
        {
            "model": "bert",
            "accuracy": 0.93,
            "prefect_status.message": "Scored bert: 93.0%",
            "prefect_status.template": "Scored {model}: {accuracy:.1%}",
            "prefect_status.level": "info",
            "prefect_status.stage": "evaluate",
            "prefect_status.sequence": 4,
            "prefect_status.attempt": 1,
        },
    )
    assert span_as_dict(by_kind["promote", True]) == {
        "name": "promote",
        "kind": "SPAN_KIND_INTERNAL",
        "status": (0, ""),
        "attributes": {
            **BOUND,
            **_run_attributes(flow_run),
            "prefect_status.stage": "promote",
            "cicd.pipeline.result": "success",
        },
        "events": [],
        "links": 0,
    }


def test_statuses_are_log_events_of_their_spans(
    otlp_env: dict[str, str], received: Received
) -> None:
    run_flow("deploy.py", "0.95", env=otlp_env)
    flow_run = received.wait_for_spans("RUN deploy")["RUN deploy"]
    event = received.wait_for_log("Rolled back to the previous version")
    run_id = attributes_of(flow_run.attributes)["cicd.pipeline.run.id"]
    assert {
        "name": event.event_name,
        "body": event.body.string_value,
        "severity": (event.severity_number, event.severity_text),
        "trace": (event.trace_id, event.span_id, event.flags),
        "attributes": attributes_of(event.attributes),
    } == {
        "name": "Rolled back to the previous version",
        "body": "Rolled back to the previous version",
        "severity": (17, "ERROR"),
        "trace": (flow_run.trace_id, flow_run.span_id, 1),
        "attributes": {
            **BOUND,
            "cicd.pipeline.name": "deploy",
            "cicd.pipeline.run.id": run_id,
            "prefect_status.message": "Rolled back to the previous version",
            "prefect_status.template": "Rolled back to the previous version",
            "prefect_status.level": "error",
            "prefect_status.stage": "rollback",
            "prefect_status.sequence": 2,
            "prefect_status.attempt": 1,
        },
    }
    transitions = [
        attributes_of(log.attributes)["prefect.state.name"]
        for log in received.logs
        if log.event_name == "prefect_status.transition" and log.span_id == flow_run.span_id
    ]
    assert transitions == ["Running", "Completed"]


def test_statuses_are_counted(otlp_env: dict[str, str], received: Received) -> None:
    run_flow("deploy.py", "0.95", env=otlp_env)
    metric = received.wait_for_metric("prefect_status.messages")
    counted = {
        attributes_of(point.attributes)["prefect_status.template"]: point.as_int
        for point in metric.sum.data_points
    }
    assert (metric.unit, metric.sum.is_monotonic) == ("{message}", True)
    assert counted == {
        "Task is now running": 1,
        "Evaluating {model}": 2,
        "Scored {model}: {accuracy:.1%}": 1,
        "Gate {gate} failed: {score} against {threshold}": 1,
        "Rolled back to the previous version": 1,
    }
    gates = received.wait_for_metric("prefect_status.gate.results")
    (gate,) = gates.sum.data_points
    assert (attributes_of(gate.attributes), gate.as_int) == (
        {
            "cicd.pipeline.name": "deploy",
            "deployment.environment.name": "prod",
            "prefect_status.gate.name": "accuracy",
            "prefect_status.gate.decision": "fail",
        },
        1,
    )
    (score,) = received.wait_for_metric("prefect_status.gate.score").gauge.data_points
    assert score.as_double == 0.93
    (ended,) = received.wait_for_metric("cicd.pipeline.run.duration").histogram.data_points
    assert (ended.count, attributes_of(ended.attributes)) == (
        1,
        {
            "cicd.pipeline.name": "deploy",
            "deployment.environment.name": "prod",
            "cicd.pipeline.run.state": "executing",
            "cicd.pipeline.result": "success",
        },
    )
