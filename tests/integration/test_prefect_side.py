"""What Prefect itself keeps of statuses: durable events, lines of the run log, a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_otel_status.ids import hex_trace_id, trace_id_of
from tests.conftest import ROOT, run_flow
from tests.support.server import environment, wait_for

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def chatty(prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run of tests/flows/chatty.py."""
    env = environment(
        prefect_home,
        PREFECT_API_URL=prefect_api,
        PREFECT_OTEL_STATUS_FOLDER=str(tmp_path_factory.mktemp("telemetry")),
        PREFECT_OTEL_STATUS_TRACE_URL="http://jaeger.example/trace/{trace_id}",
        PYTHONPATH=str(ROOT),
    )
    run_flow("chatty.py", env=env)
    runs = _post(prefect_api, "/flow_runs/filter", {"flows": {"name": {"any_": ["chatty"]}}})
    run_id: str = runs[0]["id"]
    return run_id


def _post(api: str, path: str, body: dict[str, Any]) -> Any:
    answer = httpx.post(api + path, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _events(api: str, resource: str) -> list[dict[str, Any]]:
    body = {
        "filter": {
            "event": {"name": ["prefect-otel-status.statuses"]},
            "resource": {"id": [resource]},
            "order": "ASC",
        },
        "limit": 50,
    }
    found: list[dict[str, Any]] = _post(api, "/events/filter", body)["events"]
    return found


def _statuses(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [status for event in events for status in event["payload"]["statuses"]]


def test_no_status_is_lost_and_they_are_numbered(prefect_api: str, chatty: str) -> None:
    resource = f"prefect.flow-run.{chatty}"
    wait_for(lambda: len(_statuses(_events(prefect_api, resource))) >= 202, what="202 statuses")
    events = _events(prefect_api, resource)
    said = _statuses(events)
    assert [status["sequence"] for status in said] == list(range(1, 203))
    assert [said[0]["message"], said[-2]["message"], said[-1]["message"]] == [
        "Message 0",
        "It went wrong",
        "Done",
    ]
    first = said[1]
    assert {name: first[name] for name in first if name not in ("timestamp", "span_id")} == {
        "template": "Message {number}",
        "message": "Message 1",
        "level": "info",
        "attempt": 1,
        "sequence": 2,
        "attributes": {"number": 1},
        "trace_id": hex_trace_id(trace_id_of(chatty)),
    }
    assert len(events) <= 8  # the first, the error, the end, and few between


def test_an_event_belongs_to_its_run_and_no_other(prefect_api: str, chatty: str) -> None:
    (event, *_) = _events(prefect_api, f"prefect.flow-run.{chatty}")
    roles = {related["prefect.resource.role"] for related in event["related"]}
    assert "flow" in roles
    assert "task-run" not in roles
    runs = _post(
        prefect_api, "/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": [chatty]}}}
    )
    (task_event, *_) = _events(prefect_api, f"prefect.task-run.{runs[0]['id']}")
    related = {r["prefect.resource.role"]: r["prefect.resource.id"] for r in task_event["related"]}
    assert related["flow-run"] == f"prefect.flow-run.{chatty}"
    assert _statuses([task_event])[0]["sequence"] == 1


def test_each_status_is_a_line_of_the_run_log_once(prefect_api: str, chatty: str) -> None:
    body = {"logs": {"flow_run_id": {"any_": [chatty]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}

    def lines() -> list[dict[str, Any]]:
        pages = [_post(prefect_api, "/logs/filter", {**body, "offset": at}) for at in (0, 200)]
        return [line for page in pages for line in page]

    wait_for(lambda: any(line["message"] == "Done" for line in lines()), what="the last line")
    messages = [line["message"] for line in lines()]
    assert [m for m in messages if m.startswith("Message ")] == [f"Message {n}" for n in range(200)]
    assert [m for m in messages if m.startswith("Task message")] == [
        f"Task message {n}" for n in range(50)
    ]
    levels = {line["message"]: line["level"] for line in lines()}
    assert (levels["It went wrong"], levels["Done"]) == (40, 20)
    assert not [message for message in messages if "Running hook" in message]


def test_the_run_links_to_its_trace_once(prefect_api: str, chatty: str) -> None:
    def links() -> list[dict[str, Any]]:
        body = {"artifacts": {"flow_run_id": {"any_": [chatty]}}}
        found: list[dict[str, Any]] = _post(prefect_api, "/artifacts/filter", body)
        return found

    (link,) = wait_for(links, what="the link artifact")
    assert (link["key"], link["type"]) == ("trace", "markdown")
    assert f"http://jaeger.example/trace/{hex_trace_id(trace_id_of(chatty))}" in link["data"]


def test_the_server_schedules_runs(prefect_api: str) -> None:
    """With a release of SQLAlchemy that Prefect does not know it makes none."""
    flow = _make(prefect_api, "/flows/", {"name": "scheduled"})
    schedule = {"schedule": {"interval": 3600}, "active": True}
    wanted = {"name": "hourly", "flow_id": flow, "schedules": [schedule]}
    deployment = _make(prefect_api, "/deployments/", wanted)
    mine = {"flows": {"id": {"any_": [flow]}}}
    wait_for(
        lambda: _post(prefect_api, "/flow_runs/count", mine) > 0, timeout=60, what="runs to come"
    )
    # With its runs: other tests look at all that there is.
    assert httpx.delete(f"{prefect_api}/deployments/{deployment}", timeout=60).is_success
    assert httpx.delete(f"{prefect_api}/flows/{flow}", timeout=60).is_success


def _make(api: str, path: str, body: dict[str, Any]) -> str:
    answer = httpx.post(api + path, json=body, timeout=60)
    assert answer.is_success, answer.text
    made: str = answer.json()["id"]
    return made
