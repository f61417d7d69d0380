"""Real processes that are killed, and clocks that differ: what the bridge makes of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import assemble
from prefect_otel_status.bridge.daemon import Bridge as Daemon
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.wire import Event
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.settings import load
from tests.conftest import FLOWS, ROOT, run_flow
from tests.support.bridge import Bridge, bridge
from tests.support.making import patient
from tests.support.processes import beside
from tests.support.receiver import Received, otlp_receiver
from tests.support.records import ManualClock
from tests.support.server import environment, wait_for
from tests.support.traces import Drawn, backwards, doubled, lost, of_receiver, runs_of, tree

# Each waits for several real processes, on machines that have other things to do.
pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

SECOND = 1_000_000_000
HOUR = timedelta(hours=1)

KILLED = """\
RUN killed: error Crashed, incomplete
  endless: error abandoned, incomplete, abandoned
  evaluate: error, incomplete
  step: success
"""

LEFT = """\
RUN leaving: error SystemExit
  step: success
"""

INFERRED = """\
RUN killed: error HeartbeatLost, incomplete, inferred
  endless: error abandoned, incomplete, abandoned
  evaluate: error, incomplete
  step: success
"""


@dataclass
class Scene:
    """A server, a bridge beside it, deployments that are served, and what was received."""

    api: str
    bridge: Bridge
    received: Received

    def create_run(self, deployment: str) -> str:
        """A run of DEPLOYMENT, `<flow>/<name>`, to be started by the runner; its id."""
        found = wait_for(partial(self._deployment, deployment), timeout=60, what=deployment)
        with httpx.Client(base_url=self.api, timeout=60) as client:
            answer = patient(client, "POST", f"/deployments/{found}/create_flow_run", json={})
        return str(answer.json()["id"])

    def is_crashed(self, run_id: str) -> bool:
        return bool(
            httpx.get(f"{self.api}/flow_runs/{run_id}", timeout=60).json()["state_name"]
            == "Crashed"
        )

    def trace_of(self, run_id: str) -> list[Drawn]:
        return _trace_of(self.received, run_id)

    def _deployment(self, name: str) -> str | None:
        answer = httpx.get(f"{self.api}/deployments/name/{name}", timeout=60)
        return str(answer.json()["id"]) if answer.status_code == 200 else None


def _trace_of(received: Received, run_id: str) -> list[Drawn]:
    trace_id = trace_id_of(run_id)
    return [span for span in of_receiver(list(received.spans)) if span.key[0] == trace_id]


def _wait_for_tree(received: Received, run_id: str, expected: str, *, timeout: float = 30) -> None:
    try:
        wait_for(
            lambda: tree(_trace_of(received, run_id)) == expected, timeout=timeout, what="the trace"
        )
    except AssertionError:
        assert tree(_trace_of(received, run_id)) == expected


@pytest.fixture(scope="module")
def scene(
    prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("deaths")
    with otlp_receiver() as received:
        env = environment(
            prefect_home,
            PREFECT_API_URL=prefect_api,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            PYTHONPATH=str(ROOT),
        )
        with bridge(env, folder / "bridge") as running:
            yield Scene(prefect_api, running, received)


@pytest.fixture
def served(scene: Scene, prefect_home: Path, tmp_path: Path) -> Iterator[Scene]:
    """The same, with deployments whose runs are started by a runner."""
    env = environment(
        prefect_home,
        PREFECT_API_URL=scene.api,
        OTEL_EXPORTER_OTLP_ENDPOINT=scene.received.endpoint,
        PYTHONPATH=str(ROOT),
        PREFECT_RUNNER_POLL_FREQUENCY="1",
    )
    command = [sys.executable, str(FLOWS / "bridge_served.py")]
    with beside(command, env=env, log=tmp_path / "serve.log"):
        yield scene


# --- under a runner --------------------------------------------------------------
@pytest.mark.fault(22)
def test_deaths_under_a_runner_are_drawn_whole_and_once(served: Scene) -> None:
    served.bridge.wait_ready()
    killed, leaving = (served.create_run(f"{name}/bridge") for name in ("killed", "leaving"))
    for run_id in (killed, leaving):
        wait_for(partial(served.is_crashed, run_id), timeout=60, what="the crash")
    # A minute is what is promised after the end.
    _wait_for_tree(served.received, killed, KILLED, timeout=60)
    _wait_for_tree(served.received, leaving, LEFT, timeout=60)
    _assert_last_words(served.trace_of(killed))
    for run_id in (killed, leaving):
        spans = served.trace_of(run_id)
        assert (lost(spans), doubled(spans), backwards(spans)) == ([], [], [])
        assert runs_of(spans) == {run_id: 1}


def _assert_last_words(spans: list[Drawn]) -> None:
    run = next(span for span in spans if span.name == "RUN killed")
    assert run.error is not None
    assert run.attributes[signals.MESSAGE.name] == "Waiting for the end"
    assert run.attributes[signals.STAGE.name] == "evaluate"
    assert run.attributes[signals.SILENCE.name] >= 2
    assert "Started" in run.events
    task = next(span for span in spans if span.name == "endless")
    assert "Waiting for the end" in task.events


# --- nobody to report it -----------------------------------------------------------
@asynccontextmanager
async def _daemon(
    api: str, received: Received, folder: Path, clock: ManualClock
) -> AsyncIterator[Daemon]:
    """A bridge in this process, by the clock given, that works when it is told to."""
    settings = load(folder=folder, store=str(folder / "bridge.db"), settle=0, backfill="1h")
    async with assemble.bridge(
        settings,
        environ={"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint},
        clock=clock,
        server=lambda: PrefectServer(api),
    ) as one:
        assert await one._take_lease()
        await one.core.load()
        one.working = True
        try:
            yield one
        finally:
            await one._end_lease()
            await one.connection.close()


async def _pass(one: Daemon) -> None:
    await one._sweeper.sweep()
    await one._find_silent()
    while await one._settler.settle_due():
        pass
    assert await one._deliver() == 0


def _now() -> int:
    return int(datetime.now(timezone.utc).timestamp() * 1e9)


def _find(api: str, run_id: str, name: str, event_id: str = "") -> list[Any]:
    """The events NAME of the run, or the one with EVENT_ID among them."""
    wanted = {
        "filter": {
            "event": {"name": [name]},
            "any_resource": {"id": [f"prefect.flow-run.{run_id}"]},
            "occurred": {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"},
        }
    }
    events = httpx.post(f"{api}/events/filter", json=wanted, timeout=60).json()["events"]
    return [event for event in events if event_id in ("", event["id"])]


def _has_told_of_a_stage(api: str, run_id: str) -> bool:
    told = _find(api, run_id, signals.PREFECT_EVENT)
    return any(event["payload"].get("stages") for event in told)


@pytest.mark.fault(23, 24)
async def test_a_run_whose_runner_died_too_is_inferred_and_a_revival_corrects_it(
    otlp_env: dict[str, str], received: Received, prefect_api: str, tmp_path: Path
) -> None:
    done = run_flow("bridge_tree.py", "killed", env=otlp_env, check=False)
    assert done.returncode == -9
    run_id = done.stdout.split()[-1]
    wait_for(partial(_find, prefect_api, run_id, "prefect.flow-run.heartbeat"), what="a heartbeat")
    # The server writes events in batches: the one with the stage may be in a later one.
    wait_for(partial(_has_told_of_a_stage, prefect_api, run_id), what="the stage")
    clock = ManualClock(_now())
    async with _daemon(prefect_api, received, tmp_path / "bridge", clock) as one:
        await _pass(one)
        assert "RUN killed" not in {span.name for span in _trace_of(received, run_id)}
        clock.now += 3 * 180 * SECOND + SECOND
        await _pass(one)
        _wait_for_tree(received, run_id, INFERRED)
        _post(prefect_api, f"/flow_runs/{run_id}/set_state", _forced("COMPLETED"))
        clock.now = _now()
        await _pass(one)
    spans = _wait_for_correction(received, run_id)
    assert (lost(spans), doubled(spans), backwards(spans)) == ([], [], [])
    assert runs_of(spans) == {run_id: 1}
    (run,) = [span for span in spans if span.name == "RUN killed"]
    (correction,) = [span for span in spans if span.name == "CORRECTION"]
    assert (correction.parent, correction.links) == (run.key, (run.key,))
    assert correction.attributes[signals.RESULT.name] == "success"


def _wait_for_correction(received: Received, run_id: str) -> list[Drawn]:
    wait_for(
        lambda: any(span.name == "CORRECTION" for span in _trace_of(received, run_id)),
        what="the correction",
    )
    return _trace_of(received, run_id)


async def test_a_heartbeat_brings_a_run_back_that_was_taken_for_dead(
    received: Received, prefect_api: str, tmp_path: Path
) -> None:
    run_id = _new_run(prefect_api, "revived")
    _post(prefect_api, f"/flow_runs/{run_id}/set_state", _forced("RUNNING"))
    _beat(prefect_api, run_id)
    clock = ManualClock(_now())
    async with _daemon(prefect_api, received, tmp_path / "bridge", clock) as one:
        await _pass(one)
        clock.now += 3 * 180 * SECOND + SECOND
        await _pass(one)
        assert await _phase(one, run_id) == "settled"
        clock.now = _now()
        await one._take([_beat(prefect_api, run_id)])  # as from the websocket
        assert await _phase(one, run_id) == "active"
        _post(prefect_api, f"/flow_runs/{run_id}/set_state", _forced("COMPLETED"))
        await _pass(one)
        assert await _phase(one, run_id) == "settled"
    spans = _wait_for_correction(received, run_id)
    assert sorted(span.name for span in spans) == ["CORRECTION", "RUN revived"]
    assert (lost(spans), doubled(spans)) == ([], [])


async def _phase(one: Daemon, run_id: str) -> str:
    found = await one.one_run(run_id)
    return str(found["phase"]) if found else ""


def _new_run(api: str, flow: str) -> str:
    flow_id = _post(api, "/flows/", {"name": flow})["id"]
    return str(_post(api, "/flow_runs/", {"flow_id": flow_id})["id"])


def _forced(state: str) -> dict[str, Any]:
    return {"state": {"type": state}, "force": True}


def _post(api: str, path: str, body: Any) -> Any:
    answer = httpx.post(f"{api}{path}", json=body, timeout=60)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def _event(name: str, kind: str, run_id: str, *, at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "event": name,
        "occurred": at.isoformat(),
        "resource": {
            "prefect.resource.id": f"prefect.{kind}-run.{run_id}",
            **more.pop("resource", {}),
        },
        "related": [],
        "payload": {},
        **more,
    }


def _beat(api: str, run_id: str) -> Event:
    """A heartbeat of the run, as the server has it."""
    now = datetime.now(timezone.utc)
    beat = _event("prefect.flow-run.heartbeat", "flow", run_id, at=now)
    _post(api, "/events", [beat])
    found = wait_for(lambda: _find(api, run_id, beat["event"], beat["id"]), what="the heartbeat")
    return msgspec.convert(found[0], Event)


# --- clocks ------------------------------------------------------------------------
@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["behind", "ahead"])
@pytest.mark.fault(32)
def test_clocks_an_hour_apart_lose_nothing_and_make_no_negative_duration(
    scene: Scene, by: timedelta
) -> None:
    """The flow's host has a clock of its own; its run is set by the server's."""
    scene.bridge.wait_ready()
    flow = f"skewed-{'ahead' if by > timedelta() else 'behind'}"
    run_id, task_run_id = _new_run(scene.api, flow), str(uuid4())
    _post(scene.api, f"/flow_runs/{run_id}/set_state", _forced("RUNNING"))
    at = datetime.now(timezone.utc) + by
    _post(scene.api, "/events", [_said(run_id, at), *_task_events(run_id, task_run_id, at)])
    for name in (signals.PREFECT_EVENT, "prefect.task-run.Completed"):
        wait_for(partial(_find, scene.api, run_id, name), what=name)
    _post(scene.api, f"/flow_runs/{run_id}/set_state", _forced("COMPLETED"))
    scene.bridge.wait_until_settled([run_id])
    _wait_for_tree(scene.received, run_id, f"RUN {flow}: success\n  step: success\n")
    spans = scene.trace_of(run_id)
    assert backwards(spans) == []
    run, task = sorted(spans, key=lambda span: span.name)
    assert "Said by another clock" in run.events
    assert task.end - task.start == SECOND
    scene.bridge.wait_for_total(1, "prefect_status_messages_total", cicd_pipeline_name=flow)
    scene.bridge.wait_for_total(
        1, "cicd_pipeline_run_duration_seconds_count", cicd_pipeline_name=flow
    )
    taken = scene.bridge.total("prefect_task_run_duration_seconds_sum", cicd_pipeline_name=flow)
    assert taken == pytest.approx(1.0)


def _said(run_id: str, at: datetime) -> dict[str, Any]:
    said = {
        "timestamp": int(at.timestamp() * 1e9),
        "template": "Said by another clock",
        "message": "Said by another clock",
        "level": "info",
        "attempt": 1,
        "sequence": 1,
    }
    payload = {"version": 1, "statuses": [said], "stages": []}
    return _event(signals.PREFECT_EVENT, "flow", run_id, at=at, payload=payload)


def _task_events(run_id: str, task_run_id: str, at: datetime) -> list[dict[str, Any]]:
    second = timedelta(seconds=1)
    times = {"PENDING": at - second, "RUNNING": at, "COMPLETED": at + second}
    return [_task_event(run_id, task_run_id, state, times) for state in times]


def _task_event(
    run_id: str, task_run_id: str, state: str, times: dict[str, datetime]
) -> dict[str, Any]:
    resource = {
        "prefect.resource.name": "step-0",
        "prefect.run-count": "1",
        "prefect.state-message": "",
        "prefect.state-name": state.title(),
        "prefect.state-timestamp": times[state].isoformat(),
        "prefect.state-type": state,
        "prefect.orchestration": "client",
    }
    task_run = {
        "name": "step-0",
        "task_key": "step-12345678",
        "dynamic_key": "0",
        "run_count": 0 if state == "PENDING" else 1,
        "start_time": None if state == "PENDING" else times["RUNNING"].isoformat(),
    }
    related = {
        "prefect.resource.id": f"prefect.flow-run.{run_id}",
        "prefect.resource.role": "flow-run",
    }
    return _event(
        f"prefect.task-run.{state.title()}",
        "task",
        task_run_id,
        at=times[state],
        resource=resource,
        related=[related],
        payload={
            "intended": {"from": None, "to": state},
            "initial_state": None,
            "validated_state": {
                "type": state,
                "name": state.title(),
                "message": "",
                "state_details": {},
                "data": None,
            },
            "task_run": task_run,
        },
    )
