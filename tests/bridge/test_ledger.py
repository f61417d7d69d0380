"""What is kept of the runs: each fact once, on either database, also after its run was settled."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from prefect_otel_status.bridge import ledger, tables
from prefect_otel_status.bridge.records import (
    ACTIVE,
    ENDED,
    FLOW,
    PLANNED,
    SETTLED,
    Fact,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
    StageFact,
    StateFact,
    StatusFact,
)
from prefect_otel_status.bridge.store import Store
from tests.support.core import rows_of

RUN = "6f1c1a52-3f9b-4c8e-9d3a-0c5b7a1e2d11"
TASK_RUN = "0b9e6c1d-77aa-4f0e-8a55-5d3f2c1b0a99"
NOW = 1_700_000_000_000_000_000

STATE = StateFact("11111111-2222-4333-8444-555555555555", "RUNNING", "Running", NOW, "go", 2)
STATUS = StatusFact(NOW, "a {b}", "a 1", progress=0.5, sequence=3, attributes={"b": 1, "c": [1.5]})
STAGE = StageFact("load", 7, NOW, parent_span_id=8)
STAGE_END = StageFact("load", 7, NOW, NOW + 5, 8, "failure", {"model.name": "bert"})
FACTS: list[Fact] = [STATE, STATUS, STAGE, STAGE_END]


def about(what: object, subject: str = RUN, run_id: str = RUN) -> Observation:
    return Observation(run_id, subject, what)  # type: ignore[arg-type]


def state(number: int) -> StateFact:
    return StateFact(f"11111111-2222-4333-8444-{number:012d}", "RUNNING", "Running", NOW + number)


def row(run_id: str = RUN, **changes: object) -> RunRow:
    return RunRow(run_id, **changes)  # type: ignore[arg-type]


def run_id(number: int) -> str:
    return f"6f1c1a52-3f9b-4c8e-9d3a-{number:012d}"


async def add(
    store: Store, *observations: Observation, rows: dict[str, RunRow] | None = None
) -> list[Observation]:
    return await store.run(
        lambda connection: ledger.add_facts(connection, observations, rows or {})
    )


async def save(store: Store, *rows: RunRow) -> None:
    await store.run(lambda connection: ledger.save_rows(connection, rows))


async def settled(store: Store, *facts: Observation) -> dict[str, RunRow]:
    """A run with FACTS that was settled."""
    one = row(phase=SETTLED, closings=1)
    await save(store, one)
    await add(store, *facts)
    await store.run(lambda connection: ledger.forget_facts(connection, RUN))
    return {RUN: one}


# --- facts ---------------------------------------------------------------------


async def test_facts_come_back_as_they_went_in(store: Store) -> None:
    observations = [about(fact, TASK_RUN if fact is STATUS else RUN) for fact in FACTS]
    assert await add(store, *observations) == observations
    found = await store.read(lambda connection: ledger.load_facts(connection, RUN))
    assert sorted(found, key=repr) == sorted(
        ((o.subject_id, o.what) for o in observations), key=repr
    )


async def test_what_is_known_is_not_new_again(store: Store) -> None:
    first = [about(STATE), about(STATUS)]
    assert await add(store, *first) == first
    later = about(STAGE)
    assert await add(store, about(STATE), later, about(STATUS)) == [later]
    assert len(await rows_of(store, tables.facts)) == 3


async def test_within_a_batch_the_first_of_a_fact_is_the_one(store: Store) -> None:
    other = StateFact(STATE.id, "FAILED", "Failed", NOW + 1)  # one id with two bodies
    found = await add(store, about(STATE), about(other), about(STATE))
    assert found == [about(STATE)]
    assert await add(store, about(other)) == []
    kept = await store.read(lambda connection: ledger.load_facts(connection, RUN))
    assert kept == [(RUN, STATE)]


async def test_the_same_key_of_another_subject_or_run_is_another_fact(store: Store) -> None:
    observations = [
        about(STATUS),
        about(STATUS, TASK_RUN),
        about(STATUS, TASK_RUN, TASK_RUN),
    ]
    assert await add(store, *observations) == observations


async def test_what_is_no_fact_is_always_new_and_never_kept(store: Store) -> None:
    observations = [
        about(Heartbeat(NOW)),
        about(STATE),
        about(Seen(name="a")),
        about(Heartbeat(NOW)),
    ]
    for expected in (observations, [o for o in observations if o.what is not STATE]):
        assert await add(store, *observations) == expected
    assert len(await rows_of(store, tables.facts)) == 1


async def test_the_order_of_what_is_new_is_that_in_which_it_came(store: Store) -> None:
    await add(store, *(about(state(number)) for number in range(0, 50, 2)))
    found = await add(store, *(about(state(number)) for number in reversed(range(50))))
    assert found == [about(state(number)) for number in range(49, 0, -2)]


async def test_thousands_of_facts_are_taken_at_once(store: Store) -> None:
    observations = [about(state(number)) for number in range(4_500)]
    assert await add(store, *observations, *observations) == observations
    assert await add(store, *observations) == []
    keys = await store.read(lambda connection: ledger.load_fact_keys(connection, RUN))
    assert keys == {(RUN, state(number).id) for number in range(4_500)}


async def test_nothing_is_added_of_nothing(store: Store) -> None:
    assert await add(store) == []
    await save(store)


# --- facts of settled runs --------------------------------------------------------


async def test_facts_of_a_settled_run_are_known_though_they_are_gone(store: Store) -> None:
    rows = await settled(store, about(STATE), about(STATUS, TASK_RUN))
    assert await rows_of(store, tables.facts) == []
    late = [about(STATE, TASK_RUN), about(STATUS), about(Heartbeat(NOW))]
    again = [about(STATE), about(STATUS, TASK_RUN), *late]
    assert await add(store, *again, rows=rows) == late


async def test_a_run_that_is_settled_twice_knows_the_facts_of_both(store: Store) -> None:
    rows = await settled(store, about(STATE))
    assert await add(store, about(STATUS), rows=rows) == [about(STATUS)]
    await store.run(lambda connection: ledger.forget_facts(connection, RUN))
    assert await add(store, about(STATE), about(STATUS), rows=rows) == []
    ((keys,),) = [(found.seen_keys,) for found in await rows_of(store, tables.runs)]
    assert keys == ledger.hash_of(RUN, STATE.key) + ledger.hash_of(RUN, STATUS.key)


async def test_writing_a_row_keeps_what_is_known_of_its_facts(store: Store) -> None:
    rows = await settled(store, about(STATE))
    await save(store, row(phase=ACTIVE, closings=1))
    assert await add(store, about(STATE), rows=rows) == []


async def test_a_settled_run_without_facts_knows_none(store: Store) -> None:
    rows = {RUN: row(phase=SETTLED, closings=1)}
    await save(store, *rows.values())
    assert await add(store, about(STATE), rows=rows) == [about(STATE)]


# --- rows ------------------------------------------------------------------------


async def test_rows_come_back_as_they_went_in(store: Store) -> None:
    whole = RunRow(
        RUN,
        FLOW,
        ENDED,
        NOW,
        Seen(name="wise-owl", bound={"model.name": "bert"}, started=NOW),
        flow_name="train",
        deployment_name="prod",
        environment="prod",
        state_type="COMPLETED",
        state_name="Completed",
        progress=0.5,
        bound={"a": [1, 2]},
    )
    await save(store, whole, row(TASK_RUN))
    found = await store.read(lambda connection: ledger.load_rows(connection, [RUN, TASK_RUN, RUN]))
    assert found == {RUN: whole, TASK_RUN: row(TASK_RUN)}
    stored = {each.id: each for each in await rows_of(store, tables.runs)}[RUN]
    assert stored[1:12] == (
        *(ENDED, NOW, "train", "prod", "prod", "COMPLETED", "Completed", 0, 0, "", 0.5),
    )


async def test_a_row_is_written_over(store: Store) -> None:
    await save(store, row(phase=PLANNED, progress=0.5))
    await save(store, row(phase=ENDED, flow_name="train"))
    (stored,) = await rows_of(store, tables.runs)
    assert (stored.phase, stored.flow, stored.progress) == (ENDED, "train", None)


async def test_a_state_type_of_any_length_fits(store: Store) -> None:
    await save(store, row(state_type="X" * 200, state_name="Y" * 200, stage="Z" * 5000))
    found = await store.read(lambda connection: ledger.load_rows(connection, [RUN]))
    assert found[RUN].state_type == "X" * 200


async def test_more_rows_than_a_statement_takes_are_read(store: Store) -> None:
    rows = {run_id(number): row(run_id(number)) for number in range(1_200)}
    await save(store, *rows.values())
    assert (
        await store.read(lambda connection: ledger.load_rows(connection, [*rows, "gone"])) == rows
    )


# --- work lists --------------------------------------------------------------------


async def test_what_has_waited_longest_is_due_first(store: Store) -> None:
    await save(
        store,
        row(run_id(1), phase=ENDED, due=30),
        row(run_id(2), phase=ENDED, due=10),
        row(run_id(4), phase=ENDED, due=20),
        row(run_id(3), phase=ENDED, due=20),
        row(run_id(5), phase=ENDED, due=31),
        *(
            row(run_id(10 + n), phase=phase, due=1)
            for n, phase in enumerate((ACTIVE, PLANNED, SETTLED))
        ),
    )

    def due(limit: int) -> object:
        def read(connection: Connection) -> list[str]:
            return [found.id for found in ledger.due_rows(connection, now=30, limit=limit)]

        return read

    assert await store.read(due(10)) == [run_id(2), run_id(3), run_id(4), run_id(1)]  # type: ignore[arg-type]
    assert await store.read(due(2)) == [run_id(2), run_id(3)]  # type: ignore[arg-type]
    assert await store.read(ledger.count_unsettled) == 5
    assert [found.id for found in await store.read(ledger.active_rows)] == [run_id(10)]


async def test_what_was_settled_long_ago_is_purged(store: Store) -> None:
    phases = (SETTLED, ENDED, ACTIVE, PLANNED)
    await save(
        store,
        *(row(run_id(n), phase=phase, due=9) for n, phase in enumerate(phases)),
        row(run_id(9), phase=SETTLED, due=10),
    )
    assert await store.run(lambda connection: ledger.purge(connection, before=10)) == 1
    assert {each.id for each in await rows_of(store, tables.runs)} == {
        run_id(n) for n in (1, 2, 3, 9)
    }
    assert await store.run(lambda connection: ledger.purge(connection, before=10)) == 0


async def test_a_run_that_is_let_go_leaves_nothing_but_the_keys_of_its_facts(store: Store) -> None:
    await save(store, row(phase=ACTIVE), row(TASK_RUN))
    await add(store, about(STATE), about(STATE, TASK_RUN, TASK_RUN))
    await store.run(lambda connection: ledger.let_go(connection, {RUN, "unknown"}, now=NOW))
    assert [each.run_id for each in await rows_of(store, tables.facts)] == [TASK_RUN]
    rows = await store.read(lambda connection: ledger.load_rows(connection, [RUN, TASK_RUN]))
    assert rows == {
        RUN: row(phase=SETTLED, due=NOW, closings=1),
        TASK_RUN: row(TASK_RUN),
    }
    assert await add(store, about(STATE), about(STATUS), rows=rows) == [about(STATUS)]


# --- pure -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "size", "found"), [([], 2, []), ([1, 2, 3], 2, [[1, 2], [3]]), ([1, 2], 2, [[1, 2]])]
)
def test_items_come_in_chunks(items: list[int], size: int, found: list[list[int]]) -> None:
    assert list(ledger.chunks(iter(items), size)) == found


def test_a_hash_is_short_and_of_both_parts() -> None:
    assert len(ledger.hash_of(RUN, "a")) == 8
    assert len({ledger.hash_of(one, key) for one in (RUN, TASK_RUN) for key in ("a", "b")}) == 4
