"""What the demo asks of the Prefect server, over its REST API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from prefect_otel_status import signals


class Server:
    """A Prefect server at an ADDRESS such as `http://127.0.0.1:4200/api`."""

    def __init__(self, address: str) -> None:
        self.address = address
        # A proxy of the environment has no business between here and loopback.
        self._http = httpx.Client(base_url=address, timeout=10, trust_env=False)

    def is_healthy(self) -> bool:
        """Whether it answers yet."""
        try:
            return self._http.get("/health").is_success
        except httpx.TransportError:
            return False

    def deployment_id(self, flow: str, deployment: str) -> str | None:
        """The id of a deployment; None until it is there."""
        answer = self._http.get(f"/deployments/name/{flow}/{deployment}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else str(_json(answer)["id"])

    def start_run(self, deployment_id: str, name: str, parameters: dict[str, Any]) -> str:
        """Have the deployment's runner start a run, and return its id."""
        wanted = {"name": name, "parameters": parameters}
        path = f"/deployments/{deployment_id}/create_flow_run"
        return str(_json(self._http.post(path, json=wanted))["id"])

    def state_of(self, run_id: str) -> dict[str, Any]:
        """The state of a run: `name`, `type`, `message`."""
        state: dict[str, Any] = _json(self._http.get(f"/flow_runs/{UUID(run_id)}"))["state"]
        return state

    def last_status(self, run_id: str, *, before: int) -> dict[str, Any] | None:
        """What a run and its tasks said last BEFORE a time, in nanoseconds since 1970."""
        events = self.events_of(run_id, signals.PREFECT_EVENT)
        said = [status for event in events for status in event["payload"]["statuses"]]
        earlier = [status for status in said if status["timestamp"] < before]
        return max(earlier, key=lambda status: int(status["timestamp"]), default=None)

    def events_of(self, run_id: str, name: str) -> list[dict[str, Any]]:
        """The newest 50 events called NAME that a run has to do with."""
        about = {"event": {"name": [name]}, "any_resource": {"id": [f"prefect.flow-run.{run_id}"]}}
        answer = self._http.post("/events/filter", json={"filter": about, "limit": 50})
        events: list[dict[str, Any]] = _json(answer)["events"]
        return events


def _json(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()
