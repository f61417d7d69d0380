"""What a scenario can do: run, serve and kill the flows, and act on their runs through the API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.recording.reading import Api, Json, fingerprint
from tests.support.processes import beside
from tests.support.server import environment, wait_for

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
FLOWS = Path(__file__).parent / "flows"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
QUIET = 3.0
MOST = 90.0


class Scene:
    """One server with nothing in it, and the flows of one variant."""

    def __init__(self, *, address: str, folder: Path, variant: str) -> None:
        self.api = Api(address)
        self.folder = folder
        self.acts: list[Json] = []
        self.env = environment(
            folder,
            PREFECT_API_URL=address,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30",
            PREFECT_RUNNER_POLL_FREQUENCY="1",
            PREFECT_OTEL_STATUS_FOLDER=str(folder / "telemetry"),
            RECORDING_VARIANT=variant,
            RECORDING_FOLDER=str(folder),
            PYTHONPATH=str(ROOT),
        )

    def run(self, script: str, name: str) -> int:
        """Run the flow NAME to its end; gives the exit code of its process."""
        with (self.folder / f"{name}.log").open("wb") as log:
            done = subprocess.run(
                self._command(script, name),
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=MOST,
                check=False,
                cwd=ROOT,
            )
        return done.returncode

    @contextmanager
    def start(self, script: str, name: str, *how: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run SCRIPT beside the scenario; its process group is ended at the end."""
        log = self.folder / f"{name}-{'-'.join(how) or 'run'}-{len(self.acts)}.log"
        command = self._command(script, name, *how)
        with beside(command, env=self.env, log=log, cwd=ROOT) as process:
            yield process

    @contextmanager
    def served(self, script: str, name: str) -> Iterator[str]:
        """Serve the flow NAME; gives the id of its deployment."""
        with self.start(script, name, "serve"):
            yield self.wait(lambda: self._deployment(name), what="the deployment")

    def create_run(self, deployment: str) -> str:
        """Have the deployment run now; gives the id of the run."""
        run_id: str = self.api.post(f"/deployments/{deployment}/create_flow_run", {})["id"]
        self.acted("created", run_id=run_id)
        return run_id

    def set_state(self, run_id: str, type: str, name: str, **state: Any) -> None:
        """Set the state of a run from outside, as Prefect's own interface does."""
        body = {"state": {"type": type, "name": name, **state}, "force": True}
        self.acted(f"set {name}", run_id=run_id, answer=self._set_state(run_id, body))

    def resume(self, run_id: str) -> None:
        """Resume a run that is paused or suspended."""
        answer = self.api.post(f"/flow_runs/{run_id}/resume", {})
        self.acted("resumed", run_id=run_id, answer=answer["status"])

    def mark(self, name: str) -> None:
        """Let the flow that waits for NAME go on."""
        (self.folder / name).touch()
        self.acted(name)

    def acted(self, what: str, **values: Any) -> None:
        """Note that the recorder did WHAT just now."""
        self.acts.append({"what": what, "at": time.time_ns(), **values})

    def only_run(self) -> str:
        """The id of the one flow run that there is."""
        (run,) = self.wait(lambda: self.api.post("/flow_runs/filter", {}), what="the run")
        run_id: str = run["id"]
        return run_id

    def wait_for_state(self, run_id: str, *names: str) -> None:
        """Wait until the run is in one of the states NAMES; without any, until it is over."""
        self.wait(lambda: self._is_in(run_id, names), what=f"{names or 'the end'} of the run")

    def wait_for_notes(self, what: str, count: int = 1) -> list[Json]:
        """Wait until the flows have noted WHAT so often."""
        return self.wait(
            lambda: found if len(found := self.notes(what)) >= count else None,
            what=f"{count} times {what}",
        )

    def notes(self, what: str) -> list[Json]:
        """What the flows themselves noted of WHAT."""
        file = self.folder / "notes.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def settle(self) -> None:
        """Wait until nothing has changed in the server for some seconds."""
        last: Json = {}
        since = time.monotonic()

        def quiet() -> bool:
            nonlocal last, since
            if (now := fingerprint(self.api)) != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > QUIET

        self.wait(quiet, what="quiet")

    def wait(self, condition: Callable[[], T | None], *, what: str) -> T:
        """The first true result of CONDITION."""
        found = wait_for(condition, timeout=MOST, what=what)
        assert found is not None
        return found

    def _command(self, script: str, *arguments: str) -> list[str]:
        return [sys.executable, str((FLOWS / script).relative_to(ROOT)), *arguments]

    def _set_state(self, run_id: str, body: Json) -> str:
        status: str = self.api.post(f"/flow_runs/{run_id}/set_state", body)["status"]
        return status

    def _is_in(self, run_id: str, names: tuple[str, ...]) -> bool:
        run: Json = self.api.get(f"/flow_runs/{run_id}")
        return bool(run["state_name"] in names if names else run["state_type"] in FINAL)

    def _deployment(self, name: str) -> str | None:
        try:
            found = self.api.get(f"/deployments/name/{name.replace('_', '-')}/prod")
        except httpx.HTTPStatusError:
            return None
        deployment_id: str = found["id"]
        return deployment_id
