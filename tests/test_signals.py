"""Every name that is sent, and the names Prometheus gives it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import prefect_otel_status
from prefect_otel_status import signals
from prefect_otel_status.signals import Attribute, EventName, Kind, Metric, SpanName, declared

METRICS = [metric for metric in declared(Metric) if isinstance(metric, Metric)]
ATTRIBUTES = [found for found in declared(Attribute) if isinstance(found, Attribute)]

PROMETHEUS_NAMES = {
    "cicd.pipeline.run.duration": "cicd_pipeline_run_duration_seconds",
    "cicd.pipeline.run.errors": "cicd_pipeline_run_errors_total",
    "prefect_status.messages": "prefect_status_messages_total",
    "prefect_status.stage.duration": "prefect_status_stage_duration_seconds",
    "prefect_status.gate.results": "prefect_status_gate_results_total",
    "prefect_status.gate.score": "prefect_status_gate_score",
    "prefect_status.gate.threshold": "prefect_status_gate_threshold",
    "prefect_status.progress": "prefect_status_progress_ratio",
    "prefect_status.last_message.timestamp": "prefect_status_last_message_timestamp_seconds",
    "prefect.flow_run.transitions": "prefect_flow_run_transitions_total",
    "prefect.task_run.duration": "prefect_task_run_duration_seconds",
    "prefect.task_run.retries": "prefect_task_run_retries_total",
    "cicd.pipeline.run.active": "cicd_pipeline_run_active",
    "cicd.worker.count": "cicd_worker_count",
    "prefect.flow_run.queue.duration": "prefect_flow_run_queue_duration_seconds",
    "prefect.flow_run.late": "prefect_flow_run_late",
    "prefect.deployment.oldest_active_start.timestamp": (
        "prefect_deployment_oldest_active_start_timestamp_seconds"
    ),
    "prefect.deployment.last_run.timestamp": "prefect_deployment_last_run_timestamp_seconds",
    "prefect.deployment.last_status.timestamp": "prefect_deployment_last_status_timestamp_seconds",
    "prefect.deployment.last_success.timestamp": (
        "prefect_deployment_last_success_timestamp_seconds"
    ),
    "prefect.deployment.expected_interval": "prefect_deployment_expected_interval_seconds",
    "prefect.deployment.info": "prefect_deployment_info",
    "prefect_status.bridge.events": "prefect_status_bridge_events_total",
    "prefect_status.bridge.missed": "prefect_status_bridge_missed_total",
    "prefect_status.bridge.status_gaps": "prefect_status_bridge_status_gaps_total",
    "prefect_status.bridge.bad_events": "prefect_status_bridge_bad_events_total",
    "prefect_status.bridge.spans": "prefect_status_bridge_spans_total",
    "prefect_status.bridge.exports": "prefect_status_bridge_exports_total",
    "prefect_status.bridge.drops": "prefect_status_bridge_drops_total",
    "prefect_status.bridge.overflow": "prefect_status_bridge_overflow_total",
    "prefect_status.bridge.redactions": "prefect_status_bridge_redactions_total",
    "prefect_status.bridge.outbox.items": "prefect_status_bridge_outbox_items",
    "prefect_status.bridge.outbox.size": "prefect_status_bridge_outbox_size_bytes",
    "prefect_status.bridge.outbox.age": "prefect_status_bridge_outbox_age_seconds",
    "prefect_status.bridge.outbox.set_aside": "prefect_status_bridge_outbox_set_aside",
    "prefect_status.bridge.lag": "prefect_status_bridge_lag_seconds",
    "prefect_status.bridge.websocket.connected": "prefect_status_bridge_websocket_connected",
    "prefect_status.bridge.store.size": "prefect_status_bridge_store_size_bytes",
    "prefect_status.bridge.history_gap": "prefect_status_bridge_history_gap_seconds_total",
    "prefect_status.process.drops": "prefect_status_process_drops_total",
    "prefect_status.process.flags": "prefect_status_process_flags_total",
    "prefect_status.process.failures": "prefect_status_process_failures_total",
    "prefect_status.process.overflow": "prefect_status_process_overflow_total",
    "prefect_status.process.redactions": "prefect_status_process_redactions_total",
}


def test_every_metric_has_the_name_prometheus_gives_it() -> None:
    assert {metric.name: metric.prometheus_name for metric in METRICS} == PROMETHEUS_NAMES


@pytest.mark.parametrize(
    ("kind", "unit", "name"),
    [
        (Kind.GAUGE, "By", "a_b_bytes"),
        (Kind.GAUGE, "1", "a_b_ratio"),
        (Kind.GAUGE, "", "a_b"),
        (Kind.HISTOGRAM, "s", "a_b_seconds"),
        (Kind.COUNTER, "s", "a_b_seconds_total"),
        (Kind.COUNTER, "1", "a_b_total"),
        (Kind.UP_DOWN_COUNTER, "{run}", "a_b"),
    ],
)
def test_unit_and_kind_become_suffixes(kind: Kind, unit: str, name: str) -> None:
    assert Metric("a.b", kind, unit, (), "Words.").prometheus_name == name


def test_the_labels_of_a_metric_are_its_attributes_in_order() -> None:
    assert signals.MESSAGES.label_names == (
        "cicd_pipeline_name",
        "prefect_deployment_name",
        "deployment_environment_name",
        "prefect_status_stage",
        "prefect_status_level",
        "prefect_status_template",
    )


def test_every_label_is_one_prometheus_allows() -> None:
    labels = {label for metric in METRICS for label in metric.label_names}
    assert {label for label in labels if not re.fullmatch(r"[a-zA-Z_]\w*", label)} == set()


def test_no_run_id_is_a_label() -> None:
    ids = {signals.RUN_ID, signals.TASK_RUN_ID, signals.PREFECT_RUN_ID, signals.STATE_ID}
    assert {label for metric in METRICS for label in metric.labels} & ids == set()


@pytest.mark.parametrize("kind", [Attribute, EventName, Metric, SpanName])
def test_every_name_is_declared_once_and_described_in_a_sentence(kind: type) -> None:
    found = declared(kind)
    names = [item.name for item in found]  # type: ignore[attr-defined]
    assert len(names) == len(set(names)) > 0
    assert [item for item in found if not item.description.endswith(".")] == []  # type: ignore[attr-defined]


def test_declared_keeps_the_order_of_the_module() -> None:
    events = [signals.STATUS_EVENT, signals.TRANSITION_EVENT]
    assert declared(EventName)[:2] == events


def test_the_bounds_of_durations_rise_from_a_tenth_of_a_second_to_a_day() -> None:
    bounds = signals.DURATION_BOUNDS
    assert bounds == tuple(sorted(set(bounds)))
    assert (bounds[0], bounds[-1]) == (0.1, 86_400.0)


def test_short_names_of_bind_stand_for_declared_attributes() -> None:
    assert signals.BOUND_NAMES == {
        "environment": "deployment.environment.name",
        "model": "model.name",
        "version": "model.version",
    }


def test_no_other_module_spells_the_name_of_a_signal() -> None:
    names = {item.name for item in (*METRICS, *ATTRIBUTES)}
    spelled = {
        (path.name, text)
        for path, text in _constants()
        if path.name != "signals.py" and text in names
    }
    assert spelled == set()


def _constants() -> Iterator[tuple[Path, str]]:
    for path in Path(prefect_otel_status.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
