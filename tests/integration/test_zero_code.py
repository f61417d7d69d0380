"""A flow that knows nothing of us is traced, in each way to start one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from prefect_otel_status.ids import trace_id_of
from tests.conftest import FLOWS, run_flow
from tests.support.processes import beside
from tests.support.receiver import Received, attributes_of, span_as_dict
from tests.support.server import wait_for

pytestmark = pytest.mark.server

BIN = Path(sys.executable).parent


def _assert_traced(received: Received) -> None:
    spans = received.wait_for_spans("RUN plain", "greet", timeout=60)
    flow_run, task_run = spans["RUN plain"], spans["greet"]
    run_id = attributes_of(flow_run.attributes)["cicd.pipeline.run.id"]
    assert flow_run.trace_id == task_run.trace_id == trace_id_of(run_id).to_bytes(16, "big")
    assert task_run.parent_span_id == flow_run.span_id
    assert span_as_dict(flow_run)["kind"] == "SPAN_KIND_SERVER"
    assert attributes_of(flow_run.attributes)["cicd.pipeline.result"] == "success"
    assert attributes_of(task_run.attributes)["cicd.pipeline.task.run.result"] == "success"


def test_the_prefect_plugin(otlp_env: dict[str, str], received: Received) -> None:
    run_flow("plain.py", env={**otlp_env, "PREFECT_PLUGINS_ENABLED": "1"})
    _assert_traced(received)
    bodies = wait_for(lambda: [log for log in received.logs if not log.event_name], what="lines")
    greet = received.wait_for_spans("greet")["greet"]
    assert [(b.body.string_value, b.span_id) for b in bodies] == [("Greeting Ada", greet.span_id)]
    transitions = received.wait_for_metric("prefect.flow_run.transitions")
    assert len(transitions.sum.data_points) == 2


@pytest.mark.parametrize("plugins", ["0", "1"])
def test_opentelemetry_instrument(
    plugins: str, otlp_env: dict[str, str], received: Received
) -> None:
    env = {**otlp_env, "PREFECT_PLUGINS_ENABLED": plugins}
    command = [str(BIN / "opentelemetry-instrument"), sys.executable, str(FLOWS / "plain.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "Hello Ada" in done.stdout, done.stderr
    assert "Plugin otel-status failed" not in done.stderr
    _assert_traced(received)


def test_a_served_flow(otlp_env: dict[str, str], received: Received, tmp_path: Path) -> None:
    env = {**otlp_env, "PREFECT_PLUGINS_ENABLED": "1"}
    command = [sys.executable, str(FLOWS / "plain.py"), "serve"]
    with beside(command, env=env, log=tmp_path / "serve.log"):
        _run_deployment(env["PREFECT_API_URL"], "plain/served")
        _assert_traced(received)
    flow_run = received.wait_for_spans("RUN plain")["RUN plain"]
    assert attributes_of(flow_run.attributes)["prefect.deployment.name"] == "served"


@pytest.mark.long
def test_a_process_worker(otlp_env: dict[str, str], received: Received, tmp_path: Path) -> None:
    env = {**otlp_env, "PREFECT_PLUGINS_ENABLED": "1"}
    prefect = str(BIN / "prefect")
    _quietly([prefect, "work-pool", "create", "--type", "process", "zero-code", "--overwrite"], env)
    _quietly([sys.executable, "-c", _DEPLOY.format(folder=str(FLOWS))], env)
    command = [prefect, "worker", "start", "--pool", "zero-code"]
    with beside(command, env=env, log=tmp_path / "worker.log"):
        _run_deployment(env["PREFECT_API_URL"], "plain/worked")
        _assert_traced(received)


def test_it_can_be_undone() -> None:
    code = """
import prefect.telemetry.run_telemetry as telemetry, threading
from prefect.flows import Flow
from prefect.tasks import Task
from prefect.client.orchestration import SyncPrefectClient
from concurrent.futures import ThreadPoolExecutor
places = [(Flow, "__init__"), (Task, "__init__"), (telemetry, "get_tracer"),
          (telemetry.RunTelemetry, "update_run_name"), (threading.Thread, "start"),
          (ThreadPoolExecutor, "submit"),
          (SyncPrefectClient, "create_flow_run_from_deployment")]
look = lambda: [getattr(owner, name) for owner, name in places]
before = look()
from prefect_otel_status import instrument, uninstrument
instrument(); instrument()
assert all(old is not new for old, new in zip(before, look()))
uninstrument()
assert before == look()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


_DEPLOY = """
from prefect import flow
flow.from_source(source={folder!r}, entrypoint="plain.py:plain").deploy(
    name="worked", work_pool_name="zero-code", build=False, push=False, print_next_steps=False)
"""


def _quietly(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _run_deployment(api: str, name: str) -> None:
    """Start a run of the deployment NAME, once it is there."""

    def found() -> str | None:
        answer = httpx.get(f"{api}/deployments/name/{name}", timeout=60)
        return answer.json()["id"] if answer.status_code == 200 else None

    deployment = wait_for(found, what=f"deployment {name}")
    answer = httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json={}, timeout=60)
    assert answer.status_code in (200, 201), answer.text
