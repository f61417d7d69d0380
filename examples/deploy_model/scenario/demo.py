"""The demo from its first process to its last: start, deploy four times, stop, report."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from examples.deploy_model.lock import lock_holder
from examples.deploy_model.scenario import report
from examples.deploy_model.scenario.folder import Folder, own_folder
from examples.deploy_model.scenario.plans import PLANS, Plan, Run
from examples.deploy_model.scenario.processes import DemoError, Process, free_port, wait_until
from examples.deploy_model.scenario.progress import step
from examples.deploy_model.scenario.server import Server
from prefect_otel_status import trees
from prefect_otel_status.model import FINAL_TYPES

FLOW, DEPLOYMENT = "deploy-model", "demo"
RUNNER = "examples.deploy_model.scenario.runner"
KILL_AFTER = 4.0
"""Seconds of canary before the kill: what was said two seconds before it is on the server."""
PATIENCE = 60.0
"""Seconds that each single thing may take."""


def run_demo() -> int:
    """Run the demo; returns the exit code. What goes wrong is told in a sentence."""
    console = Console()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        _check_installed("sklearn", "scikit-learn")
        with own_folder(Path(".demo").resolve()) as folder:
            Demo(folder, console).run()
    except DemoError as error:
        _print_error(console, error)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
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
        self._processes: list[Process] = []

    def run(self) -> None:
        """Do all of it, and leave nothing running."""
        with self._stopping():
            self._start()
            runs = [self._deploy(plan) for plan in PLANS]
            self._settle(runs)
        report.Report(runs, self._folder).print(self._console)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise DemoError(f"The server did not answer: {error}", self._processes[0].log) from None
        finally:
            with uninterrupted(), step(self._console, "Stopping"):
                _stop(self._processes)

    def _start(self) -> None:
        with step(
            self._console, "Starting a Prefect server, and a runner that serves the deployment"
        ):
            place = ("--host", "127.0.0.1", "--port", str(self._port))
            self._launch("server", "-m", "prefect", "server", "start", *place)
            self._launch("runner", "-m", RUNNER, self._server.address)
            self._wait("The start of the server", self._server.is_healthy)
            self._wait("The registration of the deployment", self._deployment_id)

    def _launch(self, name: str, *arguments: str) -> None:
        env = self._folder.environment(self._server.address, os.environ)
        self._processes.append(Process(name, arguments, env=env, folder=self._folder.path))

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        wait_until(what, condition, seconds=PATIENCE, needs=self._processes)

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
        state = self._server.state_of(run.id)
        if state["type"] in FINAL_TYPES and state["name"] != run.plan.ends:
            ended = f"{run.plan.version} ended as {state['name']}, not as {run.plan.ends}"
            raise DemoError(f"{ended}: {state['message']}", self._processes[-1].log)
        return bool(state["name"] == run.plan.ends)

    def _kill_in_canary(self, run: Run) -> None:
        self._wait("The canary", lambda: self._replayer(run))
        time.sleep(KILL_AFTER)
        pid = self._replayer(run)
        if pid is None:
            raise DemoError("The canary was over before it was killed.", self._processes[-1].log)
        os.kill(pid, signal.SIGKILL)
        run.killed_at = time.time_ns()

    def _replayer(self, run: Run) -> int | None:
        """The process that replays the canary of RUN; None until it does."""
        return None if self._has_ended(run) else lock_holder(self._folder.models)

    def _settle(self, runs: list[Run]) -> None:
        """Wait for what trails the end of a run: the export of its span, its last events."""
        with step(self._console, "Waiting for the last of the telemetry"):
            for run in runs:
                self._wait(f"The telemetry of {run.plan.version}", self._settled(run))
                if run.killed_at is not None:
                    run.last_words = self._server.last_status(run.id, before=run.killed_at)

    def _settled(self, run: Run) -> Callable[[], bool]:
        if run.killed_at is not None:
            # Its statuses reached the server before this event did.
            return lambda: bool(self._server.events_of(run.id, "prefect.flow-run.Crashed"))
        return lambda: report.has_ended(run, trees.read_spans(self._folder.telemetry))


def _stop(processes: list[Process]) -> None:
    """Stop PROCESSES, the last one first; raises `DemoError` if anything is left of them."""
    for process in reversed(processes):
        process.stop()
    left = [process.name for process in processes if process.is_group_alive()]
    if left:
        raise DemoError(f"Processes of the {' and the '.join(left)} could not be stopped.")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what is done inside end; it is bounded, and half of it would leave processes behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
