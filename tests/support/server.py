"""A real Prefect server in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_POLL = threading.Event()  # never set: its wait is the pause between two looks


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(condition: Callable[[], T], *, timeout: float = 30.0, what: str = "condition") -> T:
    """The first true result of CONDITION; fails after TIMEOUT seconds. No luck, a bound."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout:g} s; last: {found!r}")
        _POLL.wait(0.05)


def environment(home: Path, **extra: str) -> dict[str, str]:
    """A clean environment for Prefect: none of the caller's Prefect or OpenTelemetry settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT", "OTEL_", "PROMETHEUS_"))
    }
    quiet = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_CLI_COLORS": "false",
    }
    return {**kept, **quiet, **extra}


@contextmanager
def prefect_server(home: Path, **extra_env: str) -> Iterator[str]:
    """Run a server, on SQLite in HOME unless EXTRA_ENV says otherwise, and stop it at the end.

    Gives the address of its API.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1"],
        env=environment(home, **extra_env),
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_for(
            lambda: _answers(f"{address}/health", process), timeout=60, what="Prefect's server"
        )
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Prefect's server ended while it started"
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
