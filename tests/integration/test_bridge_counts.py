"""A real bridge beside a real server: whatever comes at once, late or before it, counts once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridge import Bridge, Samples, bridge, total
from tests.support.making import FAILED, Maker, maker
from tests.support.receiver import Received
from tests.support.server import wait_for

pytestmark = pytest.mark.server

BURST = 4_000
QUIET = 2.0
"""Seconds without news: longer than a sweep and the release of a series."""

ERRORS = "cicd_pipeline_run_errors_total"
EVENTS = "prefect_status_bridge_events_total"
MESSAGES = "prefect_status_messages_total"
MISSED = "prefect_status_bridge_missed_total"


@pytest.fixture
def runs(prefect_api: str) -> Iterator[Maker]:
    with maker(prefect_api) as made:
        yield made


def test_a_burst_is_counted_whole_and_what_the_websocket_dropped_is_said(
    otlp_env: dict[str, str], runs: Maker, tmp_path: Path
) -> None:
    with bridge(otlp_env, tmp_path) as running:
        running.wait_ready()
        run_id = runs.begin()
        wait_for(lambda: running.run(run_id).get("state_type") == "RUNNING", what="the run")
        before = _quiet(running)
        runs.post_events(runs.status(run_id, f"Step {n % 7}") for n in range(BURST))
        # The server writes what it was sent at its own pace; the run's end comes after it.
        wait_for(lambda: _events_of(runs, run_id) >= BURST, timeout=60, what="the server's events")
        runs.set_state(run_id, FAILED)
        running.wait_until_settled([run_id])
        running.wait_for_total(BURST, MESSAGES, cicd_pipeline_name=runs.flow)
        after = _quiet(running)
    by_path = {
        path: total(after, EVENTS, prefect_status_path=path)
        - total(before, EVENTS, prefect_status_path=path)
        for path in ("websocket", "sweep", "reconcile")
    }
    assert sum(by_path.values()) == BURST + 1  # and the end of the run
    found_late = by_path["sweep"] + by_path["reconcile"]
    assert total(after, MISSED) - total(before, MISSED) == found_late
    assert found_late > BURST / 4, "the websocket dropped next to nothing: no burst"
    assert total(after, ERRORS, cicd_pipeline_name=runs.flow) == 1


def _events_of(runs: Maker, run_id: str) -> int:
    resource = {"id": [f"prefect.flow-run.{run_id}"]}
    names = {"name": ["prefect-otel-status.statuses"]}
    body = {"filter": {"resource": resource, "event": names}, "limit": 1}
    answer = runs.client.post("/events/filter", json=body)
    assert answer.is_success, answer.text
    found: int = answer.json()["total"]
    return found


def _quiet(running: Bridge) -> Samples:
    """The samples once nothing new came for a while."""
    seen: list[tuple[float, float]] = []

    def stands_still() -> Samples:
        samples = running.scrape()
        now, value = time.monotonic(), total(samples, EVENTS)
        if not seen or seen[-1][1] != value:
            seen.append((now, value))
        return samples if now - seen[-1][0] > QUIET else {}

    return wait_for(stands_still, timeout=60, what="an end of the events")
