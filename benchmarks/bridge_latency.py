"""How long a status takes from `status()` to the bridge's `/metrics`, and a change of state.

`python -m benchmarks.bridge_latency [--statuses 150]`. A real server on SQLite, a real flow process
that says a status every 0.05 to 2 seconds, each tenth one an error, and a real bridge; `/metrics`
is asked every 10 ms. A status has come when the time of its deployment's last status is not before
its own. Changes of state are made through the server's API, and have come when the number of
active runs shows them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bridge_server_cost import ROOT
from tests.support.bridge import Bridge, bridge
from tests.support.making import COMPLETED, Maker, maker
from tests.support.server import environment, prefect_server

FLOW = """
import json, random, sys, time
from prefect import flow
from prefect_otel_status import flow_hooks, status

@flow(**flow_hooks())
def talking():
    chance = random.Random(1)
    for number in range(int(sys.argv[1])):
        level = "error" if number % 10 == 9 else "info"
        print(json.dumps([time.time(), level]), flush=True)
        status("Step {number}", number=number, level=level)
        time.sleep(chance.uniform(0.05, 2))

talking()
"""
LAST_STATUS = "prefect_deployment_last_status_timestamp_seconds"
ACTIVE = "cicd_pipeline_run_active"
QUIET = threading.Event()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--statuses", type=int, default=150)
    parser.add_argument("--states", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _measure(Path(name), chosen.statuses, chosen.states)


def _measure(folder: Path, statuses: int, states: int) -> None:
    with prefect_server(folder) as address:
        env = environment(folder, PREFECT_API_URL=address, PYTHONPATH=str(ROOT))
        env["PREFECT_OTEL_STATUS_FOLDER"] = str(folder / "telemetry")
        usual = {"settle": 10, "sweep_interval": 5, "scrape_interval": 15, "lease": 10}
        with bridge(env, folder / "bridge", **usual) as running:
            running.wait_ready()
            found = _of_statuses(running, folder, env, statuses)
            with maker(address) as runs:
                found["state"] = [_of_a_state(running, runs) for _ in range(states)]
    for name, seconds in found.items():
        _print(name, seconds)


def _of_statuses(
    running: Bridge, folder: Path, env: dict[str, str], statuses: int
) -> dict[str, list[float]]:
    """Seconds until each status had come, by level."""
    script = folder / "talking.py"
    script.write_text(FLOW)
    found: dict[str, list[float]] = {"info": [], "error": []}
    waiting: list[tuple[float, str]] = []
    command = [sys.executable, str(script), str(statuses)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    with process, _lines(process, waiting):
        while process.poll() is None or waiting:
            last, now = running.total(LAST_STATUS), time.time()
            for said, level in [each for each in waiting if each[0] <= last]:
                found[level].append(now - said)
                waiting.remove((said, level))
            QUIET.wait(0.01)
    return found


@contextmanager
def _lines(process: subprocess.Popen[str], waiting: list[tuple[float, str]]) -> Iterator[None]:
    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("["):
                said, level = json.loads(line)
                waiting.append((said, level))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    yield
    thread.join(10)


def _of_a_state(running: Bridge, runs: Maker) -> float:
    """Seconds from a run's start until it is among the active ones."""
    labels = {"cicd_pipeline_name": runs.flow, "cicd_pipeline_run_state": "executing"}
    _until(lambda: running.total(ACTIVE, **labels) == 0)
    run_id = runs.begin()
    began = time.time()
    _until(lambda: running.total(ACTIVE, **labels) == 1)
    took = time.time() - began
    runs.set_state(run_id, COMPLETED)
    return took


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it has not come in a minute"
        QUIET.wait(0.01)


def _print(name: str, seconds: list[float]) -> None:
    deciles = statistics.quantiles(seconds, n=10)
    print(
        f"{name:6} {len(seconds):4} of them: median {1000 * statistics.median(seconds):6.0f} ms, "
        f"p90 {1000 * deciles[-1]:6.0f} ms, longest {1000 * max(seconds):6.0f} ms"
    )


if __name__ == "__main__":
    main()
