"""`kill -9` of the bridge, again and again, at any point: each run once, every counter exact."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from prefect_otel_status import signals
from prefect_otel_status.ids import trace_id_of
from tests.conftest import ROOT
from tests.support.bridge import Bridge, bridge, stored
from tests.support.making import COMPLETED, FAILED, Maker, maker
from tests.support.receiver import Received
from tests.support.server import wait_for

KILLS = int(os.environ.get("BRIDGE_KILLS", "4"))
"""How often the whole process is killed; a start takes seconds. The promise is 100."""

SEED = 20_261_124


class Making:
    """Makes runs, one after the other, until it is told to stop; keeps what is true of them."""

    def __init__(self, runs: Maker) -> None:
        self._runs = runs
        self._stop = threading.Event()
        self.ended: list[str] = []
        self.failed = self.said = 0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        thread = threading.Thread(target=self._make, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(30)

    def _make(self) -> None:
        while not self._stop.wait(0.2):
            run_id = self._runs.begin()
            self._runs.say(run_id, "Begun", "Going on")
            self.said += 2
            end = FAILED if len(self.ended) % 3 == 0 else COMPLETED
            self._runs.set_state(run_id, end)
            self.failed += end is FAILED
            self.ended.append(run_id)


@pytest.mark.server
@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.fault(9)
def test_a_bridge_that_is_killed_again_and_again_draws_and_counts_each_run_once(
    otlp_env: dict[str, str], prefect_api: str, received: Received, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    with maker(prefect_api) as runs, bridge(otlp_env, tmp_path) as running:
        running.wait_ready()  # what is over before there is a store is drawn, and not counted
        making = Making(runs)
        with making.going_on():
            for _ in range(KILLS):
                _kill_somewhere(running, received, chance)
                running.start()
        running.wait_ready(timeout=90)
        running.wait_until_settled(making.ended, timeout=120)
        assert running.stop() == 0
    _assert_drawn_once(received.spans, making.ended)
    assert _totals(stored(running.store), runs.flow) == {
        signals.RUN_ERRORS.name: making.failed,
        signals.RUN_DURATION.name: len(making.ended),
        signals.QUEUE_DURATION.name: len(making.ended),
        signals.TRANSITIONS.name: 3 * len(making.ended),
        signals.MESSAGES.name: making.said,
    }


def _kill_somewhere(running: Bridge, received: Received, chance: random.Random) -> None:
    """Kill it after it has sent some spans, and a moment more; sometimes while it starts."""
    wanted = chance.choice((0, 1, 1, 4))
    moment = chance.random()
    sent = len(received.spans)
    wait_for(lambda: len(received.spans) >= sent + wanted, timeout=60, what=f"{wanted} spans")
    then = time.monotonic() + moment
    wait_for(lambda: time.monotonic() >= then, what="a moment")
    running.kill()


def _assert_drawn_once(spans: Iterable[Span], run_ids: Iterable[str]) -> None:
    """Whatever was sent again is the same to the bit; each run is one span."""
    found: defaultdict[tuple[bytes, bytes], set[bytes]] = defaultdict(set)
    for span in spans:
        found[span.trace_id, span.span_id].add(span.SerializeToString(deterministic=True))
    assert {key for key, bodies in found.items() if len(bodies) > 1} == set()
    drawn = Counter(trace_id for trace_id, _ in found)
    wanted = {trace_id_of(run_id).to_bytes(16, "big") for run_id in run_ids}
    assert {trace_id: drawn[trace_id] for trace_id in wanted} == dict.fromkeys(wanted, 1)


def _totals(series: dict[tuple[str, tuple[str, ...]], float], flow: str) -> dict[str, float]:
    found: Counter[str] = Counter()
    for (metric, labels), value in series.items():
        if labels[:1] == (flow,):
            found[metric] += value  # type: ignore[assignment]  # counts that are floats
    return dict(found)


@pytest.mark.timeout(240)
@pytest.mark.fault(9, 10)
def test_a_hundred_kills_between_two_statements_change_nothing(tmp_path: Path) -> None:
    undisturbed = _replayed(tmp_path / "undisturbed", kills=0)
    killed = _replayed(tmp_path / "killed", kills=100)
    assert killed["kills"] == 100
    assert killed["totals"] == undisturbed["totals"]
    assert killed["spans"] == undisturbed["spans"]  # by ids, the bytes of each
    assert killed["resent"] > 0, "no kill came between sending and confirming"


def _replayed(folder: Path, *, kills: int) -> dict[str, Any]:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.support.killed", str(folder), str(kills), str(SEED)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
