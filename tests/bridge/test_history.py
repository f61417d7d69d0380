"""A run's facts in order of time: its executions, what it left open, what is missing."""

from __future__ import annotations

from itertools import permutations

import pytest

from prefect_otel_status.bridge.history import history_of
from prefect_otel_status.bridge.records import Fact, StageFact, StateFact, StatusFact

RUN, TASK = "run", "task"


def _state(name: str, at: int, kind: str = "") -> tuple[str, Fact]:
    return RUN, StateFact(id=f"{name}-{at}", type=kind or name.upper(), name=name, at=at)


def _said(at: int, *, attempt: int = 1, sequence: int = 1, subject: str = RUN) -> tuple[str, Fact]:
    said = StatusFact(at, "Said", f"Said at {at}", attempt=attempt, sequence=sequence)
    return subject, said


RETRIED = [
    _state("Running", 1),
    _state("AwaitingRetry", 2, "SCHEDULED"),
    _state("Retrying", 3, "RUNNING"),
    _state("Completed", 4),
]
FAST_RETRY = [_state("Running", 1), _state("Retrying", 3, "RUNNING"), _state("Failed", 4)]
PAUSED = [_state("Running", 1), _state("Paused", 2), _state("Running", 3), _state("Completed", 4)]
SUSPENDED = [
    _state("Running", 1),
    _state("Suspended", 2, "PAUSED"),
    _state("Resuming", 3, "SCHEDULED"),
    _state("Running", 4),
    _state("Completed", 5),
]
GOES_ON = [_state("Pending", 1), _state("Running", 2), _said(7)]
TWICE_RUNNING = [_state("Running", 1), _state("Running", 2), _state("Crashed", 3)]
NEVER_RAN = [_state("Scheduled", 1), _state("Crashed", 3)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (RETRIED, [(1, 2, "AwaitingRetry"), (3, 4, "Completed")]),
        (FAST_RETRY, [(1, 3, "Retrying"), (3, 4, "Failed")]),
        (PAUSED, [(1, 4, "Completed")]),
        (SUSPENDED, [(1, 2, "Suspended"), (4, 5, "Completed")]),
        (GOES_ON, [(2, 7, "Running")]),
        (TWICE_RUNNING, [(1, 3, "Crashed")]),
        (NEVER_RAN, []),
    ],
)
def test_each_execution_has_its_start_and_end(
    facts: list[tuple[str, Fact]], expected: list[tuple[int, int, str]]
) -> None:
    for order in permutations(facts):
        attempts = history_of(RUN, order).own.attempts()
        assert [(start, end, state.name) for start, end, state in attempts] == expected


def test_only_the_latest_state_ends_a_run() -> None:
    facts = [_state("Running", 1), _state("Failed", 2), _state("AwaitingRetry", 3, "SCHEDULED")]
    assert history_of(RUN, facts).own.final is None
    final = history_of(RUN, facts[:2]).own.final
    assert final is not None
    assert final.name == "Failed"


def test_a_stage_is_open_until_it_was_left() -> None:
    left = StageFact("load", span_id=1, started=1)
    facts: list[tuple[str, Fact]] = [
        (RUN, left),
        (RUN, StageFact("load", span_id=1, started=1, ended=2)),
        (RUN, StageFact("evaluate", span_id=2, started=3)),
    ]
    assert [stage.name for stage in history_of(RUN, facts).own.open_stages()] == ["evaluate"]


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ([_said(1, sequence=1), _said(2, sequence=2)], 0),
        ([_said(1, sequence=1), _said(2, sequence=4)], 2),
        ([_said(1, sequence=2), _said(2, attempt=2, sequence=2)], 2),
        ([_said(1, sequence=3), _said(2, sequence=3, subject=TASK)], 4),
        ([_said(1, sequence=0)], 0),
    ],
)
def test_statuses_that_are_missing_show_in_their_numbers(
    facts: list[tuple[str, Fact]], missing: int
) -> None:
    assert history_of(RUN, facts).missing_statuses() == missing


def test_the_last_words_may_be_a_tasks() -> None:
    said = history_of(RUN, [_said(1), _said(3, subject=TASK), _state("Running", 2)]).last_status()
    assert said is not None
    assert said.message == "Said at 3"
    assert history_of(RUN, [_state("Running", 1)]).last_status() is None
