"""The webhook receiver, as Alertmanager uses it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from examples.webhook.receiver import KEPT, LARGEST, Receiver

LABELS = {"alertname": "DeploymentFailing", "severity": "warning", "cicd_pipeline_name": "deploy"}
ANNOTATIONS = {
    "summary": "deploy/prod has failed\n3 times",
    "status_url": "http://127.0.0.1:9464/deployments?flow=deploy&deployment=prod",
    "runbook_url": "http://127.0.0.1:9464/runbooks/DeploymentFailing",
}


@pytest.fixture
def receiver() -> Iterator[str]:
    """A receiver that runs; its address."""
    with Receiver("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


def _message(**changes: Any) -> dict[str, Any]:
    alert = {"status": "firing", "labels": LABELS, "annotations": ANNOTATIONS, **changes}
    return {"version": "4", "alerts": [alert]}


def test_an_alert_is_a_line_and_is_kept(receiver: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = httpx.post(f"{receiver}/ticket", json=_message())
    assert (answer.status_code, answer.json()) == (200, {"received": 1})
    assert capsys.readouterr().out == (
        "ticket: firing: DeploymentFailing | deploy/prod has failed 3 times"
        " | http://127.0.0.1:9464/deployments?flow=deploy&deployment=prod"
        " | http://127.0.0.1:9464/runbooks/DeploymentFailing\n"
    )
    assert httpx.get(receiver).json() == [
        {
            "route": "ticket",
            "status": "firing",
            "labels": LABELS,
            "annotations": ANNOTATIONS,
        }
    ]


def test_without_a_status_page_the_line_leads_to_the_dashboard(
    receiver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"summary": "The bridge is down", "dashboard_url": "http://grafana/d/prefect-bridge"}
    httpx.post(f"{receiver}/page", json=_message(status="resolved", annotations=found))
    assert capsys.readouterr().out == (
        "page: resolved: DeploymentFailing | The bridge is down | http://grafana/d/prefect-bridge\n"
    )


def test_only_the_latest_are_kept(receiver: str) -> None:
    many = _message()["alerts"] * KEPT
    httpx.post(f"{receiver}/old", json={"alerts": many})
    httpx.post(f"{receiver}/new", json=_message())
    found = httpx.get(receiver).json()
    assert (len(found), found[0]["route"], found[-1]["route"]) == (KEPT, "old", "new")


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"alerts": [{"status": "firing"}]}'])
def test_what_is_no_webhook_is_refused(receiver: str, body: bytes) -> None:
    assert httpx.post(receiver, content=body).status_code == 400
    assert httpx.get(receiver).json() == []


@pytest.mark.parametrize("length", [0, LARGEST + 1])
def test_a_body_of_no_or_too_great_a_size_is_not_read(receiver: str, length: int) -> None:
    answer = httpx.post(receiver, content=b" " * length)
    assert answer.status_code == 413
