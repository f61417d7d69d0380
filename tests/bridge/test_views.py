"""What the bridge knows of a run, as JSON."""

from __future__ import annotations

import json
from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, views
from prefect_otel_status.bridge.records import (
    SETTLED,
    Fact,
    Observation,
    RunRow,
    Seen,
    StateFact,
    StatusFact,
)
from prefect_otel_status.bridge.store import Store
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.ids import hex_trace_id, trace_id_of
from tests.support.records import FLOW_RUN_ID, NOW, SECOND, TASK_RUN_ID

AT = iso(NOW)
LATER = iso(NOW + SECOND)


async def save(store: Store, *rows: RunRow) -> None:
    await store.run(lambda connection: ledger.save_rows(connection, rows))


async def add(store: Store, *facts: tuple[str, Fact]) -> None:
    found = [Observation(FLOW_RUN_ID, subject, fact) for subject, fact in facts]
    await store.run(lambda connection: ledger.add_facts(connection, found, {}))


async def run(store: Store) -> dict[str, Any] | None:
    found = await store.read(lambda connection: views.run(connection, FLOW_RUN_ID))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


# --- a run ------------------------------------------------------------------------


async def test_a_run_that_is_not_known_is_none(store: Store) -> None:
    assert await run(store) is None


async def test_a_run_is_shown_with_all_that_it_did_so_far(store: Store) -> None:
    row = RunRow(
        FLOW_RUN_ID,
        seen=Seen(parent_run_id="parent", root_run_id="root", bound={"a": 1, "b": 1}),
        flow_name="train",
        deployment_name="prod",
        environment="production",
        run_name="owl",
        state_type="RUNNING",
        state_name="Running",
        state_at=NOW,
        attempt=2,
        started=NOW,
        said_at=NOW + SECOND,
        message="Passed",
        stage="gate",
        progress=0.5,
        bound={"b": 2},
    )
    await save(store, row)
    gate = {signals.GATE.name: "accuracy"}
    await add(
        store,
        (FLOW_RUN_ID, StateFact("s2", "RUNNING", "Running", NOW + SECOND, "on it")),
        (FLOW_RUN_ID, StateFact("s1", "PENDING", "Pending", NOW)),
        (
            TASK_RUN_ID,
            StateFact("t1", "FAILED", "Failed", NOW, "no", task_name="score", run_name="s-0"),
        ),
        (FLOW_RUN_ID, StatusFact(NOW + SECOND, "Passed", "Passed", stage="gate", attributes=gate)),
        (
            TASK_RUN_ID,
            StatusFact(NOW, "{n} of 2", "1 of 2", level="error", progress=0.5, sequence=1),
        ),
    )
    assert await run(store) == {
        "id": FLOW_RUN_ID,
        "kind": "flow",
        "name": "owl",
        "flow": "train",
        "deployment": "prod",
        "environment": "production",
        "phase": "active",
        "state_type": "RUNNING",
        "state_name": "Running",
        "state_at": AT,
        "result": None,
        "inferred": False,
        "started_at": AT,
        "attempt": 2,
        "last_status": "Passed",
        "last_status_at": LATER,
        "stage": "gate",
        "progress": 0.5,
        "bound": {"a": 1, "b": 2},
        "parent_run_id": "parent",
        "trace_id": hex_trace_id(trace_id_of("root")),
        "states": [
            {"type": "PENDING", "name": "Pending", "at": AT, "message": None},
            {"type": "RUNNING", "name": "Running", "at": LATER, "message": "on it"},
        ],
        "statuses": [
            {
                "at": AT,
                "message": "1 of 2",
                "template": "{n} of 2",
                "stage": None,
                "level": "error",
                "progress": 0.5,
                "gate": None,
            },
            {
                "at": LATER,
                "message": "Passed",
                "template": "Passed",
                "stage": "gate",
                "level": "info",
                "progress": None,
                "gate": "accuracy",
            },
        ],
        "tasks": [
            {
                "id": TASK_RUN_ID,
                "task": "score",
                "name": "s-0",
                "state_type": "FAILED",
                "state_name": "Failed",
                "state_at": AT,
                "state_message": "no",
            }
        ],
    }


async def test_a_settled_run_is_shown_with_its_trace(store: Store) -> None:
    await save(store, RunRow(FLOW_RUN_ID, phase=SETTLED, state_type="CRASHED", trace_id="0a"))
    found = await run(store)
    assert found is not None
    assert (found["phase"], found["result"], found["trace_id"]) == ("settled", "error", "0a")
    assert (found["states"], found["statuses"], found["tasks"]) == ([], [], [])
    assert (found["name"], found["state_at"], found["last_status"]) == (None, None, None)


async def test_a_run_that_is_presumed_dead_has_an_error_as_its_result(store: Store) -> None:
    await save(store, RunRow(FLOW_RUN_ID, phase=SETTLED, state_type="RUNNING", inferred=True))
    found = await run(store)
    assert found is not None
    assert (found["result"], found["inferred"]) == ("error", True)


async def test_a_task_of_which_only_words_are_known_is_not_listed(store: Store) -> None:
    await save(store, RunRow(FLOW_RUN_ID))
    await add(store, (TASK_RUN_ID, StatusFact(NOW, "a", "a")))
    found = await run(store)
    assert found is not None
    assert (len(found["statuses"]), found["tasks"]) == (1, [])
