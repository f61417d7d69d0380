"""A task that is run in the background by a task worker is a trace of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prefect_otel_status.ids import trace_id_of
from tests.conftest import FLOWS, run_flow
from tests.support.processes import beside
from tests.support.receiver import Received, attributes_of
from tests.support.server import wait_for

pytestmark = pytest.mark.server


@pytest.mark.fault(29)
def test_a_delayed_task_is_traced_by_its_worker(
    otlp_env: dict[str, str], received: Received, tmp_path: Path
) -> None:
    command = [sys.executable, str(FLOWS / "background_task.py"), "serve"]
    log = tmp_path / "worker.log"
    with beside(command, env=otlp_env, log=log):
        wait_for(lambda: "Starting task worker" in log.read_text(), what="the task worker")
        done = run_flow("background_task.py", "delay", env=otlp_env)
        task_run_id = done.stdout.split("task run ")[1].split()[0]
        span = received.wait_for_spans("in_the_background", timeout=60)["in_the_background"]
    attributes = attributes_of(span.attributes)
    assert attributes["cicd.pipeline.task.run.id"] == task_run_id
    assert span.trace_id == trace_id_of(task_run_id).to_bytes(16, "big")
    assert span.parent_span_id == b""
    assert "Background {number}" in [event.name for event in span.events]
    assert attributes["cicd.pipeline.task.run.result"] == "success"
