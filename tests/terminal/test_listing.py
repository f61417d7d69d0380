"""The list of deployments: in which order, of which, and what it shows of each."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from prefect_otel_status.bridge.times import iso
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.terminal import listing
from prefect_otel_status.terminal.listing import Listing, Wanted, table_of, unhealthy

NOW = 1_795_514_400 * 10**9
MINUTE = 60 * 10**9


def row(flow: str, **changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        **{"flow": flow, "deployment": None, "environment": None, "health": "unknown"},
        **{"why": "Why.", "active_runs": 0, "last_status": None, "last_status_at": None},
        **{"last_result": None, "last_ended_at": None, "success_rate": None, "next_run_at": None},
    }
    return {**usual, **changes}


def printed(*rows: dict[str, Any]) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table_of(Listing(list(rows), "Prefect"), now=NOW))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_row_tells_all_that_there_is() -> None:
    _, line, caption = printed(
        row(
            "deploy",
            deployment="prod",
            health="failing",
            why="Its latest run failed: ValueError.",
            last_status="Rolled back",
            last_status_at=iso(NOW - 3 * MINUTE),
            last_result="failure",
            last_ended_at=iso(NOW - 2 * MINUTE),
            active_runs=2,
            success_rate=0.5,
            next_run_at=iso(NOW + 5 * MINUTE),
        )
    )
    for part in (
        "deploy/prod",
        "failing  Its latest run failed: ValueError.",
        "Rolled back  3 minutes ago",
        "failure  2 minutes ago",
        "50 %",
        "in 5 minutes",
    ):
        assert part in line, part
    assert caption == "From Prefect."


def test_what_is_not_known_is_a_dash() -> None:
    _, line, _ = printed(row("alone"))
    assert line.split() == ["alone", "unknown", "Why.", "–", "–", "–", "–", "–"]


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(flow="deploy"), True),
        (Wanted(flow="other"), False),
        (Wanted(environment="live"), True),
        (Wanted(environment="lab"), False),
    ],
)
def test_only_what_is_wanted_is_shown(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(row("deploy", environment="live")) is takes


@pytest.mark.parametrize(
    ("health", "kinds", "fails"),
    [
        ("failing", ["unhealthy"], True),
        ("late", ["unhealthy"], True),
        ("unknown", ["unhealthy"], False),
        ("unknown", ["unknown"], True),
        ("late", ["failing"], False),
        ("failing", [], False),
    ],
)
def test_it_fails_on_what_it_is_told_to(health: str, kinds: list[str], fails: bool) -> None:
    assert unhealthy(Listing([row("a", health=health)], ""), kinds) is fails


async def test_a_bridge_that_does_not_answer_is_said_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        await listing.listing(Settings(), bridge="http://user:hunter2@127.0.0.1:9")
    assert str(caught.value) == (
        "There is no bridge at http://127.0.0.1:9: ConnectError. "
        "Leave --bridge out to read Prefect itself."
    )
