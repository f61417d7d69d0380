"""A stack whose history fills every panel, and what proves that each panel shows something."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from examples.deploy_model.faults import Fault
from examples.deploy_model.lock import lock_holder
from examples.deploy_model.scenario.server import Server
from examples.deploy_model.worker import POOL
from prefect_otel_status import signals
from prefect_otel_status.monitoring import inventory, rules
from prefect_otel_status.monitoring.inventory import Expression, PanelInfo
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.promql import JOB
from tests.support.bridge import Bridge, bridge
from tests.support.making import CANCELLED, COMPLETED, CRASHED, FAILED, Maker, patient
from tests.support.processes import beside
from tests.support.prometheus import Prometheus, prometheus
from tests.support.receiver import otlp_receiver
from tests.support.server import environment, prefect_server, wait_for

ROOT = Path(__file__).parents[2]
FLOW = "deploy-model"
MODELS = {"steady": "svc", "shaky": "forest", "slow": "svc"}
TIMED_OUT = {"type": "FAILED", "name": "TimedOut", "message": "exceeded timeout of 60 second(s)"}
LATE = {"type": "SCHEDULED", "name": "Late"}
BUDGET = 40
"""Of label values: more than the example has."""

_REGISTER = """
import json, sys
from pathlib import Path
from examples.deploy_model.worker import register
models, home = json.loads(sys.argv[1]), Path(sys.argv[2])
register(models, home, nightly_every=3600)
"""


@dataclass
class Stack:
    """A server with a worker, a bridge, Prometheus with the rules, and a receiver of spans."""

    api: str
    home: Path
    bridge: Bridge
    prometheus: Prometheus
    maker: Maker
    close_receiver: Callable[[], None]
    well_at: float = 0.0
    """The moment at which everything was well, in seconds since 1970."""
    hung: list[int] = field(default_factory=list)
    """The processes that were stopped."""
    _versions: Iterator[int] = field(default_factory=lambda: count(1))

    def start(self, deployment: str, fault: Fault | None) -> str:
        """Start a run of DEPLOYMENT with FAULT; its id."""
        server = Server(self.api)
        name = f"v{next(self._versions)}"
        found = wait_for(partial(server.deployment_id, FLOW, deployment), what=deployment)
        return server.start_run(str(found), name, {"version": name, "fault": fault})

    def run(self, deployment: str, fault: Fault | None, *, ends: str) -> None:
        """Run DEPLOYMENT with FAULT until the bridge has settled it, in a state that is ENDS."""
        self.await_end(self.start(deployment, fault), ends)

    def await_end(self, run_id: str, ends: str) -> None:
        """Wait until RUN_ID has ended, in a state that is ENDS, and is settled."""
        self.bridge.wait_until_settled([run_id])
        state = Server(self.api).state_of(run_id)
        assert state["name"] == ends, state

    def replayer(self, deployment: str) -> int:
        """The process that replays the canary of DEPLOYMENT, once it does and has said so."""
        pid = wait_for(
            lambda: lock_holder(self.home / deployment), timeout=90, what=f"{deployment}'s canary"
        )
        progress = f'{signals.PROGRESS_RATIO.prometheus_name}{{prefect_deployment_name="%s"}} > 0'
        wait_for(
            lambda: self.prometheus.query(progress % deployment), timeout=60, what="its progress"
        )
        assert pid is not None
        return pid


# --- what happens --------------------------------------------------------------
@dataclass(frozen=True)
class Step:
    """Something that is made to happen, in WORDS that follow `proven by`."""

    words: str
    make: Callable[[Stack], None]


def _killed(stack: Stack) -> None:
    run_id = stack.start("slow", "slow")
    os.kill(stack.replayer("slow"), signal.SIGKILL)
    stack.await_end(run_id, "Crashed")


def _hung(stack: Stack) -> None:
    stack.start("steady", "slow")
    pid = stack.replayer("steady")
    os.kill(pid, signal.SIGSTOP)
    stack.hung.append(pid)


def _otherwise(stack: Stack) -> None:
    ended = [stack.maker.run(end) for end in (COMPLETED, FAILED, CRASHED, TIMED_OUT, CANCELLED)]
    stack.bridge.wait_until_settled(ended)


def _late(stack: Stack) -> None:
    stack.maker.set_state(stack.maker.begin(), LATE)
    stack.bridge.wait_for_total(1, signals.RUNS_LATE.prometheus_name)


def _unreadable(stack: Stack) -> None:
    stack.maker.post_events([stack.maker.status("no-run-has-this-id")])


def _secret(stack: Stack) -> None:
    run_id = stack.maker.begin()
    stack.maker.say(run_id, "Connected with password=hunter22")
    stack.maker.set_state(run_id, COMPLETED)


def _many_words(stack: Stack) -> None:
    run_id = stack.maker.begin()
    letters = "abcdefgh"
    stack.maker.say(run_id, *(f"Read part {one}{two}" for one in letters for two in letters))
    stack.maker.set_state(run_id, COMPLETED)


def _no_receiver(stack: Stack) -> None:
    stack.close_receiver()
    dropped = partial(stack.bridge.total, signals.BRIDGE_DROPS.prometheus_name)

    def has_dropped() -> bool:
        # What is too old goes when something new comes.
        stack.bridge.wait_until_settled([stack.maker.run()])
        return dropped() > 0

    wait_for(has_dropped, timeout=60, what="something dropped")


GOOD = Step(
    "a run that went well", partial(Stack.run, deployment="steady", fault=None, ends="Completed")
)
REFUSED = Step(
    "a run whose model a gate refused and that rolled back",
    partial(Stack.run, deployment="shaky", fault="weak", ends="Failed"),
)
RESTORED = Step(
    "a good run after one that rolled back",
    partial(Stack.run, deployment="shaky", fault=None, ends="Completed"),
)
BUSY = Step(
    "a run whose stage raised an exception and was retried",
    partial(Stack.run, deployment="steady", fault="busy", ends="Completed"),
)
KILLED = Step("a run whose process was killed", _killed)
HUNG = Step("a run whose process was stopped in the middle of its canary", _hung)
OTHER_ENDS = Step("runs that failed, crashed, timed out and were cancelled", _otherwise)
ONE_LATE = Step("a run that is late", _late)
UNREADABLE = Step("an event about a run whose id is none", _unreadable)
SECRET = Step("a status with a password in it", _secret)
MANY_WORDS = Step(f"more message templates than a budget of {BUDGET} lets through", _many_words)
NO_RECEIVER = Step(
    "spans that waited longer than they may for a receiver that was gone", _no_receiver
)

AT_ONCE: Sequence[Sequence[Step]] = ((REFUSED, RESTORED), (BUSY, HUNG), (KILLED,))
"""Runs of the example, by deployment: those of one come one after the other."""

AFTERWARDS = (OTHER_ENDS, ONE_LATE, UNREADABLE, SECRET, MANY_WORDS, NO_RECEIVER)


def happen(stack: Stack) -> None:
    """Let every step happen, and note the moment before the first that is not well."""
    GOOD.make(stack)
    # Prometheus has seen its end too.
    ended = f'{signals.LAST_SUCCESS.prometheus_name}{{prefect_deployment_name="steady"}}'
    wait_for(lambda: stack.prometheus.query(ended), what="the good run's end in Prometheus")
    stack.well_at = time.time()
    with ThreadPoolExecutor(len(AT_ONCE)) as threads:
        lanes = [threads.submit(_in_order, stack, steps) for steps in AT_ONCE]
        for lane in lanes:
            lane.result()
    _in_order(stack, AFTERWARDS)


def keep_running(stack: Stack, *, seconds: float) -> None:
    """Make runs of all kinds for so many SECONDS; the last one hangs, and one is late."""
    until = time.monotonic() + seconds
    for step in (GOOD, OTHER_ENDS, KILLED):
        step.make(stack)
    while time.monotonic() < until:
        _in_order(stack, (REFUSED, OTHER_ENDS, RESTORED, BUSY))
    _in_order(stack, (SECRET, ONE_LATE, HUNG))


def _in_order(stack: Stack, steps: Sequence[Step]) -> None:
    for step in steps:
        step.make(stack)


# --- what proves what ------------------------------------------------------------
PROVOKED: Mapping[str, Step] = MappingProxyType(
    {
        "prefect-health/Alerts that fire": REFUSED,
        "prefect-health/Longest silence": HUNG,
        "prefect-health/Deployments/Silence": HUNG,
        "prefect-health/Deployments: time/Failures": REFUSED,
        "prefect-health/Failures by type of error": REFUSED,
        "prefect-health/Silence of active runs": HUNG,
        "prefect-statuses/Error messages": REFUSED,
        "prefect-statuses/Last words that are errors": KILLED,
        "prefect-statuses/Progress of what is running": HUNG,
        "prefect-statuses/Silence by deployment": HUNG,
        "prefect-statuses/Stages/Failures": BUSY,
        "prefect-statuses/Gates/Refused": REFUSED,
        "prefect-run/Oldest active run": HUNG,
        "prefect-delivery/Time to restore": RESTORED,
        "prefect-delivery/Delivery by deployment/Time to restore": RESTORED,
        "prefect-delivery/Broken now": KILLED,
        "prefect-bridge/Events that could not be read": UNREADABLE,
        "prefect-bridge/Dropped": NO_RECEIVER,
        "prefect-bridge/Label values beyond their budget": MANY_WORDS,
        "prefect-bridge/Redactions": SECRET,
    }
)
"""What makes each panel, or column, of `inventory.EMPTY_WHEN_WELL` show something."""


def provoked_by(panel: PanelInfo, expression: Expression) -> Step | None:
    """What makes EXPRESSION of PANEL give something; None where it does while all is well."""
    return PROVOKED.get(panel.key) or PROVOKED.get(f"{panel.key}/{expression.name}")


# --- questions -----------------------------------------------------------------
_STEP = 5
"""Seconds: less than any state of a deployment lasted."""


def at_once(asked: Prometheus, expression: str, **parameters: Any) -> list[dict[str, Any]]:
    """What the panel's EXPRESSION gives at one moment. Fails where it is refused."""
    return _answer(asked, "query", query=_filled(expression, "10m"), **parameters)


def over_time(asked: Prometheus, expression: str, *, minutes: float = 5) -> list[dict[str, Any]]:
    """What the panel's EXPRESSION gives over the last MINUTES. Fails where it is refused."""
    end = time.time()
    times = {"start": end - 60 * minutes, "end": end, "step": _STEP}
    return _answer(asked, "query_range", query=_filled(expression, "1m"), **times)


def _filled(expression: str, rate_interval: str) -> str:
    return inventory.concrete(
        expression,
        window="10m",
        range="10m",
        rate_interval=rate_interval,
        interval=f"{_STEP}s",
    )


def exemplars(asked: Prometheus, selector: str) -> list[dict[str, Any]]:
    """The labels of the exemplars of SELECTOR in the last ten minutes."""
    end = time.time()
    found = _answer(asked, "query_exemplars", query=selector, start=end - 600, end=end)
    return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]


def _answer(asked: Prometheus, path: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = httpx.post(f"{asked.address}/api/v1/{path}", data=parameters, timeout=30).json()
    assert answer["status"] == "success", f"{answer.get('error')}: {parameters['query']}"
    data = answer["data"]
    found: list[dict[str, Any]] = data if isinstance(data, list) else data["result"]
    return found


# --- the parts -----------------------------------------------------------------
@contextmanager
def full_stack(folder: Path, **settings: object) -> Iterator[Stack]:
    """Run all parts in FOLDER until the end; SETTINGS are the bridge's.

    On a server of its own: what others run would fill these panels too.
    """
    home, models = folder / "prefect", folder / "models"
    for path in (home, *(models / name for name in (*MODELS, "nightly"))):
        path.mkdir(parents=True)
    with ExitStack() as parts:
        enter = parts.enter_context
        api = enter(
            prefect_server(home, PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL="1")
        )
        env = _environment(home, api, folder)
        enter(_example(env, folder, models))
        receiver = enter(ExitStack())
        endpoint = receiver.enter_context(otlp_receiver()).endpoint
        own = {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        running = enter(bridge(own, folder / "bridge", **settings))
        asked = enter(_prometheus(folder, running))
        client = enter(httpx.Client(base_url=api, timeout=60))
        running.wait_ready()
        stack = Stack(api, models, running, asked, _maker(client), receiver.close)
        parts.callback(_end_hung, stack)
        yield stack


def _environment(home: Path, api: str, folder: Path) -> dict[str, str]:
    return environment(
        home,
        PREFECT_API_URL=api,
        PYTHONPATH=str(ROOT),
        PREFECT_OTEL_STATUS_FOLDER=str(folder / "telemetry"),
        PREFECT_OTEL_STATUS_ENVIRONMENT="demo",
        PREFECT_WORKER_QUERY_SECONDS="1",
        OTEL_METRIC_EXPORT_INTERVAL="1000",
    )


@contextmanager
def _example(env: dict[str, str], folder: Path, models: Path) -> Iterator[None]:
    """The example's deployments, and a worker that runs them."""
    start = ("worker", "start", "--pool", POOL, "--type", "process", "--name", "demo")
    worker = [sys.executable, "-m", "prefect", *start, "--install-policy", "never"]
    named = str(MODELS).replace("'", '"')
    register = [sys.executable, "-c", _REGISTER, named, str(models)]
    with beside(worker, env=env, log=folder / "worker.log", cwd=folder):
        wait_for(lambda: _has_pool(env["PREFECT_API_URL"]), timeout=120, what="the work pool")
        with beside(register, env=env, log=folder / "register.log", cwd=folder) as process:
            assert process.wait(180) == 0, (folder / "register.log").read_text()
        yield


def _has_pool(api: str) -> bool:
    return httpx.get(f"{api}/work_pools/{POOL}", timeout=60).is_success


def _prometheus(folder: Path, running: Bridge) -> Any:
    written = []
    for name, text in rules.files(Links(bridge=running.address)).items():
        path = folder / Path(name).name
        path.write_text(text)
        written.append(path)
    target = f"127.0.0.1:{running.port}"
    return prometheus(folder / "prometheus", target, job=JOB, rules=written)


def _maker(client: httpx.Client) -> Maker:
    """Makes runs of a flow that is no deployment and does not use this package."""
    answer = patient(client, "POST", "/flows/", json={"name": "import-orders"})
    assert answer.is_success, answer.text
    return Maker(client, "import-orders", answer.json()["id"])


def _end_hung(stack: Stack) -> None:
    # Its worker cannot end it: what is stopped does not hear.
    for pid in stack.hung:
        os.kill(pid, signal.SIGKILL)
