"""Runs whose history alone matters: made through the server's real API, without their processes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

from prefect_otel_status import signals
from tests.support.server import wait_for

RUNNING = {"type": "RUNNING", "name": "Running"}
COMPLETED = {"type": "COMPLETED", "name": "Completed"}
FAILED = {
    "type": "FAILED",
    "name": "Failed",
    "message": "Flow run encountered an exception: ValueError: no",
}
CRASHED = {"type": "CRASHED", "name": "Crashed", "message": "the process is gone"}
CANCELLED = {"type": "CANCELLED", "name": "Cancelled"}


@dataclass
class Maker:
    """Makes runs of one flow, whose name no other test has."""

    client: httpx.Client
    flow: str
    flow_id: str
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def begin(self) -> str:
        """A run that goes on; its id."""
        run = {"flow_id": self.flow_id, "state": {"type": "PENDING", "name": "Pending"}}
        run_id: str = self._ask("POST", "/flow_runs/", json=run).json()["id"]
        self.set_state(run_id, RUNNING)
        return run_id

    def run(self, end: dict[str, str] = COMPLETED) -> str:
        """A run that has come to its END; its id."""
        run_id = self.begin()
        self.set_state(run_id, end)
        return run_id

    def over(self, state: dict[str, str]) -> str:
        """A run that is made in STATE, its end: one call instead of three; its id."""
        run = {"flow_id": self.flow_id, "state": state}
        run_id: str = self._ask("POST", "/flow_runs/", json=run).json()["id"]
        return run_id

    def set_state(self, run_id: str, state: dict[str, str]) -> None:
        """Put the run RUN_ID into STATE, whatever the server's rules say."""
        body = {"state": state, "force": True}
        self._ask("POST", f"/flow_runs/{run_id}/set_state", json=body)

    def delete(self, run_id: str) -> None:
        """Delete the run RUN_ID and its states."""
        self._ask("DELETE", f"/flow_runs/{run_id}")

    def status(self, run_id: str, template: str = "Working") -> dict[str, Any]:
        """An event with one status of the run RUN_ID, as a flow would send it."""
        now = time.time_ns()
        status = {
            "template": template,
            "message": template,
            "level": "info",
            "attempt": 1,
            "sequence": next(self._numbers),
            "timestamp": now,
        }
        return {
            "id": str(uuid4()),
            "occurred": datetime.fromtimestamp(now / 1e9, timezone.utc).isoformat(),
            "event": signals.PREFECT_EVENT,
            "resource": {
                "prefect.resource.id": f"prefect.flow-run.{run_id}",
                "prefect.resource.name": run_id,
            },
            "related": [
                {
                    "prefect.resource.id": f"prefect.flow.{self.flow_id}",
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": self.flow,
                }
            ],
            "payload": {"version": 1, "statuses": [status]},
        }

    def say(self, run_id: str, *templates: str) -> None:
        """Let the run RUN_ID say a status of each of TEMPLATES."""
        self.post_events(self.status(run_id, template) for template in templates)

    def post_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Send EVENTS in one request."""
        self._ask("POST", "/events", json=list(events))

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer = patient(self.client, method, path, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer


def patient(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """The answer; a server on SQLite that is busy, and has done nothing, is asked again."""

    def answer() -> httpx.Response | None:
        found = client.request(method, path, **request)
        return None if found.status_code == 503 else found

    return wait_for(answer, what=f"{method} {path}")  # type: ignore[return-value]


@contextmanager
def maker(api: str, **options: Any) -> Iterator[Maker]:
    """Make runs of a new flow on the server at API."""
    name = f"made-{uuid4().hex[:8]}"
    with httpx.Client(base_url=api, timeout=60, **options) as client:
        answer = patient(client, "POST", "/flows/", json={"name": name})
        assert answer.is_success, answer.text
        yield Maker(client, name, answer.json()["id"])
