"""The last runs of each deployment: what is kept of them, how many, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import recent
from prefect_otel_status.bridge.history import history_of
from prefect_otel_status.bridge.recent import KEPT, MOST_SAID, EndedRun, Said, ended_run, said_of
from prefect_otel_status.bridge.records import RunRow, StateFact, StatusFact
from prefect_otel_status.bridge.store import Store
from tests.support.records import FLOW_RUN_ID, NOW, SECOND

KEY = ("train", "prod")


def run(number: int, **changes: Any) -> EndedRun:
    usual = {"id": f"run-{number}", "flow": "train", "deployment": "prod", "ended": NOW + number}
    return EndedRun(**{**usual, **changes})


async def keep(store: Store, *runs: EndedRun) -> None:
    await store.run(lambda connection: recent.keep(connection, runs))


async def kept(store: Store) -> list[str]:
    found = await store.read(lambda connection: recent.load_of(connection, KEY))
    return [run.id for run in found]


async def test_the_latest_come_first_and_the_oldest_go(store: Store) -> None:
    for number in range(KEPT + 5):
        await keep(store, run(number))
    assert await kept(store) == [f"run-{n}" for n in range(KEPT + 4, 4, -1)]


async def test_a_run_that_is_settled_again_is_kept_once_as_it_is_now(store: Store) -> None:
    await keep(store, run(1, result="failure"), run(2))
    await keep(store, run(1, result="success", ended=NOW + 9))
    assert await kept(store) == ["run-1", "run-2"]
    found = await store.read(lambda connection: recent.load_one(connection, "run-1"))
    assert found == run(1, result="success", ended=NOW + 9)


async def test_an_overview_is_spared_what_was_said_but_for_gates(store: Store) -> None:
    gate = Said(NOW + 1, "Gate passed", gate="accuracy", decision="pass")
    whole = run(1, said=(Said(NOW, "Scored 1"), gate))
    await keep(store, whole)
    assert dict(await store.read(recent.load)) == {KEY: [run(1, said=(gate,))]}
    assert await store.read(lambda connection: recent.load_of(connection, KEY)) == [whole]
    assert await store.read(lambda connection: recent.load_one(connection, "run-1")) == whole


async def test_deployments_are_kept_apart_and_forgotten_apart(store: Store) -> None:
    other = run(3, deployment="test")
    await keep(store, run(1), other)
    await store.run(lambda connection: recent.forget(connection, KEY))
    found = await store.read(recent.load)
    assert dict(found) == {("train", "test"): [other]}
    assert await store.read(lambda connection: recent.load_one(connection, "run-1")) is None


def ended(state: StateFact, *statuses: StatusFact, **row: Any) -> EndedRun:
    facts = [(FLOW_RUN_ID, fact) for fact in (state, *statuses)]
    of_run = RunRow(FLOW_RUN_ID, flow_name="train", deployment_name="prod", **row)
    return ended_run(of_run, history_of(FLOW_RUN_ID, facts))


def test_a_failed_run_says_why() -> None:
    words = "Flow run encountered an exception: ValueError: no"
    found = ended(
        StateFact("s", "FAILED", "Failed", NOW + 3 * SECOND, words),
        StatusFact(NOW, "Scored {x}", "Scored 1", stage="evaluate", level="warning"),
        run_name="wise-owl",
        environment="live",
        started=NOW,
        attempt=2,
        trace_id="ab",
        state_name="Failed",
        bound={signals.MODEL_NAME.name: "bert", signals.MODEL_VERSION.name: 3},
    )
    assert found == EndedRun(
        id=FLOW_RUN_ID,
        name="wise-owl",
        flow="train",
        deployment="prod",
        environment="live",
        model="bert",
        version="3",
        started=NOW,
        ended=NOW + 3 * SECOND,
        result="failure",
        state="Failed",
        error_type="ValueError",
        error=words,
        attempts=2,
        trace_id="ab",
        said=(Said(NOW, "Scored 1", "warning", "evaluate"),),
    )
    assert found.seconds == 3.0


def test_one_that_never_ran_took_no_time() -> None:
    assert ended(StateFact("s", "CANCELLED", "Cancelled", NOW)).seconds == 0.0


def test_one_that_fell_silent_ended_with_its_last_sign_of_life() -> None:
    running = StateFact("s", "RUNNING", "Running", NOW)
    found = ended(running, inferred=True, heartbeat_at=NOW + SECOND, state_name="Running")
    assert (found.result, found.error_type, found.ended) == (
        "error",
        "HeartbeatLost",
        NOW + SECOND,
    )


def test_a_gate_is_kept_with_its_score() -> None:
    attributes = {
        signals.GATE.name: "accuracy",
        signals.DECISION.name: "fail",
        signals.GATE_SCORE.name: 0.5,
        signals.GATE_THRESHOLD.name: 1,
    }
    (found,) = said_of([StatusFact(NOW, "t", "Gate failed", attributes=attributes)])
    assert found == Said(
        NOW, "Gate failed", gate="accuracy", decision="fail", score=0.5, threshold=1.0
    )


def test_of_many_statuses_gates_errors_and_the_last_are_kept_in_order() -> None:
    def status(number: int, level: str = "info", gate: str = "") -> StatusFact:
        attributes = {signals.GATE.name: gate} if gate else {}
        return StatusFact(NOW + number, "t", f"{number}", level=level, attributes=attributes)

    many = [status(n) for n in range(2, 100)]
    found = said_of([status(0, "error"), status(1, gate="g")], many)
    assert len(found) == MOST_SAID
    assert [said.message for said in found] == ["0", "1", *(str(n) for n in range(82, 100))]


@pytest.mark.parametrize("length", [10, 5000])
def test_a_long_message_is_cut_here(length: int) -> None:
    (found,) = said_of([StatusFact(NOW, "t", "x" * length)])
    assert found.message == "x" * min(length, 300)
