"""A long-lived serve() process: scraped by a real Prometheus, killed runs, other processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_otel_status.ids import trace_id_of
from tests.conftest import FLOWS, ROOT, run_flow
from tests.support.processes import beside, program
from tests.support.receiver import Received, attributes_of, otlp_receiver
from tests.support.server import environment, free_port, wait_for

pytestmark = [pytest.mark.server, pytest.mark.long]


@dataclass
class Served:
    """A deployment that is served, and where its numbers and signals come out."""

    api: str
    metrics: str
    received: Received
    env: dict[str, str]

    def run(self, **parameters: Any) -> str:
        """Run the deployment with PARAMETERS to its end; the id of the run."""
        deployment = wait_for(self._deployment, what="the deployment")
        answer = httpx.post(
            f"{self.api}/deployments/{deployment}/create_flow_run", json={"parameters": parameters}
        )
        run_id: str = answer.json()["id"]
        wait_for(lambda: self._is_over(run_id), timeout=60, what=f"the end of run {run_id}")
        return run_id

    def _deployment(self) -> str | None:
        answer = httpx.get(f"{self.api}/deployments/name/served-model/prod", timeout=60)
        return answer.json()["id"] if answer.status_code == 200 else None

    def _is_over(self, run_id: str) -> bool:
        state = httpx.get(f"{self.api}/flow_runs/{run_id}", timeout=60).json()["state_type"]
        return state in ("COMPLETED", "FAILED", "CRASHED")


@pytest.fixture(scope="module")
def served(
    prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    shared = folder / "multiprocess"
    shared.mkdir()
    port = free_port()
    with otlp_receiver() as received:
        env = environment(
            prefect_home,
            PREFECT_API_URL=prefect_api,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            PREFECT_OTEL_STATUS_PROMETHEUS="true",
            PROMETHEUS_MULTIPROC_DIR=str(shared),
            PYTHONPATH=str(ROOT),
        )
        command = [sys.executable, str(FLOWS / "served.py"), str(port)]
        with beside(command, env=env, log=folder / "serve.log"):
            yield Served(prefect_api, f"127.0.0.1:{port}", received, env)


@pytest.fixture(scope="module")
def prometheus(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that scrapes the served deployment; its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: flows, static_configs: [{{targets: ['{served.metrics}']}}]}}\n"
    )
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with beside(command, env={}, log=folder / "prometheus.log"):
        yield f"http://{address}"


def _query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    try:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=60)
    except httpx.TransportError:
        return []
    found: list[dict[str, Any]] = answer.json().get("data", {}).get("result", [])
    return found


def test_prometheus_sees_what_the_flows_processes_counted(served: Served, prometheus: str) -> None:
    for accuracy in (0.9, 0.95, 0.5):
        served.run(accuracy=accuracy)
    decided = wait_for(
        lambda: _complete(_query(prometheus, "prefect_status_gate_results_total"), 3),
        what="three decisions of the gate",
    )
    assert decided == {
        ("served-model", "prod", "prod", "accuracy", "pass"): 2.0,
        ("served-model", "prod", "prod", "accuracy", "fail"): 1.0,
    }
    messages = _query(
        prometheus, 'sum(prefect_status_messages_total{prefect_status_stage="evaluate"})'
    )
    assert messages[0]["value"][1] == "6"  # a score and a decision each
    by_result = "sum by (cicd_pipeline_result) (cicd_pipeline_run_duration_seconds_count)"
    wait_for(lambda: len(_query(prometheus, by_result)) == 2, what="both results")
    ended = _query(prometheus, by_result)
    assert {item["metric"]["cicd_pipeline_result"]: item["value"][1] for item in ended} == {
        "success": "2",
        "failure": "1",
    }
    errors = _query(prometheus, "cicd_pipeline_run_errors_total")
    assert [(item["metric"]["error_type"], item["value"][1]) for item in errors] == [
        ("RuntimeError", "1")
    ]


def _complete(found: list[dict[str, Any]], count: int) -> dict[tuple[str, ...], float] | None:
    labels = ("cicd_pipeline_name", "prefect_deployment_name", "deployment_environment_name",
              "prefect_status_gate_name", "prefect_status_gate_decision")  # fmt: skip
    values = {
        tuple(item["metric"].get(label, "") for label in labels): float(item["value"][1])
        for item in found
    }
    return values if sum(values.values()) >= count else None


def test_the_runner_tells_of_a_killed_run(served: Served) -> None:
    run_id = served.run(killed=True)

    def crashed() -> Any:
        for log in list(served.received.logs):
            values = attributes_of(log.attributes)
            if (
                values.get("prefect.state.name") == "Crashed"
                and values["cicd.pipeline.run.id"] == run_id
            ):
                return log
        return None

    log = wait_for(crashed, what="the transition to Crashed")
    assert (
        log.event_name,
        log.severity_text,
        attributes_of(log.attributes)["cicd.pipeline.result"],
    ) == (
        "prefect_status.transition",
        "ERROR",
        "error",
    )
    # By the run's label the runner knows the trace that the dead process was in.
    assert log.trace_id == trace_id_of(run_id).to_bytes(16, "big")


def test_bound_values_reach_the_process_of_a_deployment(served: Served) -> None:
    run_flow("starts_deployment.py", env=served.env)
    parent = served.received.wait_for_spans("RUN starts")["RUN starts"]
    child = wait_for(
        lambda: next(
            (
                s
                for s in list(served.received.spans)
                if s.name == "RUN served-model" and s.trace_id == parent.trace_id
            ),
            None,
        ),
        what="the deployment's run in the trace of its caller",
    )
    assert child is not None
    attributes = attributes_of(child.attributes)
    assert (attributes["model.name"], attributes["team"]) == ("bert", "search")
    (task,) = [
        s for s in served.received.spans if s.name == "score" and s.trace_id == parent.trace_id
    ]
    assert attributes_of(task.attributes)["model.name"] == "bert"
