"""Runs without end: good, failing, slow and killed ones, on a process worker of its own.

`python -m examples.deploy_model.traffic`, against the server of PREFECT_API_URL.
The worker is a process below this one, because who kills a run must see its process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import httpx

from examples.deploy_model.lock import NAME as LOCK
from examples.deploy_model.lock import lock_holder
from examples.deploy_model.pruning import prune
from examples.deploy_model.scenario.processes import DemoError, interruptible, wait_until
from examples.deploy_model.scenario.server import Server
from examples.deploy_model.worker import has_pool, register, worker
from prefect_otel_status.model import FINAL_TYPES

FLOW = "deploy-model"
MODELS = {"steady": "svc", "shaky": "forest", "slow": "svc"}
"""The deployments that are run here, and the model of each."""

SCHEDULED = "nightly"
KILL_AFTER = 4.0
"""Seconds of canary before the kill: what was said two seconds before it is on the server."""
PATIENCE = 300.0
"""Seconds that each single thing may take, on a machine that has other things to do."""


@dataclass(frozen=True)
class Plan:
    """A run to make: by which deployment, what goes wrong, and whether it is killed."""

    deployment: str
    fault: str | None
    killed: bool = False


ROUND = (
    Plan("steady", None),
    Plan("shaky", "weak"),
    Plan("slow", "slow"),
    Plan("steady", "busy"),
    Plan("shaky", None),
    Plan("slow", "slow", killed=True),
)
"""What is made, again and again."""


class Traffic:
    """The runs that are made on a SERVER, with models below a HOME folder."""

    def __init__(self, server: Server, home: Path) -> None:
        self._server = server
        self._home = home

    def make_round(self) -> None:
        """Make a run of each plan, one after the other, and remove old models."""
        for plan in ROUND:
            print(f"{plan.deployment}: {self._make(plan)}", flush=True)
        for name in (*MODELS, SCHEDULED):
            prune(self._home / name)

    def _make(self, plan: Plan) -> str:
        """Make a run to its end; the name of its last state."""
        home = self._home / plan.deployment
        # One that was killed left its id there, which may be another's by now.
        (home / LOCK).unlink(missing_ok=True)
        run_id = self._start(plan)
        if plan.killed:
            self._kill(run_id, home)
        self._wait("The end of a run", partial(self._has_ended, run_id))
        return str(self._server.state_of(run_id)["name"])

    def _start(self, plan: Plan) -> str:
        deployment_id = str(self._server.deployment_id(FLOW, plan.deployment))
        version = f"{plan.fault or 'good'}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S-%f}"
        asked = {"version": version, "fault": plan.fault}
        return self._server.start_run(deployment_id, version, asked)

    def _kill(self, run_id: str, home: Path) -> None:
        replayer = partial(self._replayer, run_id, home)
        self._wait("The canary", replayer)
        time.sleep(KILL_AFTER)
        if (pid := replayer()) is not None:
            os.kill(pid, signal.SIGKILL)

    def _replayer(self, run_id: str, home: Path) -> int | None:
        """The process that replays the canary of the run; None where there is none."""
        if self._has_ended(run_id):
            raise DemoError("A run was over before it could be killed.")
        return lock_holder(home)

    def _has_ended(self, run_id: str) -> bool:
        return self._server.state_of(run_id)["type"] in FINAL_TYPES

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        wait_until(what, condition, seconds=PATIENCE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make traffic until it is stopped; returns the exit code."""
    options = _options(arguments)
    try:
        with interruptible():
            run(os.environ["PREFECT_API_URL"], options)
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", flush=True)
    return 0


def run(api: str, options: argparse.Namespace) -> None:
    """Start the worker, register the deployments, and make rounds."""
    server, home = Server(api), options.home.resolve()
    wait_until("The start of the server", server.is_healthy, seconds=PATIENCE)
    for name in (*MODELS, SCHEDULED):
        (home / name).mkdir(parents=True, exist_ok=True)
    with worker() as process:
        wait_until("The work pool", partial(has_pool, api), seconds=PATIENCE)
        register(MODELS, home, nightly_every=options.nightly_every)
        make_rounds(Traffic(server, home), process, options)


def make_rounds(
    traffic: Traffic, process: subprocess.Popen[bytes], options: argparse.Namespace
) -> None:
    """Make rounds with a pause between two; as many as the OPTIONS say, or for ever."""
    made = 0
    while process.poll() is None:
        _make_round(traffic)
        made += 1
        if made == options.rounds:
            return
        time.sleep(options.pause)
    raise DemoError(f"The worker ended with exit code {process.returncode}.")


def _make_round(traffic: Traffic) -> None:
    # A server that restarts is no reason to stop for good.
    try:
        traffic.make_round()
    except (httpx.HTTPError, DemoError) as error:
        print(f"This round is over: {error!s:.200}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="traffic", description=about)
    option = parser.add_argument
    option("--home", type=Path, default=Path("models"), help="the folder of the models")
    option("--rounds", type=int, default=0, help="how many; 0, the default, is for ever")
    option("--pause", type=float, default=30.0, help="seconds between two rounds")
    option("--nightly-every", type=float, default=600.0, help="seconds between scheduled runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
