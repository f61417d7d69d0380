"""Any order and any repetition of a recorded history gives the same spans and totals."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from prefect_otel_status import signals
from prefect_otel_status.bridge import tables
from prefect_otel_status.bridge.catalogue import Catalogue
from prefect_otel_status.bridge.project import merge, steps
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    PLANNED,
    SETTLED,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
    StageFact,
    StateFact,
    StatusFact,
    Step,
)
from tests.support import histories
from tests.support.replay import Outcome, observations_of, read, replay, settle

RUN = "00000000-0000-4000-8000-000000000001"
TASK_RUN = "00000000-0000-4000-8000-000000000002"
NAMES = ("deploy", "prod", "happy-cat")


def _state(kind: str, at: int, **more: object) -> StateFact:
    return StateFact(id=f"state-{kind}-{at}", type=kind, name=kind.title(), at=at, **more)  # type: ignore[arg-type]


def _seen(what: object, subject: str = RUN) -> Observation:
    return Observation(RUN, subject, what, *NAMES)  # type: ignore[arg-type]


def _after(*whats: object) -> RunRow:
    row = RunRow(RUN)
    for what in whats:
        row = merge(row, _seen(what))
    return row


def _steps(what: object, *, subject: str = RUN, since: int = 0) -> list[Step]:
    observation = _seen(what, subject)
    row = merge(RunRow(RUN), observation)
    return list(steps(row, observation, environment="prod", since=since))


# --- any order, any repetition -------------------------------------------------
@pytest.mark.parametrize("name", histories.names())
@given(seed=st.integers(0, 2**32), size=st.sampled_from([3, 17, 60]), again=st.floats(0, 1))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.fault(18)
def test_any_order_and_repetition_gives_the_same(
    name: str, seed: int, size: int, again: float
) -> None:
    observations = observations_of(name)
    expected = replay([observations], environment="prod")
    chance = random.Random(seed)
    shuffled = observations + chance.sample(observations, int(len(observations) * again))
    chance.shuffle(shuffled)
    batches = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
    found = replay(batches, environment="prod")
    assert found.spans == expected.spans
    assert found.totals == expected.totals
    assert found.sums == expected.sums


@pytest.mark.parametrize("name", histories.names())
def test_what_comes_again_after_the_end_changes_nothing(name: str) -> None:
    observations = observations_of(name)
    engine = create_engine("sqlite://")
    outcome, catalogue = Outcome(), Catalogue()
    with engine.begin() as connection:
        tables.metadata.create_all(connection)
        read(connection, [observations], outcome, catalogue)
        settle(connection, outcome)
        totals, drawn = outcome.totals.copy(), outcome.drawn
        read(connection, [observations, observations[::-1]], outcome, catalogue)
        settle(connection, outcome)
    assert (outcome.totals, outcome.drawn) == (totals, drawn)
    assert len(outcome.spans) == drawn  # none was made twice
    engine.dispose()


# --- the row ---------------------------------------------------------------------
def test_the_latest_state_by_its_own_time_is_the_one_it_is_in() -> None:
    states = [_state("RUNNING", 20), _state("PENDING", 10), _state("COMPLETED", 30)]
    row = _after(*states)
    assert (row.state_type, row.state_at, row.phase, row.started) == ("COMPLETED", 30, ENDED, 20)
    assert all(_after(*order) == row for order in permutations(states))


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        ([("SCHEDULED", 1)], PLANNED),
        ([("SCHEDULED", 1), ("PENDING", 2)], ACTIVE),
        ([("PENDING", 1), ("RUNNING", 2), ("PAUSED", 3)], ACTIVE),
        ([("RUNNING", 1), ("SCHEDULED", 2)], ACTIVE),  # it waits for its retry
        ([("RUNNING", 1), ("CANCELLING", 2)], ACTIVE),
        ([("RUNNING", 1), ("CRASHED", 2)], ENDED),
        ([("RUNNING", 1), ("CRASHED", 2), ("SCHEDULED", 3)], ACTIVE),  # retried by hand
    ],
)
def test_the_phase_follows_the_state(states: list[tuple[str, int]], phase: str) -> None:
    assert _after(*(_state(kind, at) for kind, at in states)).phase == phase


def test_a_late_run_is_active() -> None:
    late = StateFact(id="late", type="SCHEDULED", name="Late", at=2)
    assert _after(_state("SCHEDULED", 1), late).phase == ACTIVE


def test_an_older_description_does_not_replace_a_newer_one() -> None:
    new, old = Seen(name="new", updated=2), Seen(name="old", updated=1)
    assert _after(new, old).seen is new
    assert _after(old, new).seen is new


def test_the_latest_status_is_kept_and_progress_stays() -> None:
    said = StatusFact(at=5, template="Half", message="Half", progress=0.5, stage="evaluate")
    later = StatusFact(at=6, template="Scored", message="Scored bert", stage="evaluate")
    row = _after(later, said)
    assert (row.said_at, row.message, row.stage) == (6, "Scored bert", "evaluate")
    row = _after(said, later)
    assert (row.message, row.progress) == ("Scored bert", 0.5)


def test_the_heartbeats_period_is_learned_and_a_missed_one_does_not_lengthen_it() -> None:
    seconds = 1_000_000_000
    row = _after(*(Heartbeat(at * seconds) for at in (100, 130, 190, 190, 191, 160)))
    assert (row.heartbeat_at, row.heartbeat_period) == (191 * seconds, 30 * seconds)


def test_a_run_that_was_taken_for_dead_is_revived_by_a_heartbeat() -> None:
    row = RunRow(RUN, phase=SETTLED, inferred=True, state_type="RUNNING", heartbeat_at=1)
    revived = merge(row, _seen(Heartbeat(2)))
    assert (revived.phase, revived.inferred) == (ACTIVE, False)


# --- the counters ------------------------------------------------------------------
def test_a_state_of_a_flow_run_steps_its_transition() -> None:
    labels = ("deploy", "prod", "prod", "RUNNING", "Running")
    assert _steps(_state("RUNNING", 7)) == [Step(signals.TRANSITIONS.name, labels, at=7)]


def test_a_status_steps_its_message_in_its_own_environment() -> None:
    bound = {signals.ENVIRONMENT.name: "staging"}
    said = StatusFact(at=7, template="Scored {m}", message="Scored x", stage="s", bound=bound)
    labels = ("deploy", "prod", "staging", "s", "info", "Scored {m}")
    assert _steps(said) == [Step(signals.MESSAGES.name, labels, at=7)]


def test_a_gate_steps_its_decision_and_sets_its_score_and_threshold() -> None:
    values = {
        signals.GATE.name: "accuracy",
        signals.DECISION.name: "fail",
        signals.GATE_SCORE.name: 0.4,
        signals.GATE_THRESHOLD.name: 1,
    }
    found = _steps(StatusFact(at=7, template="Gate", message="Gate", attributes=values))
    of_run = ("deploy", "prod", "prod")
    assert found[1:] == [
        Step(signals.GATE_RESULTS.name, (*of_run, "accuracy", "fail"), at=7),
        Step(signals.GATE_SCORE_VALUE.name, (*of_run, "accuracy"), 0.4, at=7),
        Step(signals.GATE_THRESHOLD_VALUE.name, (*of_run, "accuracy"), 1.0, at=7),
    ]


def test_a_stage_is_measured_when_it_closes() -> None:
    opened = StageFact("evaluate", 1, started=1_000_000_000)
    closed = StageFact("evaluate", 1, 1_000_000_000, 3_500_000_000, result="failure")
    labels = ("deploy", "prod", "prod", "evaluate", "failure")
    assert _steps(opened) == []
    assert _steps(closed) == [
        Step(signals.STAGE_DURATION.name, labels, 2.5, at=3_500_000_000),
    ]


def test_a_task_is_measured_at_its_end_and_its_retries_are_counted() -> None:
    ended = _state("COMPLETED", 3_000_000_000, task_name="score", started=1_000_000_000)
    again = _state("RUNNING", 5, task_name="score", attempt=2)
    of_task = ("deploy", "prod", "prod", "score")
    assert _steps(ended, subject=TASK_RUN) == [
        Step(signals.TASK_DURATION.name, (*of_task, "success"), 2.0, "", 3_000_000_000)
    ]
    assert _steps(again, subject=TASK_RUN) == [Step(signals.TASK_RETRIES.name, of_task, at=5)]


def test_clocks_that_disagree_give_no_negative_duration() -> None:
    ended = _state("COMPLETED", 1_000_000_000, task_name="score", started=9_000_000_000)
    assert [step.value for step in _steps(ended, subject=TASK_RUN)] == [0.0]


def test_what_was_before_the_store_steps_nothing() -> None:
    assert _steps(_state("RUNNING", 7), since=8) == []
    # By the server's clock, where it is known: the client's is an hour behind here.
    assert len(_steps(_state("RUNNING", 7, received=9), since=8)) == 1
