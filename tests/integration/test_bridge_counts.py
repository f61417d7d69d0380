"""A real bridge beside a real server: whatever comes at once, late or before it, counts once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridge import Bridge, Samples, bridge, total
from tests.support.making import FAILED, Maker, maker
from tests.support.prometheus import Prometheus, Sample, prometheus
from tests.support.receiver import Received, attributes_of
from tests.support.server import prefect_server, wait_for

# Each waits for several real processes, on machines that have other things to do.
pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

BURST = 4_000
QUIET = 2.0
"""Seconds without news: longer than a sweep and the release of a series."""

ERRORS = "cicd_pipeline_run_errors_total"
EVENTS = "prefect_status_bridge_events_total"
MESSAGES = "prefect_status_messages_total"
MISSED = "prefect_status_bridge_missed_total"
TRANSITIONS = "prefect_flow_run_transitions_total"


@pytest.fixture
def runs(prefect_api: str) -> Iterator[Maker]:
    with maker(prefect_api) as made:
        yield made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Maker]:
    """On a server of its own: where all events are counted, none may be another test's."""
    home = tmp_path / "prefect"
    home.mkdir()
    with prefect_server(home) as address, maker(address) as made:
        yield made


@pytest.mark.fault(15)
def test_a_burst_is_counted_whole_and_what_the_websocket_dropped_is_said(
    otlp_env: dict[str, str], alone: Maker, tmp_path: Path
) -> None:
    runs, env = alone, {**otlp_env, "PREFECT_API_URL": str(alone.client.base_url).rstrip("/")}
    with bridge(env, tmp_path) as running:
        running.wait_ready()
        run_id = runs.begin()
        wait_for(lambda: running.run(run_id).get("state_type") == "RUNNING", what="the run")
        before = _quiet(running)
        runs.post_events(runs.status(run_id, f"Step {n % 7}") for n in range(BURST))
        # The server writes what it was sent at its own pace; the run's end comes after it.
        wait_for(lambda: _events_of(runs, run_id) >= BURST, timeout=150, what="the server's events")
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


@pytest.mark.timeout(240)
@pytest.mark.fault(36)
def test_prometheus_counts_each_failure_over_a_backfill_a_death_and_a_restart(
    otlp_env: dict[str, str], runs: Maker, received: Received, tmp_path: Path
) -> None:
    before = [runs.run(FAILED) for _ in range(3)]
    with (
        bridge(otlp_env, tmp_path, scrape_interval=1) as running,
        prometheus(tmp_path / "prometheus", f"127.0.0.1:{running.port}") as scraped,
    ):
        # Of a backfill traces come, and nobody is paged.
        running.wait_ready(timeout=90)
        running.wait_until_settled(before)
        wait_for(lambda: _drawn(received, runs) == set(before), what="the backfilled traces")
        _wait_for_scrapes(scraped, 3)
        assert scraped.query(f'{ERRORS}{{cicd_pipeline_name="{runs.flow}"}} > 0') == []

        # The first failure, of a series that nobody knew; then several at once.
        runs.run(FAILED)
        _wait_until_seen(scraped, runs, 1)
        for _ in range(3):
            runs.run(FAILED)
        _wait_until_seen(scraped, runs, 4)

        # Some while it is dead, and some that it had not yet counted.
        runs.run(FAILED)
        running.kill()
        runs.run(FAILED)
        running.start()
        running.wait_ready(timeout=90)
        runs.run(FAILED)
        samples = _wait_until_seen(scraped, runs, 7)
        values = [value for _, value in samples]
        assert values == sorted(values)
        assert values[-1] - values[0] == 7
        window = f"{round(samples[-1][0] - samples[0][0]) + 5}s"
        increase = scraped.value(
            f'increase({ERRORS}{{cicd_pipeline_name="{runs.flow}"}}[{window}])',
            time=samples[-1][0],
        )
        assert increase is not None
        assert round(increase) == 7


@pytest.mark.timeout(180)
@pytest.mark.fault(17)
def test_what_ended_while_the_bridge_was_off_is_counted_from_history(
    otlp_env: dict[str, str], runs: Maker, received: Received, tmp_path: Path
) -> None:
    with bridge(otlp_env, tmp_path) as running:
        running.wait_ready(timeout=90)
        half = runs.begin()
        wait_for(lambda: running.run(half).get("state_type") == "RUNNING", what="the run")
        missed = running.total(MISSED)
        assert running.stop() == 0
        runs.say(half, "While nobody listens", "And again")
        runs.set_state(half, FAILED)
        whole = runs.run(FAILED)
        runs.say(whole, "Once more")
        wait_for(lambda: _events_of(runs, whole), what="the server's events")
        running.start()
        running.wait_ready(timeout=90)
        running.wait_until_settled([half, whole])
        running.wait_for_total(2, ERRORS, cicd_pipeline_name=runs.flow)
        running.wait_for_total(3, MESSAGES, cicd_pipeline_name=runs.flow)
        running.wait_for_total(6, TRANSITIONS, cicd_pipeline_name=runs.flow)
        assert running.total(MISSED) == missed, "the websocket could not have brought these"
        wait_for(lambda: _drawn(received, runs) == {half, whole}, what="both traces")


def _drawn(received: Received, runs: Maker) -> set[str]:
    """The ids of the runs that have a span."""
    spans = [s for s in list(received.spans) if s.name == f"RUN {runs.flow}"]
    return {attributes_of(span.attributes)["cicd.pipeline.run.id"] for span in spans}


def _wait_for_scrapes(scraped: Prometheus, count: int) -> None:
    def enough() -> bool:
        return sum(value for _, value in scraped.samples("up", "1m")) >= count

    wait_for(enough, what=f"{count} scrapes")


def _wait_until_seen(scraped: Prometheus, runs: Maker, failures: int) -> list[Sample]:
    """All samples, once FAILURES were seen three times: the increase needs some width."""
    selector = f'{ERRORS}{{cicd_pipeline_name="{runs.flow}"}}'

    def enough() -> list[Sample]:
        samples = scraped.samples(selector)
        return samples if [value for _, value in samples].count(failures) >= 3 else []

    return wait_for(enough, timeout=60, what=f"{failures} failures in Prometheus")
