"""What the demo asks of the Prefect server, over its REST API."""

from __future__ import annotations

import time
from typing import Any

import httpx

from prefect_otel_status import signals

_BUSY = frozenset({429, 503})
_TRIES = 10
_PAUSE = 0.5


class Server:
    """A Prefect server whose API is at an ADDRESS such as `http://127.0.0.1:4200/api`.

    What is asked raises `httpx.HTTPError` where there is no good answer.
    """

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
        answer = self._ask("GET", f"/deployments/name/{flow}/{deployment}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else str(_json(answer)["id"])

    def start_run(self, deployment_id: str, name: str, parameters: dict[str, Any]) -> str:
        """Have the deployment's runner start a run, and return its id. Safe to repeat."""
        wanted = {"name": name, "parameters": parameters, "idempotency_key": name}
        path = f"/deployments/{deployment_id}/create_flow_run"
        return str(_json(self._ask("POST", path, wanted))["id"])

    def state_of(self, run_id: str) -> dict[str, Any]:
        """The state of a run: its `name`, `type` and `message`."""
        state: dict[str, Any] = _json(self._ask("GET", f"/flow_runs/{run_id}"))["state"]
        return state

    def statuses_of(self, run_id: str) -> list[dict[str, Any]]:
        """What a run and its tasks said, in the order of time, out of their newest 50 events."""
        about = {
            "event": {"name": [signals.PREFECT_EVENT]},
            "any_resource": {"id": [f"prefect.flow-run.{run_id}"]},
        }
        answer = self._ask("POST", "/events/filter", {"filter": about, "limit": 50})
        events = _json(answer)["events"]
        said = [status for event in events for status in event["payload"]["statuses"]]
        return sorted(said, key=lambda status: int(status["timestamp"]))

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer, once the server is not busy: its SQLite has one writer at a time."""
        for _ in range(_TRIES):
            answer = self._http.request(method, path, json=body)
            if answer.status_code not in _BUSY:
                break
            time.sleep(_PAUSE)
        return answer


def _json(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()
