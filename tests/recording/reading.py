"""Reads everything that a server knows of its runs, and changes nothing of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

Json = dict[str, Any]

_ALL_TIMES = {"since": "1970-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
_RUNS_PAGE = 200
_EVENTS_PAGE = 50


class Api:
    """The REST interface of the server at ADDRESS; every answer that is an error raises."""

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=address, timeout=30)

    def get(self, path: str, **parameters: str) -> Any:
        return self._http.get(path, params=parameters).raise_for_status().json()

    def post(self, path: str, body: Json) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()


def everything(api: Api) -> Json:
    """All runs, states, events, flows and deployments, as the server answers them."""
    flow_runs = _few(api.post("/flow_runs/filter", {"sort": "START_TIME_ASC"}))
    task_runs = _few(api.post("/task_runs/filter", {"sort": "ID_DESC"}))
    return {
        "flow_runs": flow_runs,
        "flow_run_states": {run["id"]: _states(api, "flow", run["id"]) for run in flow_runs},
        "task_runs": task_runs,
        "task_run_states": {run["id"]: _states(api, "task", run["id"]) for run in task_runs},
        "events": events(api),
        "flows": _few(api.post("/flows/filter", {})),
        "deployments": _few(api.post("/deployments/filter", {})),
    }


def events(api: Api) -> list[Json]:
    """Every event, the oldest first."""
    wanted = {"filter": {"occurred": _ALL_TIMES, "order": "ASC"}, "limit": _EVENTS_PAGE}
    page = api.post("/events/filter", wanted)
    found: list[Json] = page["events"]
    while page["next_page"]:
        token = parse_qs(urlsplit(page["next_page"]).query)["page-token"][0]
        page = api.get("/events/filter/next", **{"page-token": token})
        found += page["events"]
    return found


def fingerprint(api: Api) -> Json:
    """What changes as long as something is still on its way into the server."""
    counted = api.post("/events/filter", {"filter": {"occurred": _ALL_TIMES}, "limit": 1})
    return {
        "events": counted["total"],
        "flow_runs": [run["state_id"] for run in api.post("/flow_runs/filter", {})],
        "task_runs": [run["state_id"] for run in api.post("/task_runs/filter", {})],
    }


def _states(api: Api, kind: str, run_id: str) -> list[Json]:
    found: list[Json] = api.get(f"/{kind}_run_states/", **{f"{kind}_run_id": run_id})
    return found


def _few(found: list[Json]) -> list[Json]:
    assert len(found) < _RUNS_PAGE, "there is a second page; keep the scenario small"
    return found
