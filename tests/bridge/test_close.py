"""What the bridge draws of every recorded history, beside what its processes had sent."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, create_engine

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, tables
from prefect_otel_status.bridge.catalogue import Catalogue
from prefect_otel_status.bridge.records import (
    FLOW,
    Heartbeat,
    Observation,
    Seen,
    SpanLink,
    SpanRecord,
    StateFact,
)
from prefect_otel_status.bridge.silence import presumed_dead
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.ids import trace_id_of
from tests.bridge.expected_trees import BRIDGE_OWNS, PROCESS_OWNS
from tests.support import histories
from tests.support.replay import NOW, Outcome, observations_of, read, replay, settle
from tests.support.traces import (
    Drawn,
    backwards,
    doubled,
    lost,
    of_bridge,
    of_processes,
    runs_of,
    tree,
)

SECOND = 1_000_000_000
OWNERS = ("process", "bridge")
GOES_ON = {name for name in histories.names() if name.startswith("killed_by_hand")}
"""Nobody told of the end, so nothing is drawn until their heartbeats are missed."""

WITHOUT_A_PARENT = GOES_ON | {"suspended.foreign"}
"""Prefect ends no span of a process that suspends, and its label names the next one's."""

every_history = pytest.mark.parametrize("name", histories.names())
every_owner = pytest.mark.parametrize("owner", OWNERS)


@cache
def _outcome(name: str, owner: str = "process") -> Outcome:
    return replay([observations_of(name)], owner=owner)


def _all(name: str, outcome: Outcome, owner: str = "process") -> list[Drawn]:
    return of_bridge(outcome) + of_processes(histories.load(name), owner=owner)


def _replayed(name: str, owner: str = "process") -> list[Drawn]:
    return _all(name, _outcome(name, owner), owner)


# --- all of them -----------------------------------------------------------------
@every_history
def test_a_process_that_owns_the_root_and_the_bridge_make_one_tree(name: str) -> None:
    assert tree(_replayed(name)) == PROCESS_OWNS[name]


@every_history
def test_a_bridge_that_owns_the_root_has_attempts_of_our_processes_below_it(name: str) -> None:
    expected = BRIDGE_OWNS.get(name, PROCESS_OWNS[name])  # without our code nobody asks who owns
    assert tree(_replayed(name, "bridge")) == expected


@every_owner
@every_history
@pytest.mark.fault(27, 28)
def test_nothing_is_drawn_twice_or_left_without_its_parent(name: str, owner: str) -> None:
    spans = _replayed(name, owner)
    assert doubled(spans) == []
    assert name in WITHOUT_A_PARENT or lost(spans) == []
    assert set(runs_of(of_bridge(_outcome(name, owner))).values()) <= {1}


@every_owner
@every_history
def test_spans_have_their_kinds_and_times(name: str, owner: str) -> None:
    spans = of_bridge(_outcome(name, owner))
    assert backwards(spans) == []
    assert all((s.kind == "SERVER") == s.name.startswith("RUN ") for s in spans)


@pytest.mark.parametrize("name", [n for n in histories.names() if not n.endswith(".foreign")])
def test_a_run_id_finds_its_trace(name: str) -> None:
    roots = {
        trace_id_of(run["id"])
        for run in histories.load(name).flow_runs
        if not run["parent_task_run_id"]
    }
    free = {trace_id_of(t["id"]) for t in histories.load(name).task_runs if not t["flow_run_id"]}
    assert name in GOES_ON or {span.key[0] for span in _replayed(name)} == roots | free


@every_history
def test_what_is_not_sampled_is_not_drawn_and_counted_all_the_same(name: str) -> None:
    everything = _outcome(name)
    nothing = replay([observations_of(name)], sampled=lambda trace_id: False)
    assert nothing.totals == everything.totals
    if name.endswith(".plain"):
        assert nothing.spans == {}
    else:  # the process has decided, and the bridge obeys it
        assert nothing.spans == everything.spans


# --- one by one ------------------------------------------------------------------
def _only(outcome: Outcome, name: str) -> SpanRecord:
    (span,) = outcome.named(name)
    return span


def _some(span: SpanRecord, *attributes: Any) -> dict[str, Any]:
    names = [attribute.name for attribute in attributes]
    return {name: span.attributes[name] for name in names if name in span.attributes}


def test_a_killed_run_ends_with_its_last_words() -> None:
    run = _only(_outcome("killed_served.ours"), "RUN killed-served")
    (killed,) = histories.load("killed_served.ours").truth["killed"]
    shown = (signals.RESULT, signals.ERROR_TYPE, signals.STATE_NAME, signals.MESSAGE,
             signals.STAGE, signals.INCOMPLETE, signals.INFERRED, signals.ENVIRONMENT)  # fmt: skip
    assert _some(run, *shown) == {
        "cicd.pipeline.result": "error",
        "error.type": "Crashed",
        "prefect.state.name": "Crashed",
        "prefect_status.message": "About to be killed",
        "prefect_status.stage": "evaluate",
        "prefect_status.incomplete": True,
        "deployment.environment.name": "prod",
    }
    assert 3.0 <= run.attributes[signals.SILENCE.name] < 5.0  # it waited three seconds
    assert 0 <= run.end - killed["at"] < 5 * SECOND
    assert run.error is not None
    assert run.error.startswith("Process exited with status code: -9.")
    assert [event.name for event in run.events] == [
        "Scheduled", "Pending", "Submitting", "Running", "Started", "Crashed",
    ]  # fmt: skip


def test_what_a_killed_process_left_open_is_closed_with_it() -> None:
    outcome = _outcome("killed_served.ours")
    run = _only(outcome, "RUN killed-served")
    task, stage = _only(outcome, "killed_task"), _only(outcome, "evaluate")
    assert (task.end, stage.end) == (run.end, run.end)
    assert task.error == "Left running when its flow run ended."
    assert stage.error == "Left open when the process died."
    assert [event.name for event in task.events] == ["Pending", "Running", "About to be killed"]
    assert _some(task, signals.ERROR_TYPE, signals.TASK_RESULT, signals.ABANDONED) == {
        "error.type": "abandoned",
        "cicd.pipeline.task.run.result": "error",
        "prefect_status.abandoned": True,
    }


def test_the_end_of_a_killed_run_is_counted_once() -> None:
    outcome = _outcome("killed_served.ours")
    assert outcome.total(signals.RUN_ERRORS, "Crashed") == 1
    assert outcome.total(signals.RUN_DURATION, "error", "Crashed") == 1
    assert outcome.total(signals.TASK_DURATION, "killed_task", "error") == 1
    assert outcome.total(signals.TASK_DURATION, "load", "success") == 1


@every_owner
@pytest.mark.parametrize("variant", ["ours", "foreign"])
def test_a_run_that_fell_silent_is_inferred_to_have_died(variant: str, owner: str) -> None:
    name = f"killed_by_hand.{variant}"
    outcome = replay([observations_of(name)], owner=owner, change=_presume_all_dead)
    spans = _all(name, outcome, owner)
    assert (lost(spans), doubled(spans)) == ([], [])
    run = _only(outcome, "RUN killed-by-hand")
    assert run.error == "No heartbeat any more, and nobody reported the end."
    assert _some(run, signals.RESULT, signals.ERROR_TYPE, signals.INFERRED, signals.INCOMPLETE) == {
        "cicd.pipeline.result": "error",
        "error.type": "HeartbeatLost",
        "prefect_status.inferred": True,
        "prefect_status.incomplete": True,
    }
    assert _only(outcome, "killed_task").attributes[signals.ABANDONED.name] is True
    assert outcome.total(signals.RUN_ERRORS, "HeartbeatLost") == 1


def _presume_all_dead(connection: Connection) -> None:
    rows = ledger.active_rows(connection)
    ledger.save_rows(connection, [presumed_dead(row, NOW) for row in rows])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("retried_flow.plain", ["failure", "success"]),
        ("retried_by_hand.plain", ["failure", "success"]),
        ("suspended.plain", [None, "success"]),
    ],
)
@pytest.mark.fault(27)
def test_each_execution_is_an_attempt_below_one_run(name: str, expected: list[str | None]) -> None:
    outcome = _outcome(name)
    (run,) = [s for s in outcome.spans.values() if s.name.startswith("RUN ")]
    attempts = [_only(outcome, f"ATTEMPT {number}") for number in (1, 2)]
    assert [a.attributes.get(signals.RESULT.name) for a in attempts] == expected
    assert [a.error is not None for a in attempts] == [r == "failure" for r in expected]
    assert {a.parent_span_id for a in attempts} == {run.span_id}
    assert run.start <= attempts[0].start < attempts[0].end < attempts[1].start
    assert attempts[1].end == run.end
    assert run.error is None


def test_a_pause_in_the_same_process_is_part_of_its_attempt() -> None:
    outcome = _outcome("paused.plain")
    assert [s.name for s in outcome.spans.values() if s.name.startswith("ATTEMPT")] == []
    states = [event.name for event in _only(outcome, "RUN paused").events]
    assert states == ["Pending", "Running", "Paused", "Running", "Completed"]


# --- what comes after the end -------------------------------------------------------
class Twice:
    """The history NAME, settled as it was at the time AT, and again as it is now."""

    def __init__(self, name: str, at: int, *, owner: str = "process", inferred: bool = False):
        self.first, self.later = Outcome(), Outcome()
        engine = create_engine("sqlite://")
        with engine.begin() as connection:
            tables.metadata.create_all(connection)
            catalogue = Catalogue()
            read(connection, [_until(name, at)], self.first, catalogue)
            if inferred:
                _presume_all_dead(connection)
            settle(connection, self.first, owner=owner)
            read(connection, [observations_of(name)], self.later, catalogue)
            settle(connection, self.later, owner=owner)
        engine.dispose()

    def total(self, metric: Any, *labels: str) -> tuple[float, float]:
        return self.first.total(metric, *labels), self.later.total(metric, *labels)

    def names(self) -> tuple[list[str], list[str]]:
        first, later = (sorted(s.name for s in o.spans.values()) for o in (self.first, self.later))
        return first, later


def _until(name: str, at: int) -> list[Observation]:
    """What was known of the history NAME at the time AT."""
    found = []
    for one in observations_of(name):
        if isinstance(one.what, Seen):
            found.append(
                msgspec.structs.replace(one, what=_seen_at(name, one.run_id, one.what, at))
            )
        elif one.what.at <= at:
            found.append(one)
    return found


def _seen_at(name: str, run_id: str, seen: Seen, at: int) -> Seen:
    states = histories.load(name).flow_run_states[run_id]
    before = [s for s in states if nanoseconds(s["timestamp"]) <= at and s["type"] != "SCHEDULED"]
    labels = [s["state_details"].get("traceparent") or "" for s in before]
    runs = sum(state["type"] == "RUNNING" for state in before)
    label = next(filter(None, reversed(labels)), "")
    return msgspec.structs.replace(seen, traceparent=label, run_count=runs, updated=0)


def _time_of(name: str, state: str) -> int:
    """When the first flow run of NAME went into STATE."""
    (states,) = histories.load(name).flow_run_states.values()
    return next(nanoseconds(s["timestamp"]) for s in states if s["name"] == state)


@every_owner
@pytest.mark.parametrize("variant", ["plain", "ours"])
@pytest.mark.fault(24)
def test_crashed_and_then_completed_is_a_correction(variant: str, owner: str) -> None:
    name = f"corrected.{variant}"
    twice = Twice(name, _time_of(name, "Crashed"), owner=owner)
    later = _only(twice.later, "CORRECTION")
    assert twice.names()[1] == ["CORRECTION"]
    (row,) = twice.later.rows.values()
    assert later.links == (SpanLink(int(row.trace_id, 16), row.span_id),)
    assert (later.trace_id, later.parent_span_id) == (int(row.trace_id, 16), row.span_id)
    assert later.error is None
    assert later.attributes[signals.STATE_MESSAGE.name] == "It was done after all"
    assert [event.name for event in later.events] == ["Completed"]
    assert twice.total(signals.RUN_ERRORS) == (1, 0)
    assert twice.total(signals.RUN_DURATION) == (1, 0)
    assert twice.total(signals.TRANSITIONS) == (3, 1)
    assert row.closings == 2


def test_a_run_that_is_run_again_by_hand_gets_another_attempt() -> None:
    name = "retried_by_hand.plain"
    twice = Twice(name, _time_of(name, "Failed"))
    assert twice.names() == (["RUN retried-by-hand", "work"], ["ATTEMPT 2", "work"])
    run, again = _only(twice.first, "RUN retried-by-hand"), _only(twice.later, "ATTEMPT 2")
    assert (run.error is not None, again.error) == (True, None)
    assert again.parent_span_id == run.span_id
    assert again.links == (SpanLink(run.trace_id, run.span_id),)
    assert run.end < again.start < again.end
    assert twice.total(signals.RUN_DURATION, "failure") == (1, 0)
    assert twice.total(signals.RUN_DURATION, "success") == (0, 1)
    assert twice.total(signals.RUN_ERRORS) == (1, 0)


@every_owner
@pytest.mark.parametrize("variant", ["ours", "foreign"])
def test_what_a_later_process_sent_itself_is_not_drawn_again(variant: str, owner: str) -> None:
    name = f"retried_by_hand.{variant}"
    twice = Twice(name, _time_of(name, "Failed"), owner=owner)
    assert twice.later.spans == {}
    spans = [*of_bridge(twice.first), *of_processes(histories.load(name), owner=owner)]
    assert (lost(spans), doubled(spans)) == ([], [])
    assert twice.total(signals.RUN_DURATION, "success") == (0, 1)


def test_a_run_that_was_taken_for_dead_and_was_not_gets_a_correction() -> None:
    name = "success.plain"
    twice = Twice(name, _tasks_running(name)[-1][0], inferred=True)
    first, later = twice.names()
    assert (first, later) == (["RUN success", "load", "load", "score"], ["CORRECTION", "load"])
    assert _only(twice.first, "RUN success").attributes[signals.INFERRED.name] is True
    assert signals.INFERRED.name not in _only(twice.later, "CORRECTION").attributes
    spans = of_bridge(twice.first) + of_bridge(twice.later)
    assert (lost(spans), doubled(spans)) == ([], [])
    assert list(runs_of(spans).values()) == [1]
    assert twice.total(signals.RUN_DURATION) == (1, 0)


def test_a_task_that_was_left_running_and_went_on_is_linked_to_its_first_span() -> None:
    name = "success.plain"
    at, task_run_id = _tasks_running(name)[0]
    twice = Twice(name, at, inferred=True)
    (first,), (again,) = (
        [s for s in o.spans.values() if s.attributes.get(signals.TASK_RUN_ID.name) == task_run_id]
        for o in (twice.first, twice.later)
    )
    assert first.attributes[signals.ABANDONED.name] is True
    assert again.attributes[signals.TASK_RESULT.name] == "success"
    assert again.links == (SpanLink(first.trace_id, first.span_id),)


def _tasks_running(name: str) -> list[tuple[int, str]]:
    """When each task run of NAME began, and its id, the earliest first."""
    return sorted(
        (nanoseconds(state["timestamp"]), run_id)
        for run_id, states in histories.load(name).task_run_states.items()
        for state in states
        if state["type"] == "RUNNING"
    )


def test_a_second_process_that_is_killed_is_drawn_under_its_own_span_id() -> None:
    name = "retried_by_hand.ours"
    observations = [o for o in observations_of(name) if not _is_last_state(name, o)]
    engine = create_engine("sqlite://")
    first, later = Outcome(), Outcome()
    with engine.begin() as connection:
        tables.metadata.create_all(connection)
        catalogue = Catalogue()
        read(connection, [_until(name, _time_of(name, "Failed"))], first, catalogue)
        settle(connection, first)
        read(connection, [observations], later, catalogue)
        _presume_all_dead(connection)
        settle(connection, later)
    engine.dispose()
    again = _only(later, "ATTEMPT 2")
    (run,) = histories.load(name).flow_runs
    assert f"{again.span_id:016x}" == run["labels"]["__OTEL_TRACEPARENT"].split("-")[2]
    assert again.attributes[signals.INFERRED.name] is True
    assert again.error == "No heartbeat any more, and nobody reported the end."


def _is_last_state(name: str, observation: Observation) -> bool:
    (states,) = histories.load(name).flow_run_states.values()
    return isinstance(observation.what, StateFact) and observation.what.id == states[-1]["id"]


# --- clocks ------------------------------------------------------------------------
@pytest.mark.parametrize("hours", [-1, 1])
@every_history
def test_clocks_an_hour_apart_make_no_negative_duration(name: str, hours: int) -> None:
    observations = [_as_of_another_clock(o, hours * 3600 * SECOND) for o in observations_of(name)]
    outcome = replay([observations])
    straight = _outcome(name)
    assert backwards(of_bridge(outcome)) == []
    assert set(outcome.spans) == set(straight.spans)
    assert outcome.totals == straight.totals
    assert all(value >= 0 for value in outcome.sums.values())


def _as_of_another_clock(observation: Observation, by: int) -> Observation:
    """OBSERVATION as a process whose clock differs BY so much would have made it.

    The states of flow runs are of the server's clock.
    """
    what = observation.what
    if isinstance(what, Heartbeat | Seen) or _is_of_the_server(observation):
        return observation
    # Of a fact that has no time of its own for `at`, it follows from the others.
    times = {"at", "started", "ended"} & set(what.__struct_fields__)
    changes = {name: getattr(what, name) + by for name in times if getattr(what, name)}
    return msgspec.structs.replace(observation, what=msgspec.structs.replace(what, **changes))


def _is_of_the_server(observation: Observation) -> bool:
    is_own = observation.subject_id == observation.run_id and observation.kind == FLOW
    return is_own and isinstance(observation.what, StateFact)
