"""The disk of the store: full in the middle of the work, then free again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridge import bridge
from tests.support.disk import fill, free, small_disk
from tests.support.making import COMPLETED, FAILED, Maker, maker
from tests.support.server import wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

ERRORS = "cicd_pipeline_run_errors_total"
MESSAGES = "prefect_status_messages_total"


@pytest.fixture
def runs(prefect_api: str) -> Iterator[Maker]:
    with maker(prefect_api) as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=24) as disk:
        yield disk


@pytest.mark.fault(7)
def test_a_full_disk_is_said_and_all_is_counted_once_it_is_free(
    flow_env: dict[str, str], runs: Maker, disk: Path, tmp_path: Path
) -> None:
    with bridge(flow_env, tmp_path / "bridge", store=disk / "bridge.db", backfill="0s") as running:
        running.wait_ready(timeout=90)
        before = runs.run(FAILED)
        running.wait_until_settled([before])
        fill(disk)
        meanwhile = [runs.run(FAILED) for _ in range(3)]
        talking = runs.begin()
        # More than the store's own file has room for in what it has allocated.
        for number in range(20):
            runs.say(talking, *(f"Status {number} {i} {'x' * 900}" for i in range(20)))
        wait_for(lambda: "disk is full" in running.log, timeout=90, what="the trouble in the log")
        assert running.is_alive
        free(disk)
        runs.set_state(talking, COMPLETED)
        running.wait_until_settled([*meanwhile, talking], timeout=180)
        of_run = {"cicd_pipeline_name": runs.flow}
        running.wait_for_total(4, ERRORS, **of_run)
        running.wait_for_total(400, MESSAGES, **of_run)
        assert running.log.count("disk is full") < 20  # once a minute for each part, not each time
