"""The demo from its first process to its last: start, deploy four times, stop, report."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from examples.deploy_model.lock import lock_holder
from examples.deploy_model.scenario.bridge import Bridge
from examples.deploy_model.scenario.folder import Folder, own_folder
from examples.deploy_model.scenario.plans import PLANS, Plan, Run
from examples.deploy_model.scenario.processes import (
    DemoError,
    Process,
    free_port,
    interruptible,
    stop_all,
    uninterrupted,
    wait_until,
)
from examples.deploy_model.scenario.progress import step
from examples.deploy_model.scenario.report import Report, has_ended
from examples.deploy_model.scenario.server import Server
from prefect_otel_status import trees
from prefect_otel_status.model import FINAL_TYPES

FLOW, DEPLOYMENT = "deploy-model", "demo"
RUNNER = "examples.deploy_model.scenario.runner"
KILL_AFTER = 4.0
"""Seconds of canary before the kill: what was said two seconds before it is on the server."""
PATIENCE = 60.0
"""Seconds that each single thing may take."""

_INTRODUCTION = (
    "Four deployments of a small model, on a Prefect server of their own: one passes, one misses "
    "its gate, one is retried, one is killed. The bridge beside the server draws what the killed "
    "one could not. This takes a minute, and leaves nothing running.\n"
)

_LOOK = "\nThe page of the bridge: [bold]{page}[/bold]\nIt is there for a look until Ctrl-C."
_TICK = 0.5


def run_demo() -> int:
    """Run the demo; returns the exit code. What goes wrong is told in a sentence."""
    console = Console(highlight=False)
    began = time.monotonic()
    try:
        with interruptible():
            _check_installed("sklearn", "scikit-learn")
            with own_folder(Path(".demo").resolve()) as folder:
                console.print(_INTRODUCTION)
                Demo(folder, console).run()
    except DemoError as error:
        _print_error(console, error)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped before its end; nothing is left running.")
        return 130
    console.print(Text(f"\nAll of it took {time.monotonic() - began:.0f} s.", "dim"))
    return 0


def _check_installed(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise DemoError(f"{package} is missing: {sys.executable} -m pip install {package}")


def _print_error(console: Console, error: DemoError) -> None:
    console.print(Text(f"\nThe demo failed: {error}", "bold red"))
    if error.tail():
        console.print(Text(f"\nThe end of {error.log}:\n{error.tail()}"))


class Demo:
    """One demo: its folder, its processes, its runs."""

    def __init__(self, folder: Folder, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._port = free_port()
        self._server = Server(f"http://127.0.0.1:{self._port}/api")
        self._bridge = Bridge(free_port())
        self._processes: dict[str, Process] = {}

    def run(self) -> None:
        """Do all of it, and leave nothing running."""
        with self._stopping():
            self._start()
            runs = [self._deploy(plan) for plan in PLANS]
            self._settle(runs)
            if self._console.is_terminal:
                self._report(runs)
                self._stay()
        if not self._console.is_terminal:
            self._report(runs)

    def _report(self, runs: list[Run]) -> None:
        Report(runs, self._folder).print(self._console)

    def _stay(self) -> None:
        """Keep the bridge's page open for a look, until Ctrl-C."""
        self._console.print(_LOOK.format(page=f"http://{self._bridge.listen}"))
        with suppress(KeyboardInterrupt):
            while True:
                for process in self._processes.values():
                    process.check()
                time.sleep(_TICK)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop all processes at the end, whatever happened."""
        try:
            yield
        except httpx.HTTPError as error:
            reason = str(error).partition("\n")[0]
            raise DemoError(f"The server gave no answer: {reason}", self._log("server")) from None
        finally:
            with uninterrupted(), step(self._console, "Stopping"):
                stop_all(reversed(self._processes.values()))

    def _start(self) -> None:
        with step(self._console, "Starting a Prefect server, a runner and the bridge"):
            place = ("--host", "127.0.0.1", "--port", str(self._port))
            self._launch("server", "-m", "prefect", "server", "start", *place)
            self._launch("runner", "-m", RUNNER, self._server.address)
            self._wait("The start of the server", self._server.is_healthy)
            self._launch("bridge", "-m", "prefect_otel_status", "bridge")
            self._wait("The registration of the deployment", self._deployment_id)
            self._wait("The start of the bridge", self._bridge.is_ready)

    def _launch(self, name: str, *arguments: str) -> None:
        env = self._folder.environment(self._server.address, os.environ)
        env["PREFECT_OTEL_STATUS_LISTEN"] = self._bridge.listen
        self._processes[name] = Process(name, arguments, env=env, folder=self._folder.path)

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        wait_until(what, condition, seconds=PATIENCE, needs=self._processes.values())

    def _log(self, name: str) -> Path | None:
        process = self._processes.get(name)
        return process.log if process is not None else None

    def _deployment_id(self) -> str | None:
        return self._server.deployment_id(FLOW, DEPLOYMENT)

    def _deploy(self, plan: Plan) -> Run:
        with step(self._console, f"Deploying {plan.version}: {plan.what}"):
            asked = {"version": plan.version, "fault": plan.fault, "home": str(self._folder.models)}
            run = Run(plan, self._server.start_run(str(self._deployment_id()), plan.version, asked))
            if plan.killed:
                self._kill_in_canary(run)
            self._wait(f"The end of {plan.version}", lambda: self._has_ended(run))
            return run

    def _has_ended(self, run: Run) -> bool:
        """Whether RUN is over. Raises `DemoError` where it ended as it should not have."""
        state = self._server.state_of(run.id)
        if state["type"] not in FINAL_TYPES:
            return False
        if state["name"] != run.plan.ends:
            what = f"{run.plan.version} ended as {state['name']}, not as {run.plan.ends}"
            raise DemoError(f"{what}: {state['message']}", self._log("runner"))
        return True

    def _kill_in_canary(self, run: Run) -> None:
        self._wait("The canary", lambda: self._replayer(run))
        time.sleep(KILL_AFTER)
        pid = self._replayer(run)
        if pid is None:
            raise DemoError("The canary was over before it was killed.", self._log("runner"))
        os.kill(pid, signal.SIGKILL)
        run.killed_at = time.time_ns()

    def _replayer(self, run: Run) -> int | None:
        """The process that replays the canary of RUN; None where there is none."""
        return None if self._has_ended(run) else lock_holder(self._folder.models)

    def _settle(self, runs: list[Run]) -> None:
        """Wait for what trails the end of a run: the export of its span, its last events."""
        with step(self._console, "Waiting for the last of the telemetry"):
            for run in runs:
                self._wait(f"The telemetry of {run.plan.version}", partial(self._told, run))

    def _told(self, run: Run) -> bool:
        if run.killed_at is not None:
            run.statuses = self._server.statuses_of(run.id)
        return has_ended(run, trees.read_spans(self._folder.telemetry))
