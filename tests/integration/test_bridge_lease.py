"""Two real bridges on one store: one works, one waits, and takes over; nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prefect_otel_status import signals
from prefect_otel_status.ids import trace_id_of
from tests.support.bridge import Bridge, Samples, bridge, stored
from tests.support.making import FAILED, Maker, maker
from tests.support.postgres import new_database
from tests.support.receiver import Received

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

LEASE = 600
"""Seconds: whoever waits for it to run out fails the test."""

ERRORS = "cicd_pipeline_run_errors_total"


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store."""
    if request.param == "sqlite":
        return str(tmp_path / "bridge.db")
    return new_database(request.getfixturevalue("postgres_url"), "bridge")


@pytest.fixture
def pair(otlp_env: dict[str, str], store: str, tmp_path: Path) -> Iterator[tuple[Bridge, Bridge]]:
    """One that works, and one that waits."""
    with ExitStack() as stack:
        one = stack.enter_context(bridge(otlp_env, tmp_path / "one", store=store, lease=LEASE))
        one.wait_ready(timeout=90)
        other = stack.enter_context(bridge(otlp_env, tmp_path / "other", store=store, lease=LEASE))
        other.wait_waiting(timeout=90)
        yield one, other


@pytest.mark.fault(12)
def test_the_second_waits_and_takes_over_from_one_that_dies_or_stops(
    pair: tuple[Bridge, Bridge], prefect_api: str, received: Received
) -> None:
    one, other = pair
    with maker(prefect_api) as runs:
        ended = [_fail(runs, one, total=1)]
        assert other.scrape() == {}
        assert "waits for its turn" in other.log

        one.kill()
        other.wait_ready(timeout=30)
        shown = [_errors(other.scrape(), runs)]
        ended.append(_fail(runs, other, total=2))

        one.start()
        one.wait_waiting(timeout=90)
        assert one.scrape() == {}
        assert other.stop() == 0
        one.wait_ready(timeout=30)
        shown.append(_errors(one.scrape(), runs))
        ended.append(_fail(runs, one, total=3))
        assert one.stop() == 0
    assert shown == [1, 2], "a takeover must neither lose nor jump"
    of_run = (runs.flow, "", "")
    assert stored(one.store)[signals.RUN_ERRORS.name, (*of_run, "ValueError")] == 3
    drawn = [s.trace_id for s in received.spans if s.name == f"RUN {runs.flow}"]
    assert sorted(set(drawn)) == sorted(trace_id_of(id).to_bytes(16, "big") for id in ended)
    assert len(drawn) == 3, "those that stop and die while they are idle resend nothing"


def _fail(runs: Maker, working: Bridge, *, total: int) -> str:
    """Let a run fail; its id, once WORKING shows TOTAL failures and has delivered its span."""
    run_id = runs.run(FAILED)
    working.wait_until_settled([run_id])
    working.wait_for_total(total, ERRORS, cicd_pipeline_name=runs.flow)
    working.wait_for_outbox(0)
    return run_id


def _errors(samples: Samples, runs: Maker) -> float:
    flow = ("cicd_pipeline_name", runs.flow)
    return sum(v for (name, labels), v in samples.items() if name == ERRORS and flow in labels)
