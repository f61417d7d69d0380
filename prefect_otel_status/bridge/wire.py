"""What Prefect's API sends, as far as the bridge reads it. Unknown fields are passed over.

Times are ISO 8601 text; `times.nanoseconds` reads them. Everything has a
default, so that a field that a server of another version leaves out harms
nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec


class StateDetails(msgspec.Struct, frozen=True):
    """The part of a state's details that the bridge reads."""

    child_flow_run_id: str | None = None
    traceparent: str | None = None
    scheduled_time: str | None = None


class State(msgspec.Struct, frozen=True):
    """A state of a run, as `/flow_run_states/` lists it and as runs carry it."""

    id: str = ""
    type: str = ""
    name: str | None = None
    timestamp: str | None = None
    message: str | None = None
    state_details: StateDetails | None = None


class FlowRun(msgspec.Struct, frozen=True):
    """A flow run, from `/flow_runs/filter`."""

    id: str
    name: str | None = None
    flow_id: str | None = None
    deployment_id: str | None = None
    parent_task_run_id: str | None = None
    labels: dict[str, Any] | None = None
    state_type: str | None = None
    state_name: str | None = None
    run_count: int = 0
    expected_start_time: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    updated: str | None = None
    work_pool_name: str | None = None
    state: State | None = None


class TaskRun(msgspec.Struct, frozen=True):
    """A task run, from `/task_runs/filter`."""

    id: str
    name: str | None = None
    flow_run_id: str | None = None
    task_key: str = ""
    dynamic_key: str = ""
    labels: dict[str, Any] | None = None
    state_type: str | None = None
    state_name: str | None = None
    run_count: int = 0
    start_time: str | None = None
    end_time: str | None = None
    state: State | None = None


class Event(msgspec.Struct, frozen=True):
    """An event, from `/events/filter` and from the websocket."""

    id: str
    event: str
    occurred: str = ""
    received: str | None = None
    resource: dict[str, Any] = {}
    related: list[dict[str, Any]] = []
    payload: dict[str, Any] = {}


class EventPage(msgspec.Struct, frozen=True):
    """A page of events; `next_page` is an address on a host that need not be the server."""

    events: list[msgspec.Raw] = []
    total: int = 0
    next_page: str | None = None


class Flow(msgspec.Struct, frozen=True):
    """A flow, from `/flows/filter`."""

    id: str
    name: str = ""


class Schedule(msgspec.Struct, frozen=True):
    """A schedule of a deployment; which of the kinds it is shows in its fields."""

    active: bool = True
    schedule: dict[str, Any] = {}


class Deployment(msgspec.Struct, frozen=True):
    """A deployment, from `/deployments/filter`."""

    id: str
    name: str = ""
    flow_id: str | None = None
    paused: bool = False
    schedules: list[Schedule] = []
    labels: dict[str, Any] | None = None
    tags: list[str] = []


class WorkPool(msgspec.Struct, frozen=True):
    """A work pool, from `/work_pools/filter`."""

    name: str
    type: str | None = None
    status: str | None = None


class Worker(msgspec.Struct, frozen=True):
    """A worker, from `/work_pools/{name}/workers/filter`."""

    name: str = ""
    status: str | None = None
