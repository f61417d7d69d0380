"""Observations into the store: what is new changes rows and steps counters, once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, tables
from prefect_otel_status.bridge.catalogue import Catalogue, Known
from prefect_otel_status.bridge.ingest import RECONCILE, SWEEP, WEBSOCKET, Ingested, ingest
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    FLOW,
    PLANNED,
    TASK,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
    StateFact,
    StatusFact,
    Step,
)
from prefect_otel_status.bridge.store import Store
from tests.support.core import SECOND, rows_of
from tests.support.records import FLOW_RUN_ID, NOW, TASK_RUN_ID

SETTLE = 10 * SECOND
NAMES = ("train", "prod", "owl")
SPAN = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


def about(
    what: Any, *, kind: str = FLOW, run_id: str = FLOW_RUN_ID, subject: str = ""
) -> Observation:
    return Observation(run_id, subject or run_id, what, *NAMES, kind)


def state(kind: str, at: int = NOW, name: str = "") -> StateFact:
    return StateFact(f"{kind}-{at}", kind, name or kind.title(), at)


def said(message: str = "a", at: int = NOW, **changes: Any) -> StatusFact:
    return StatusFact(at, message, message, sequence=at % 1000, **changes)


async def take(
    store: Store, *whats: Any, now: int = NOW, catalogue: Catalogue | None = None, **options: Any
) -> Ingested:
    observations = [what if isinstance(what, Observation) else about(what) for what in whats]
    usual: dict[str, Any] = {"path": SWEEP, "since": 0, "settle": SETTLE}
    return await store.run(
        lambda connection: ingest(
            connection,
            observations,
            catalogue=catalogue or Catalogue(),
            now=now,
            **{**usual, **options},
        )
    )


async def kept(store: Store, run_id: str = FLOW_RUN_ID) -> RunRow:
    found = await store.read(lambda connection: ledger.load_rows(connection, [run_id]))
    return found[run_id]


def counted(found: Ingested, metric: signals.Metric) -> list[Step]:
    return [step for step in found.steps if step.metric == metric.name]


# --- rows ------------------------------------------------------------------------


async def test_the_first_that_is_read_of_a_run_makes_its_row(store: Store) -> None:
    found = await take(store, state("RUNNING"))
    row = await kept(store)
    assert found.rows == {FLOW_RUN_ID: row}
    assert (row.kind, row.phase, row.first_seen, row.described) == (FLOW, ACTIVE, NOW, False)
    assert (row.flow_name, row.deployment_name, row.run_name) == NAMES
    assert (row.state_type, row.started, row.due) == ("RUNNING", NOW, 0)


async def test_a_task_without_a_flow_run_needs_no_description(store: Store) -> None:
    await take(store, about(state("RUNNING"), kind=TASK, run_id=TASK_RUN_ID))
    row = await kept(store, TASK_RUN_ID)
    assert (row.kind, row.phase, row.described) == (TASK, PLANNED, True)


async def test_a_description_and_a_heartbeat_are_no_facts(store: Store) -> None:
    found = await take(store, Seen(flow_name="train", updated=1), Heartbeat(NOW + 1))
    assert (found.new, found.steps) == (0, [])
    row = await kept(store)
    assert (row.described, row.heartbeat_at) == (True, NOW + 1)
    assert await rows_of(store, tables.facts) == []


@pytest.mark.fault(25)
async def test_nothing_is_counted_twice(store: Store) -> None:
    first = await take(store, state("RUNNING"), said(), state("RUNNING"))
    again = await take(store, state("RUNNING"), said())
    assert (first.new, again.new) == (2, 0)
    assert (again.steps, again.said) == ([], [])


# --- when it is due --------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "due"),
    [
        (NOW, NOW + SETTLE),
        (NOW - 4 * SECOND, NOW + 6 * SECOND),
        (NOW - SETTLE, NOW),
        (NOW - 7 * 86_400 * SECOND, NOW),
        (NOW + 3600 * SECOND, NOW + SETTLE),  # a clock that is ahead makes nobody wait an hour
        (1, NOW),
    ],
)
async def test_a_fresh_end_waits_and_an_old_one_is_due_at_once(
    store: Store, ended: int, due: int
) -> None:
    await take(store, state("COMPLETED", ended))
    row = await kept(store)
    assert (row.phase, row.due) == (ENDED, due)


async def test_what_comes_after_the_end_does_not_put_it_off(store: Store) -> None:
    await take(store, state("COMPLETED"))
    await take(store, said("late", NOW + SECOND), now=NOW + 5 * SECOND)
    await take(store, state("CRASHED", NOW + 2 * SECOND), now=NOW + 6 * SECOND)
    row = await kept(store)
    assert (row.state_type, row.due) == ("CRASHED", NOW + SETTLE)


async def test_a_run_that_goes_on_is_no_longer_due(store: Store) -> None:
    await take(store, state("FAILED"))
    await take(
        store, state("SCHEDULED", NOW + SECOND, "AwaitingRetry"), state("RUNNING", NOW + 2 * SECOND)
    )
    row = await kept(store)
    assert (row.phase, row.due) == (ACTIVE, 0)


async def test_a_run_that_is_only_planned_is_not_active(store: Store) -> None:
    await take(store, state("SCHEDULED"))
    assert (await kept(store)).phase == PLANNED
    await take(store, state("SCHEDULED", NOW + 1, "Late"))
    assert (await kept(store)).phase == ACTIVE


# --- steps -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [WEBSOCKET, SWEEP, RECONCILE])
async def test_what_is_new_is_counted_by_its_path(store: Store, path: str) -> None:
    found = await take(store, state("RUNNING"), said(), Heartbeat(NOW), path=path)
    assert counted(found, signals.BRIDGE_EVENTS) == [Step(signals.BRIDGE_EVENTS.name, (path,), 2)]
    assert counted(found, signals.BRIDGE_MISSED) == []


async def test_what_the_websocket_should_have_brought_is_counted_as_missed(store: Store) -> None:
    await take(store, state("RUNNING"), path=WEBSOCKET)
    found = await take(store, state("RUNNING"), said(), said("b", NOW + 1), expected=True)
    assert counted(found, signals.BRIDGE_MISSED) == [Step(signals.BRIDGE_MISSED.name, (), 2)]
    found = await take(store, state("RUNNING"), Heartbeat(NOW), expected=True)
    assert found.steps == []


async def test_what_came_before_the_websocket_was_opened_was_not_missed(store: Store) -> None:
    late = said("b", NOW - SECOND, received=NOW + 2)  # by a clock that is behind
    facts = state("RUNNING"), said("a", NOW + 1), late
    found = await take(store, *facts, expected=True, expected_since=NOW + 1)
    assert counted(found, signals.BRIDGE_MISSED) == [Step(signals.BRIDGE_MISSED.name, (), 2)]


async def test_what_was_before_the_store_steps_nothing_but_is_kept(store: Store) -> None:
    found = await take(store, state("RUNNING"), said(), since=NOW + 1)
    assert [step.metric for step in found.steps] == [signals.BRIDGE_EVENTS.name]
    assert (found.new, len(found.said)) == (2, 1)
    assert len(await rows_of(store, tables.facts)) == 2


async def test_a_task_of_a_sampled_run_leaves_its_trace_as_an_exemplar(store: Store) -> None:
    end = StateFact("end", "COMPLETED", "Completed", NOW, task_name="score", started=NOW - SECOND)
    found = await take(store, Seen(traceparent=SPAN, updated=1), about(end, subject=TASK_RUN_ID))
    labels = ("train", "prod", "", "score", "success")
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    assert counted(found, signals.TASK_DURATION) == [
        Step(signals.TASK_DURATION.name, labels, 1.0, trace_id, NOW)
    ]


@pytest.mark.parametrize("label", ["", SPAN[:-1] + "0"])
async def test_a_run_without_a_sampled_span_leaves_none(store: Store, label: str) -> None:
    end = StateFact("end", "COMPLETED", "Completed", NOW, task_name="score")
    found = await take(store, Seen(traceparent=label, updated=1), about(end, subject=TASK_RUN_ID))
    assert [step.trace_id for step in counted(found, signals.TASK_DURATION)] == [""]


# --- environments ---------------------------------------------------------------------


WORDS: dict[str, Any] = {"level": "info", "template": "a", "message": "a"}
BOUND = {signals.ENVIRONMENT.name: "production"}


async def test_an_environment_that_is_said_is_learned_for_what_follows(store: Store) -> None:
    catalogue = Catalogue()
    found = await take(
        store,
        state("PENDING"),
        said("a", NOW + 1, bound=BOUND),
        state("RUNNING", NOW + 2),
        catalogue=catalogue,
    )
    known = Known("train", "prod", environment="production", said_at=NOW + 1, **WORDS)
    assert (found.known, catalogue.all()) == ([known], [known])
    assert [(row.flow, row.environment) for row in await rows_of(store, tables.deployments)] == [
        ("train", "production")
    ]
    environments = [step.labels[2] for step in counted(found, signals.TRANSITIONS)]
    assert environments == ["", "production"]
    # A run to come has it from the start, before it has said anything.
    other = about(state("PENDING"), run_id=TASK_RUN_ID)
    found = await take(store, other, catalogue=catalogue)
    assert [step.labels[2] for step in counted(found, signals.TRANSITIONS)] == ["production"]
    assert found.known == []


async def test_what_is_known_is_not_written_again(store: Store) -> None:
    catalogue = Catalogue()
    known = Known("train", "prod", "production", "bert", said_at=NOW + 9, message="later")
    catalogue.adopt([known])
    found = await take(store, said(bound=BOUND), catalogue=catalogue)
    assert found.known == []
    found = await take(
        store, said("b", NOW + 1, bound={signals.ENVIRONMENT.name: "staging"}), catalogue=catalogue
    )
    assert found.known == [msgspec.structs.replace(known, environment="staging")]


async def test_what_was_said_is_told_with_its_run(store: Store) -> None:
    found = await take(store, said("a"), said("b", NOW + 1))
    assert [(row.message, each.what.message) for row, each in found.said] == [
        ("a", "a"),
        ("b", "b"),
    ]  # type: ignore[union-attr]
