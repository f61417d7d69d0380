"""What is known of deployments: kept on either database, and only what newer runs say counts."""

from __future__ import annotations

import msgspec
import pytest

from prefect_otel_status.bridge import ledger, tables
from prefect_otel_status.bridge.catalogue import Catalogue, Known, after_run, after_status, stale
from prefect_otel_status.bridge.records import RunRow, StatusFact
from prefect_otel_status.bridge.store import Store
from tests.support.core import rows_of

RUN = "6f1c1a52-3f9b-4c8e-9d3a-0c5b7a1e2d11"
KEY = ("train", "prod")
KNOWN = Known(*KEY, "production", "bert", "3", 10, 20, 60.0, "failure", RUN, 20)


def row(**changes: object) -> RunRow:
    usual = {"flow_name": "train", "deployment_name": "prod", "state_at": 30, "phase": "settled"}
    return RunRow(RUN, **{**usual, **changes})  # type: ignore[arg-type]


def changed(**changes: object) -> Known:
    return msgspec.structs.replace(KNOWN, **changes)


async def write(store: Store, catalogue: Catalogue, *known: Known) -> None:
    await store.run(lambda connection: catalogue.write(connection, known))


async def loaded(store: Store) -> Catalogue:
    catalogue = Catalogue()
    await store.read(catalogue.load)
    return catalogue


# --- in the store --------------------------------------------------------------


async def test_what_is_written_is_loaded(store: Store) -> None:
    other = Known("train", "")
    await write(store, Catalogue(), KNOWN, other)
    found = await loaded(store)
    assert sorted(found.all(), key=lambda known: known.key) == [other, KNOWN]
    assert (found.get(KEY), found.get(("train", ""))) == (KNOWN, other)


async def test_it_is_written_over(store: Store) -> None:
    await write(store, Catalogue(), KNOWN)
    newer = changed(environment="staging", interval=0.0, last_success=40)
    await write(store, Catalogue(), newer)
    assert (await loaded(store)).all() == [newer]
    await write(store, Catalogue())
    assert (await loaded(store)).all() == [newer]


async def test_nothing_shows_in_memory_before_it_is_adopted(store: Store) -> None:
    catalogue = Catalogue()
    await write(store, catalogue, KNOWN)
    assert (catalogue.all(), catalogue.get(KEY)) == ([], Known(*KEY))
    catalogue.adopt([KNOWN])
    assert catalogue.all() == [KNOWN]


async def test_what_is_retired_is_gone_from_the_store_and_then_from_memory(store: Store) -> None:
    other = Known("train", "staging")
    await write(store, Catalogue(), KNOWN, other)
    catalogue = await loaded(store)
    await store.run(lambda connection: catalogue.retire(connection, KEY))
    assert len(await rows_of(store, tables.deployments)) == 1
    assert catalogue.get(KEY) == KNOWN
    catalogue.forget(KEY)
    catalogue.forget(KEY)
    assert catalogue.all() == [other]


async def test_a_deployment_without_runs_and_schedule_is_stale_after_a_while(store: Store) -> None:
    catalogue = Catalogue()
    catalogue.adopt(
        [
            Known("train", "old", last_seen=9),
            Known("train", "scheduled", last_seen=9, interval=60.0),
            Known("train", "fresh", last_seen=10),
            Known("train", "has runs", last_seen=9),
        ]
    )
    runs = [row(deployment_name="has runs")]
    await store.run(lambda connection: ledger.save_rows(connection, runs))
    found = await store.read(lambda connection: stale(connection, catalogue, before=10))
    assert found == [("train", "old")]


# --- pure ------------------------------------------------------------------------


def test_the_environment_is_the_deployments_else_the_runs() -> None:
    catalogue = Catalogue()
    assert catalogue.environment_of(row(environment="staging")) == "staging"
    catalogue.adopt([KNOWN])
    assert catalogue.environment_of(row(environment="staging")) == "production"
    assert catalogue.environment_of(row(deployment_name="other")) == ""


def test_a_success_tells_model_and_version() -> None:
    bound = {"model.name": "gpt", "model.version": 4}
    assert after_run(KNOWN, row(bound=bound, environment="staging"), "success") == changed(
        environment="staging",
        model="gpt",
        version="4",
        last_success=30,
        last_seen=30,
        last_ended=30,
        last_result="success",
    )


def test_a_success_that_says_no_model_leaves_it() -> None:
    found = after_run(KNOWN, row(), "success")
    assert (found.model, found.version, found.environment) == ("bert", "3", "production")


@pytest.mark.parametrize(("result", "shown"), [("failure", "failure"), (None, "")])
def test_another_end_tells_neither(result: str | None, shown: str) -> None:
    bound = {"model.name": "gpt", "model.version": 4}
    found = after_run(KNOWN, row(bound=bound), result)
    assert found == changed(last_seen=30, last_ended=30, last_result=shown)


def test_an_older_run_changes_nothing() -> None:
    assert after_run(KNOWN, row(state_at=19, bound={"model.name": "old"}), "success") is KNOWN


def test_a_deployment_that_was_seen_later_stays_so() -> None:
    known = changed(last_seen=50)
    assert after_run(known, row(), "failure").last_seen == 50


# --- what a status tells -----------------------------------------------------------


def said(at: int, message: str = "Scored bert", **rest: object) -> StatusFact:
    status = StatusFact(at=at, message=message, template="Scored {model}", sequence=1)
    return msgspec.structs.replace(status, **rest)


def test_the_last_words_are_those_of_the_latest_status() -> None:
    status = said(30, stage="evaluate", level="warning")
    words = {"stage": "evaluate", "level": "warning", "template": "Scored {model}"}
    heard = changed(said_at=30, message="Scored bert", **words)
    assert after_status(KNOWN, row(), status) == heard
    assert after_status(heard, row(), said(29, "Before")) == heard
    assert after_status(heard, row(), status) == heard


def test_an_event_name_stands_for_the_template() -> None:
    assert after_status(KNOWN, row(), said(30, event="scored")).template == "scored"


def test_a_status_tells_the_environment_whenever_it_was() -> None:
    heard = changed(said_at=30, message="Scored bert", environment="staging")
    assert after_status(heard, row(environment="live"), said(1)).environment == "live"
