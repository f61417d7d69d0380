"""A real bridge in a process of its own, beside a test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from prefect_otel_status.bridge import series_rows
from prefect_otel_status.bridge.store import open_store
from prefect_otel_status.bridge.values import Buckets, Value
from tests.support.processes import end
from tests.support.server import free_port, wait_for

Key = tuple[str, frozenset[tuple[str, str]]]
"""A sample: its name and its labels."""

Samples = dict[Key, float]

QUICK = {"settle": 0.5, "sweep_interval": 0.5, "scrape_interval": 0.5, "lease": 3}
"""Settings with which a test need not wait."""

_PREFIX = "PREFECT_OTEL_STATUS_"


class Bridge:
    """A bridge that can be started, asked, stopped and killed, again and again."""

    def __init__(self, env: dict[str, str], folder: Path, **settings: object) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # One that a test does not name is in the folder, so that a start finds it again.
        given = {"folder": folder, "store": folder / "bridge.db", **QUICK, **settings}
        given.setdefault("listen", f"127.0.0.1:{self.port}")
        self.store = str(given["store"])
        self._env = {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **env,
            **{f"{_PREFIX}{name}".upper(): str(value) for name, value in given.items()},
        }
        self._log = folder / f"bridge-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    # --- a life ------------------------------------------------------------
    def start(self) -> None:
        """Start the process; `wait_ready` tells when it works."""
        assert not self.is_alive, "it runs already"
        command = [sys.executable, "-m", "prefect_otel_status", "bridge"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL: it has no moment to write anything."""
        process = self._running
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, *, timeout: float = 20) -> int:
        """SIGTERM; its exit code."""
        process = self._running
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout)

    def end(self) -> None:
        """Whatever it does, it is over."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that it has logged, over all its lives."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    # --- what it answers ---------------------------------------------------
    def ask(self, path: str) -> httpx.Response | None:
        """Its answer to PATH; None while it does not answer."""
        try:
            return httpx.get(f"{self.address}{path}", timeout=10)
        except httpx.TransportError:
            return None

    def page(self, path: str) -> Any:
        """The JSON that it answers to PATH, whatever the status; None while it does not answer."""
        answer = self.ask(path)
        return None if answer is None else answer.json()

    def run(self, run_id: str) -> dict[str, Any]:
        """What it knows of the run RUN_ID; nothing where it does not know it."""
        answer = self.ask(f"/api/runs/{run_id}")
        return answer.json() if answer is not None and answer.status_code == 200 else {}

    def scrape(self) -> Samples:
        """All samples of `/metrics`; none while it waits for the lease or does not answer."""
        answer = self.ask("/metrics")
        if answer is None or answer.status_code != 200:
            return {}
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples NAME that have LABELS, whose dots are written as `_`."""
        return total(self.scrape(), name, **labels)

    # --- waiting -----------------------------------------------------------
    def wait_ready(self, *, timeout: float = 40) -> None:
        """Until it works and has read the history once. Fails at once where it has ended."""
        self._wait_for(self._is_working, timeout=timeout, what="a working bridge")

    def wait_waiting(self, *, timeout: float = 40) -> None:
        """Until it says that another bridge works on its store."""
        self._wait_for(self._is_waiting, timeout=timeout, what="a bridge that waits")

    def wait_until_settled(self, run_ids: Iterable[str], *, timeout: float = 120) -> None:
        """Until all of RUN_IDS are settled: their spans frozen, their counters stepped."""
        left = list(run_ids)

        def settled() -> bool:
            while left and self.run(left[-1]).get("phase") == "settled":
                left.pop()
            return not left

        self._wait_for(settled, timeout=timeout, what="all runs settled")

    def wait_for_total(
        self, value: float, name: str, *, timeout: float = 90, **labels: str
    ) -> None:
        """Until the samples NAME with LABELS add up to VALUE, no more and no less."""
        last: list[float] = []

        def reached() -> bool:
            last.append(self.total(name, **labels))
            return last[-1] >= value

        self._wait_for(reached, timeout=timeout, what=f"{name} {labels} at {value:g}")
        assert last[-1] == value, f"{name} {labels} is {last[-1]:g}, not {value:g}"

    def wait_for_outbox(self, items: int, *, timeout: float = 30) -> None:
        """Until no more than ITEMS wait for the receiver."""
        name = "prefect_status_bridge_outbox_items"

        def delivered() -> bool:
            samples = self.scrape()
            return bool(samples) and total(samples, name) <= items

        self._wait_for(delivered, timeout=timeout, what=f"{items} items in the outbox")

    def _is_working(self) -> bool:
        found = self.page("/readyz") or {}
        return found.get("lease") == "working" and bool(found.get("ready"))

    def _is_waiting(self) -> bool:
        return (self.page("/readyz") or {}).get("lease") == "waiting"

    def _wait_for(self, condition: Any, *, timeout: float, what: str) -> None:
        def alive_and_true() -> bool:
            assert self.is_alive, f"the bridge has ended:\n{self.log[-2000:]}"
            return bool(condition())

        try:
            wait_for(alive_and_true, timeout=timeout, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-3000:]}") from None


@contextmanager
def bridge(env: dict[str, str], folder: Path, **settings: object) -> Iterator[Bridge]:
    """Run a bridge with the environment ENV, its store and files in FOLDER, until the end.

    SETTINGS are those of `PREFECT_OTEL_STATUS_*`, in lower case; where not
    given, they are quick ones. It may still be starting: `wait_ready`.
    """
    running = Bridge(env, folder, **settings)
    running.start()
    try:
        yield running
    finally:
        running.end()


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples NAME that have LABELS."""
    wanted = set(labels.items())
    return sum(v for (found, pairs), v in samples.items() if found == name and wanted <= pairs)


def stored(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The true totals in the store at ADDRESS: of a counter its value, of a histogram its count."""
    return asyncio.run(_stored(address))


async def _stored(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    store = await open_store(address, now=time.time_ns())
    try:
        found = await store.read(lambda connection: list(series_rows.read(connection)))
    finally:
        await store.close()
    return {key: _count(series.value) for key, series in found}


def _count(value: Value) -> float:
    return float(sum(value.counts)) if isinstance(value, Buckets) else value
