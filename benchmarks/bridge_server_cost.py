"""What the bridge costs the Prefect server, beside what the runs themselves cost it.

`python -m benchmarks.bridge_server_cost [--runs 10] [--rounds 5]`. A real server on SQLite; runs
of 20 tasks by a real flow process, in interleaved rounds with and without a bridge; CPU of the
server's process by the kernel's account.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests.support.server import environment, free_port, prefect_server, wait_for

TICK = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parent.parent
FLOW = """
import sys
from prefect import flow, task

@task
def work(i): return i

@flow(log_prints=False)
def twenty():
    for i in range(20): work(i)

for _ in range(int(sys.argv[1])): twenty()
"""
_pause = threading.Event()


def cpu_of(address: str) -> float:
    """Seconds of CPU that the process which listens at ADDRESS has used, its children included."""
    port = int(address.rsplit(":", 1)[1].split("/")[0])
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command = (stat.parent / "cmdline").read_bytes().decode("utf-8", "replace")
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if f"\0{port}\0" in command and "server" in command:
            total += int(fields[11]) + int(fields[12])
    return total / TICK


@contextmanager
def a_bridge(env: dict[str, str]) -> Iterator[None]:
    """A bridge beside the server, once it is ready."""
    listen = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "prefect_otel_status", "bridge", "--listen", listen]
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _is_ready(listen), timeout=60, what="the bridge")
        yield
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(listen: str) -> bool:
    try:
        return httpx.get(f"http://{listen}/readyz").is_success
    except httpx.TransportError:
        return False


def _settled(store: Path, runs: int) -> bool:
    """Whether as many runs are settled in the bridge's STORE."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)) as connection:
        query = "SELECT count(*) FROM runs WHERE phase = 'settled'"
        return bool(connection.execute(query).fetchone()[0] >= runs)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _measure(Path(name), chosen.runs, chosen.rounds)


def _measure(folder: Path, runs: int, rounds: int) -> None:
    script = folder / "twenty.py"
    script.write_text(FLOW)
    alone: list[float] = []
    beside: list[float] = []
    with prefect_server(folder) as address:
        env = environment(folder, PREFECT_API_URL=address, PYTHONPATH=str(ROOT))
        env["PREFECT_OTEL_STATUS_FOLDER"] = str(folder / "telemetry")
        env["PREFECT_LOGGING_LEVEL"] = "WARNING"
        _run(script, 1, env)
        store = folder / "telemetry" / "bridge.db"
        made = 1
        for _ in range(rounds):
            alone.append(_cost(script, runs, env, address))
            made += runs
            with a_bridge(env):
                # What ran without it is history that it reads first; not part of the cost.
                _wait_until_settled(store, made)
                before = cpu_of(address)
                _run(script, runs, env)
                made += runs
                _wait_until_settled(store, made)
                beside.append(cpu_of(address) - before)
    _print(alone, beside, runs)


def _wait_until_settled(store: Path, runs: int) -> None:
    wait_for(lambda: _settled(store, runs), timeout=120, what=f"the settling of {runs} runs")


def _cost(script: Path, runs: int, env: dict[str, str], address: str) -> float:
    before = cpu_of(address)
    _run(script, runs, env)
    _pause.wait(15)  # as long as settling takes with a bridge: an idle server has a cost too
    return cpu_of(address) - before


def _run(script: Path, runs: int, env: dict[str, str]) -> None:
    subprocess.run([sys.executable, str(script), str(runs)], env=env, check=True)


def _print(alone: list[float], beside: list[float], runs: int) -> None:
    for name, found in (("without", alone), ("with a bridge", beside)):
        each = [1000 * seconds / runs for seconds in found]
        print(f"{name:14} {statistics.median(each):7.0f} ms of server CPU a run of 20 tasks", each)
    ratios = [b / a for a, b in zip(alone, beside, strict=True)]
    print(f"ratio {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
