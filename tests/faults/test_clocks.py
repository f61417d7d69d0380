"""Events that are dated where they did not happen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.support.bridge import bridge
from tests.support.making import COMPLETED, Maker, maker

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

MESSAGES = "prefect_status_messages_total"


@pytest.fixture
def runs(prefect_api: str) -> Iterator[Maker]:
    with maker(prefect_api) as made:
        yield made


@pytest.mark.fault(16)
def test_an_event_of_tomorrow_hides_nothing_of_today(
    flow_env: dict[str, str], runs: Maker, tmp_path: Path
) -> None:
    with bridge(flow_env, tmp_path, backfill="0s") as running:
        running.wait_ready(timeout=90)
        run_id = runs.begin()
        early = runs.status(run_id, "From tomorrow")
        early["occurred"] = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat()
        runs.post_events([early])
        running.wait_for_total(1, MESSAGES, cicd_pipeline_name=runs.flow)
        running.kill()  # so that what follows is found by the sweep alone, from where it came to
        runs.say(run_id, "First today", "Second today")
        running.start()
        running.wait_ready(timeout=90)
        running.wait_for_total(3, MESSAGES, cicd_pipeline_name=runs.flow)
        runs.set_state(run_id, COMPLETED)
        running.wait_until_settled([run_id])
        running.wait_for_total(3, MESSAGES, cicd_pipeline_name=runs.flow)
