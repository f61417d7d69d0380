"""What the pages show of deployments, out of a store."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.bridge import cards, ledger, recent
from prefect_otel_status.bridge.catalogue import Catalogue, Known
from prefect_otel_status.bridge.recent import EndedRun, Said
from prefect_otel_status.bridge.records import Observation, RunRow, StatusFact
from prefect_otel_status.bridge.store import Store
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.deployment import SaidIn
from prefect_otel_status.web.overview import Card, GateSeen, Now
from tests.support.records import FLOW_RUN_ID, NOW, SECOND, TASK_RUN_ID

KEY = ("train", "prod")
GATE = Said(NOW, "Gate passed", gate="accuracy", decision="pass", score=0.9, threshold=0.8)


def known(**changes: Any) -> Known:
    usual: dict[str, Any] = {"flow": "train", "deployment": "prod", "last_result": "success"}
    return Known(**{**usual, **changes})


def ended(number: int, **changes: Any) -> EndedRun:
    usual: dict[str, Any] = {
        **{"id": f"run-{number}", "flow": "train", "deployment": "prod", "result": "success"},
        **{"started": NOW, "ended": NOW + number * SECOND, "name": f"name-{number}"},
    }
    return EndedRun(**{**usual, **changes})


async def fill(store: Store, *rows: RunRow, runs: tuple[EndedRun, ...] = ()) -> None:
    await store.run(lambda connection: ledger.save_rows(connection, rows))
    await store.run(lambda connection: recent.keep(connection, runs))


async def all_cards(store: Store, *known: Known, due: int = 0) -> list[Card]:
    catalogue = Catalogue()
    catalogue.adopt(known)
    return await store.read(lambda c: cards.cards(c, catalogue, {KEY: due} if due else {}))


async def test_a_deployment_is_shown_whole(store: Store) -> None:
    active = {"flow_name": "train", "deployment_name": "prod", "state_name": "Running"}
    await fill(
        store,
        RunRow(FLOW_RUN_ID, said_at=NOW + 9, stage="fit", progress=0.5, started=NOW, **active),
        RunRow(TASK_RUN_ID, said_at=NOW + 8, **active),
        runs=(
            ended(1, said=(GATE,)),
            ended(2, result="failure", error_type="ValueError", said=(GATE,)),
        ),
    )
    (card,) = await all_cards(
        store,
        known(
            environment="live",
            model="bert",
            version="3",
            message="Scored",
            stage="fit",
            level="info",
            said_at=NOW,
            last_ended=NOW + 2,
            last_success=NOW + 1,
        ),
        due=NOW + SECOND,
    )
    assert card == Card(
        flow="train",
        deployment="prod",
        environment="live",
        model="bert",
        version="3",
        health="healthy",
        why="Its latest run succeeded.",
        message="Scored",
        level="info",
        stage="fit",
        said_at=NOW + 9,
        active=2,
        now=Now(FLOW_RUN_ID, "Running", "fit", 0.5, NOW),
        bars=(
            Bar("run-1", "name-1", "success", 1.0, NOW + SECOND),
            Bar("run-2", "name-2", "failure", 2.0, NOW + 2 * SECOND),
        ),
        next_due=NOW + SECOND,
        last_ended=NOW + 2,
        last_success=NOW + 1,
        gates=(GateSeen("accuracy", "pass", 0.9, 0.8),),
    )


async def test_one_that_only_runs_is_shown_too(store: Store) -> None:
    await fill(store, RunRow(FLOW_RUN_ID, flow_name="new", environment="lab", started=NOW))
    (card,) = await all_cards(store)
    assert (card.name, card.environment, card.health, card.active) == ("new", "lab", "unknown", 1)


async def test_why_it_fails_is_counted_back_to_its_last_success(store: Store) -> None:
    bad = {"result": "failure", "error_type": "ValueError"}
    await fill(store, runs=(ended(1, **bad), ended(2), ended(3, **bad), ended(4, **bad)))
    (card,) = await all_cards(store, known(last_result="failure", last_run_id="run-4"))
    assert (card.health, card.why) == ("failing", "Its last 2 runs failed: ValueError.")


async def test_without_its_run_it_fails_by_its_result(store: Store) -> None:
    (card,) = await all_cards(store, known(last_result="timeout", last_run_id="gone"))
    assert (card.health, card.why) == ("failing", "Its latest run failed: timeout.")


async def test_one_whose_run_should_have_begun_is_late(store: Store) -> None:
    await fill(
        store, RunRow(FLOW_RUN_ID, flow_name="train", deployment_name="prod", state_name="Late")
    )
    (card,) = await all_cards(store, known())
    assert (card.health, card.why) == ("late", "1 run should have begun by now.")


async def test_a_close_look_has_what_active_and_ended_runs_said(store: Store) -> None:
    row = RunRow(FLOW_RUN_ID, flow_name="train", deployment_name="prod", run_name="wise-owl")
    await fill(store, row, runs=(ended(1, said=(GATE,), version="2", trace_id="ab"),))
    said = Observation(FLOW_RUN_ID, TASK_RUN_ID, StatusFact(NOW + 5, "t", "Fitting", stage="fit"))
    await store.run(lambda connection: ledger.add_facts(connection, [said], {}))
    catalogue = Catalogue()
    catalogue.adopt([known()])
    found = await store.read(lambda c: cards.look(c, catalogue, {}, KEY))
    assert found is not None
    assert found.feed == (
        SaidIn(NOW + 5, "Fitting", "info", "fit", FLOW_RUN_ID, "wise-owl"),
        SaidIn(NOW, "Gate passed", "info", "", "run-1", "name-1"),
    )
    assert [past.version for past in found.past] == ["2"]
    assert found.last_run == {"id": "run-1", "trace_id": "ab"}
    assert await store.read(lambda c: cards.look(c, catalogue, {}, ("no", "such"))) is None


async def test_a_row_for_scripts_is_whole(store: Store) -> None:
    await fill(store, runs=(ended(1), ended(2, result="failure", error_type="ValueError")))
    catalogue = Catalogue()
    one = known(
        environment="live",
        model="bert",
        version="3",
        last_success=NOW + SECOND,
        interval=60.0,
        last_result="failure",
        last_run_id="run-2",
        last_ended=NOW + 2 * SECOND,
        said_at=NOW,
        stage="evaluate",
        level="error",
        message="Scored bert",
    )
    catalogue.adopt([one])
    (row,) = await store.read(lambda c: cards.rows(c, catalogue, {KEY: NOW + 9 * SECOND}))
    assert row == {
        "flow": "train",
        "deployment": "prod",
        "environment": "live",
        "model": "bert",
        "version": "3",
        "health": "failing",
        "why": "Its latest run failed: ValueError.",
        "active_runs": 0,
        "last_status": "Scored bert",
        "last_status_at": iso(NOW),
        "last_status_stage": "evaluate",
        "last_status_level": "error",
        "last_result": "failure",
        "last_run_id": "run-2",
        "last_ended_at": iso(NOW + 2 * SECOND),
        "last_success_at": iso(NOW + SECOND),
        "success_rate": 0.5,
        "next_run_at": iso(NOW + 9 * SECOND),
        "expected_interval_seconds": 60.0,
    }


async def test_of_one_that_is_new_nothing_else_is_said(store: Store) -> None:
    await fill(store, RunRow(FLOW_RUN_ID, flow_name="train"))
    (row,) = await store.read(lambda c: cards.rows(c, Catalogue(), {}))
    said = {name: value for name, value in row.items() if value is not None}
    assert said == {
        "flow": "train",
        "health": "unknown",
        "why": "No run has ended with a result that says.",
        "active_runs": 1,
    }


async def test_deployments_come_in_order(store: Store) -> None:
    await fill(store, RunRow(FLOW_RUN_ID, flow_name="b", deployment_name="x"))
    found = await all_cards(store, Known("c", ""), Known("a", "z"), Known("a", "y"))
    assert [card.name for card in found] == ["a/y", "a/z", "b/x", "c"]


async def test_of_many_that_go_on_those_that_spoke_last_are_read(store: Store) -> None:
    ids = [f"00000000-0000-4000-8000-{n:012x}" for n in range(cards.MOST_ACTIVE + 5)]
    names = {"flow_name": "train", "deployment_name": "prod"}
    await fill(store, *(RunRow(run_id, said_at=NOW + n, **names) for n, run_id in enumerate(ids)))
    said = [
        Observation(run_id, run_id, StatusFact(NOW + n, "t", f"{n}"))
        for n, run_id in enumerate(ids)
    ]
    await store.run(lambda connection: ledger.add_facts(connection, said, {}))
    found = await store.read(lambda c: cards.look(c, Catalogue(), {}, KEY))
    assert found is not None
    assert found.card.active == len(ids)
    assert [each.message for each in found.feed] == [f"{n}" for n in range(len(ids) - 1, 4, -1)]
