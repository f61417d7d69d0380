"""A real failing deployment, through the bridge, Prometheus and Alertmanager, to a webhook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from prefect_otel_status.monitoring import rules, stack
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import JOB
from tests.conftest import FLOWS, ROOT
from tests.support.alertmanager import Webhook, alertmanager, webhook
from tests.support.bridge import Bridge, bridge
from tests.support.processes import beside
from tests.support.prometheus import Prometheus, prometheus
from tests.support.server import environment, free_port, prefect_server, wait_for

# Waits for several real processes, and for an alert that fires after a minute.
pytestmark = [pytest.mark.server, pytest.mark.timeout(500)]

FLOW, DEPLOYMENT = "served-model", "prod"


@dataclass
class Stack:
    """All parts at work."""

    api: str
    bridge: Bridge
    prometheus: Prometheus
    webhook: Webhook

    def run(self, **parameters: Any) -> str:
        """Run the deployment with PARAMETERS until the bridge has settled it; the run's id."""
        deployment = wait_for(self._deployment, timeout=120, what="the deployment")
        body = {"parameters": parameters}
        address = f"{self.api}/deployments/{deployment}/create_flow_run"

        def created() -> str | None:
            # A server on SQLite that is busy answers 503, and has done nothing.
            answer = httpx.post(address, json=body, timeout=60)
            return answer.json()["id"] if answer.is_success else None

        run_id = str(wait_for(created, timeout=60, what="a run"))
        self.bridge.wait_until_settled([run_id])
        return run_id

    def _deployment(self) -> str | None:
        answer = httpx.get(f"{self.api}/deployments/name/{FLOW}/{DEPLOYMENT}", timeout=60)
        return answer.json()["id"] if answer.status_code == 200 else None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    """A server, a served deployment, a bridge, Prometheus with the rules, Alertmanager, a webhook.

    On a server of its own: another test's failures would page here too.
    """
    home = tmp_path / "prefect"
    home.mkdir()
    with prefect_server(home) as api, webhook() as received:
        env = environment(
            home,
            PREFECT_API_URL=api,
            PYTHONPATH=str(ROOT),
            PREFECT_OTEL_STATUS_FOLDER=str(tmp_path / "telemetry"),
        )
        shared = tmp_path / "multiprocess"  # what this flow's process needs for its own metrics
        shared.mkdir()
        served = [sys.executable, str(FLOWS / "served.py"), str(free_port())]
        with (
            beside(
                served,
                env={**env, "PROMETHEUS_MULTIPROC_DIR": str(shared)},
                log=tmp_path / "serve.log",
            ),
            bridge(env, tmp_path / "bridge") as one,
            alertmanager(tmp_path / "alertmanager", _to(received)) as manager,
            prometheus(
                tmp_path / "prometheus",
                f"127.0.0.1:{one.port}",
                job=JOB,
                rules=_rules(tmp_path, Links(bridge=one.address)),
                alertmanager=manager,
            ) as scraped,
        ):
            one.wait_ready()
            yield Stack(api, one, scraped, received)


def _rules(folder: Path, links: Links) -> list[Path]:
    found = []
    for name, text in rules.files(links).items():
        path = folder / Path(name).name
        path.write_text(text)
        found.append(path)
    return found


def _to(received: Webhook) -> str:
    """The stack's own Alertmanager, but all it sends goes to RECEIVED, and within a second."""
    config = yaml.safe_load(stack.files(Links())["alertmanager/alertmanager.yml"])
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = received.address
    _hasten(config["route"])
    return str(yaml.safe_dump(config))


def _hasten(route: dict[str, Any]) -> None:
    for name in ("group_wait", "group_interval"):
        route[name] = "1s"
    for below in route.get("routes", ()):
        _hasten(below)


def test_a_failing_deployment_fires_is_told_and_resolves_after_a_good_run(
    running: Stack,
) -> None:
    running.run()
    failed = running.run(accuracy=0.1)
    wait_for(lambda: running.webhook.named("DeploymentFailing"), timeout=180, what="the alert")
    (alert, *_) = running.webhook.named("DeploymentFailing")
    assert alert["labels"] == {
        "alertname": "DeploymentFailing",
        "severity": "warning",
        "cicd_pipeline_name": FLOW,
        "prefect_deployment_name": DEPLOYMENT,
        "deployment_environment_name": "prod",
    }
    notes = alert["annotations"]
    assert notes["summary"] == f"The latest run of {FLOW}/{DEPLOYMENT} (prod) failed"
    # Its links lead to pages that are there, and that speak of this deployment.
    assert "## What to do" in httpx.get(notes["runbook_url"], timeout=60).text
    page = httpx.get(notes["status_url"], timeout=60).text
    assert "Its latest run failed" in page
    assert f'href="/runs/{failed}"' in page
    run = httpx.get(f"{running.bridge.address}/runs/{failed}", timeout=60).text
    assert running.bridge.run(failed)["trace_id"] in run
    dashboard = urlsplit(notes["dashboard_url"])
    assert dashboard.path == "/d/prefect-health"
    assert parse_qs(dashboard.query) == {
        "var-flow": [FLOW],
        "var-deployment": [DEPLOYMENT],
        "var-environment": ["prod"],
    }
    running.run()
    wait_for(
        lambda: running.webhook.named("DeploymentFailing", "resolved"),
        timeout=120,
        what="the alert's end",
    )
    _assert_counted_as_it_was(running.prometheus)
    told = {alert["labels"]["alertname"] for alert in running.webhook.alerts}
    assert told <= {"DeploymentFailing", "Watchdog"}, "one cause, one alert"


def _assert_counted_as_it_was(scraped: Prometheus) -> None:
    """By Prometheus' own scrapes one run failed: last minus first, and `increase()` rounded."""
    failures = f'cicd_pipeline_run_errors_total{{cicd_pipeline_name="{FLOW}"}}'
    samples = [value for _, value in scraped.samples(failures)]
    assert samples[-1] - samples[0] == 1
    increase = scraped.value(f"round(increase({failures}[10m]))")
    assert increase == 1
