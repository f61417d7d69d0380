"""The parts of the traffic that need no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from examples.deploy_model import traffic
from examples.deploy_model.scenario.processes import DemoError

ROOT = Path(__file__).parents[2]


class Rounds:
    """Counts the rounds, and fails in those that are named."""

    def __init__(self, *failing: int) -> None:
        self.made = 0
        self._failing = failing

    def make_round(self) -> None:
        self.made += 1
        if self.made in self._failing:
            raise httpx.ConnectError("The server is away")


def _process(*codes: int | None) -> Any:
    left = list(codes)
    return SimpleNamespace(
        poll=lambda: left.pop(0) if len(left) > 1 else left[0], returncode=codes[-1]
    )


def _options(rounds: int) -> Any:
    return SimpleNamespace(rounds=rounds, pause=0)


def test_as_many_rounds_are_made_as_are_asked_for() -> None:
    rounds: Any = Rounds()
    traffic.make_rounds(rounds, _process(None), _options(3))
    assert rounds.made == 3


def test_a_server_that_is_away_ends_a_round_and_no_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds: Any = Rounds(1)
    traffic.make_rounds(rounds, _process(None), _options(2))
    assert rounds.made == 2
    assert capsys.readouterr().out == "This round is over: The server is away\n"


def test_without_its_worker_it_ends() -> None:
    rounds: Any = Rounds()
    with pytest.raises(DemoError, match="ended with exit code 3"):
        traffic.make_rounds(rounds, _process(None, 3), _options(0))
    assert rounds.made == 1


def test_help_is_there_without_a_server() -> None:
    command = [sys.executable, "-m", "examples.deploy_model.traffic", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Runs without end: good, failing, slow and killed ones" in done.stdout


def test_a_round_has_all_that_can_happen() -> None:
    assert [(p.deployment, p.fault, p.killed) for p in traffic.ROUND] == [
        ("steady", None, False),
        ("shaky", "weak", False),
        ("slow", "slow", False),
        ("steady", "busy", False),
        ("shaky", None, False),
        ("slow", "slow", True),
    ]
    assert {plan.deployment for plan in traffic.ROUND} == set(traffic.MODELS)
